"""The recorded hour still folds to the same bytes as when it was recorded: topics, rows, notes and counts."""

from __future__ import annotations

import typing
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from crl_stream.core import messages as m
from crl_stream.wire import reasons
from crl_stream.wire.codec import Decoded, decode
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS, MESSAGES

from .comparison import first_difference, without_repetitions
from .fold import fold_hour, topics_of
from .hour import write_hour
from .storage import Input, Line, read_inputs, read_outputs, write_outputs

NOT_FOLDED = {"mirror_conflict", "mirror_unreachable"}
"""Kinds of alerts that only the role mirror writes."""
NOT_RECORDED = {
    *("not_otlp", "not_a_cloudevent"),  # of bridges
    reasons.BATCH_TOO_LARGE,  # only reading a Kafka batch can give this reason; the hour contains decoded records
    reasons.BATCH_DAMAGED,
    reasons.FORWARDED_BEFORE,  # after 512 forwards
    reasons.REFUSED,  # a refusal without a reason; the engine always gives one
}


@pytest.fixture(scope="module")
def inputs() -> list[Input]:
    return read_inputs()


@pytest.fixture(scope="module")
def stored() -> dict[str, list[Line]]:
    return read_outputs()


@pytest.fixture(scope="module")
def written(stored: dict[str, list[Line]]) -> dict[type, list[Any]]:
    """Return every message among the outputs, by its type."""
    found: dict[type, list[Any]] = {}
    for name, lines in stored.items():
        topic = name.split(" ")[0] if name.startswith("crl.") else "crl.alerts" if name.startswith("alerts") else ""
        if topic in MESSAGES and topic not in (DEAD_LETTERS, INVOCATIONS):
            for line in lines:
                decoded = decode(topic, line.value, line.key)
                assert isinstance(decoded, Decoded), (name, decoded)
                found.setdefault(type(decoded.message), []).append(decoded.message)
    return found


@pytest.mark.parametrize("size", [1_000_000, 97])
def test_the_hour_folds_to_the_stored_bytes_in_batches_of(
    size: int, inputs: list[Input], stored: dict[str, list[Line]]
) -> None:
    assert (difference := first_difference(stored, fold_hour(inputs, size))) is None, difference


def test_a_process_that_dies_in_every_batch_repeats_records_and_changes_none(
    inputs: list[Input], stored: dict[str, list[Line]]
) -> None:
    folded = without_repetitions(fold_hour(inputs, 41, crashing=True))
    expected = without_repetitions(stored)
    for streams in (expected, folded):
        _leave_out_places(streams)
    assert (difference := first_difference(expected, folded)) is None, difference


def _leave_out_places(streams: dict[str, list[Line]]) -> None:
    """Remove the counts and the proposer's positions: repeated snapshots shift their offsets."""
    streams.pop("counts", None)
    for name in [name for name in streams if name.startswith("rows of the proposer")]:
        streams[name] = [line for line in streams[name] if not (line.key or b"").startswith(b"!")]


def test_the_generator_writes_the_stored_hour_and_folds_each_record_by_itself_to_the_stored_bytes(
    inputs: list[Input], stored: dict[str, list[Line]]
) -> None:
    scribe = write_hour()
    for index, (one, other) in enumerate(zip_longest(inputs, scribe.inputs)):
        assert one == other, f"record {index}"
    topics = {name: lines for name, lines in topics_of(scribe).items() if not name.startswith(DEAD_LETTERS)}
    assert (difference := first_difference({name: stored[name] for name in topics}, topics)) is None, difference


def _choices(kind: type, field: str) -> set[str]:
    """Return the values that a field may have."""
    return set(typing.get_args(typing.get_type_hints(kind)[field]))


def test_every_fact_and_every_snapshot_is_among_the_outputs(written: dict[type, list[Any]]) -> None:
    facts = {*typing.get_args(m.Fact), m.ActiveVariant, m.VariantCatalogue, m.TaskSnapshot, m.Proposal}
    assert set(written) == facts


def test_every_message_that_may_come_in_is_among_the_records(inputs: list[Input]) -> None:
    found = {
        type(decoded.message)
        for one in inputs
        if one.topic in (INVOCATIONS, COMMANDS)
        and isinstance(decoded := decode(one.topic, one.value, one.key), Decoded)
    }
    assert found == {*MESSAGES[INVOCATIONS], *MESSAGES[COMMANDS]}


@pytest.mark.parametrize(
    ("kind", "field", "never"),
    [
        (m.Alert, "kind", NOT_FOLDED),
        (m.Alert, "severity", set()),
        (m.Activation, "cause", {"rollout_aborted"}),  # nothing is activated
        (m.ActiveVariant, "cause", set()),
        (m.RolloutStep, "step", set()),
        (m.Decision, "decision", set()),
        (m.DegradationAlert, "state", set()),
        (m.ActiveVariant, "mode", set()),
        (m.Hindsight, "finding", set()),
        (m.Hindsight, "compared_with", set()),
        (m.Proposal, "proposal_type", set()),
        (m.Proposal, "status", set()),
        (m.Proposal, "trigger", set()),
    ],
)
def test_every_word_of_a_field_is_among_the_outputs(
    kind: type, field: str, never: set[str], written: dict[type, list[Any]]
) -> None:
    assert {getattr(message, field) for message in written[kind]} == _choices(kind, field) - never


def test_every_metric_is_the_worst_of_some_degradation(written: dict[type, list[Any]]) -> None:
    alerts = written[m.DegradationAlert]
    assert {a.metric for a in alerts if a.state == "degraded"} == {
        "success_rate",
        "avg_reward",
        "error_rate",
        "cost",
    }
    assert {a.evidence.absolute for a in alerts} == {True, False}
    assert {a.evidence.guard for a in alerts} == {"none", "evidence"}
    assert {a.judged.baseline_source for a in alerts} == {
        "lifetime",
        "before_window",
        "recent",
        "active_variant",
        "replaced_variant",
        "accepted_level",
    }


@pytest.mark.parametrize("kind", [m.RollbackEvent, m.Activation, m.DegradationAlert])
def test_what_is_stated_was_done_and_was_not(kind: type, written: dict[type, list[Any]]) -> None:
    assert {message.enforced for message in written[kind]} == {True, False}


def test_every_command_was_applied_and_refused(written: dict[type, list[Any]]) -> None:
    found = Counter((result.command, result.outcome) for result in written[m.CommandResult])
    wanted = {
        (kind.__name__, outcome) for kind in MESSAGES[COMMANDS] for outcome in _choices(m.CommandResult, "outcome")
    }
    assert wanted - set(found) == set()


def test_every_reason_for_a_dead_letter_is_among_them(stored: dict[str, list[Line]]) -> None:
    found = {
        read_letter(line.headers).reason for name, lines in stored.items() if DEAD_LETTERS in name for line in lines
    }
    assert found == set(reasons.MEANING) - NOT_RECORDED


def test_a_difference_names_the_topic_and_the_record_and_shows_both(stored: dict[str, list[Line]]) -> None:
    name = next(name for name in stored if name.startswith("crl.rollbacks"))
    changed = [line._replace(value=(line.value or b"").replace(b'"epoch":3', b'"epoch":4')) for line in stored[name]]
    told = first_difference(stored, stored | {name: changed})
    assert told is not None
    assert told.startswith(f"{name}, index ")
    assert "value.epoch: 3 -> 4" in told


def test_what_is_stored_comes_back_as_it_was(tmp_path: Path) -> None:
    streams = {"a 0": [Line(None, bytes(range(256)), (("h", None), ("h", b"\xff")))], "b": [Line(b"", None)]}
    write_outputs(streams, tmp_path / "outputs")
    assert read_outputs(tmp_path / "outputs") == streams
