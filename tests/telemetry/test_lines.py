"""The lines have the fields of the guide's schemas, in the guide's order, and never exceed their maximum size."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.reach import last_time_words
from crl_stream.telemetry.lines import (
    PROPOSAL_BYTES,
    ROLLBACK_BYTES,
    proposal_event_id,
    proposal_line,
    rollback_line,
)
from telemetry.events import GUIDE_PROPOSAL, GUIDE_ROLLBACK, a_proposal, a_rollback

long_names = st.text("ABCxyz019._:-", min_size=1, max_size=128)
texts = st.text(max_size=40) | st.sampled_from(["x" * 2_000, "é" * 2_000, '"\\\n' * 600, "\x00" * 2_000, "😀" * 1_000])
figures = st.dictionaries(
    st.sampled_from([f"figure_{n}_{'x' * 30}" for n in range(12)]), st.floats(-1e300, 1e300), max_size=12
)
json_values = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats(-1e9, 1e9) | texts
modifications = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"section": texts, "content": texts, "parameter": texts, "reason": texts, "value": json_values},
    ),
    max_size=12,
)


def guide_part(line: dict[str, Any], guide: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(line.items())[: len(guide)]


def test_a_rollback_is_the_guide_s_object_in_the_guide_s_order_then_epoch_and_event_id() -> None:
    line = json.loads(rollback_line(a_rollback(**GUIDE_ROLLBACK)))
    assert guide_part(line, GUIDE_ROLLBACK) == list(GUIDE_ROLLBACK.items())
    assert list(line["degradation_metrics"].items()) == list(GUIDE_ROLLBACK["degradation_metrics"].items())
    assert list(line)[8:10] == ["epoch", "event_id"]
    assert (line["epoch"], line["event_id"]) == (3, "rb-20251119-abc123")


def test_a_line_begins_as_the_guide_prints_it() -> None:
    beginning = b'{"rollback_id":"rb-20251119-abc123","timestamp":"2025-11-19T14:30:00Z",'
    assert rollback_line(a_rollback(**GUIDE_ROLLBACK)).startswith(beginning)
    beginning = b'{"proposal_id":"prop-20251119-xyz789","timestamp":"2025-11-19T14:30:00Z",'
    assert proposal_line(a_proposal(**GUIDE_PROPOSAL)).startswith(beginning)


def test_a_whole_number_of_the_guide_is_a_whole_number_in_the_file() -> None:
    assert b'"sample_size":20}' in rollback_line(a_rollback())
    assert b'"n_invocations":67,' in proposal_line(a_proposal())


def test_a_proposal_is_the_guide_s_object_in_the_guide_s_order_then_epoch_and_event_id() -> None:
    line = json.loads(proposal_line(a_proposal(**GUIDE_PROPOSAL)))
    assert guide_part(line, GUIDE_PROPOSAL) == list(GUIDE_PROPOSAL.items())
    assert list(line["supporting_data"].items()) == list(GUIDE_PROPOSAL["supporting_data"].items())
    assert list(line)[10:13] == ["epoch", "event_id", "revision"]


def test_a_rejection_is_kept_with_who_and_why_for_analysis() -> None:
    rejected = a_proposal(status="rejected", revision=3, actor="ada", why="too narrow")
    line = json.loads(proposal_line(rejected))
    assert (line["status"], line["actor"], line["status_reason"]) == ("rejected", "ada", "too narrow")


def test_a_step_of_a_proposal_has_an_id_of_its_own() -> None:
    steps = [("pending", 1), ("pending", 2), ("deferred", 2), ("rejected", 2)]
    ids = {proposal_event_id(a_proposal(status=status, revision=revision)) for status, revision in steps}
    assert len(ids) == 4


def test_the_guide_s_own_events_are_not_shortened() -> None:
    for line in (rollback_line(a_rollback()), proposal_line(a_proposal())):
        assert b"shortened" not in line


@given(st.tuples(*[long_names] * 6), texts, figures, st.integers(0, 2**63 - 1))
def test_no_rollback_takes_more_than_1_kb_and_none_loses_its_names(
    names: tuple[str, ...], reason: str, metrics: dict[str, float], epoch: int
) -> None:
    fields = dict(zip(("rollback_id", "agent_name", "task_type", "from_variant", "to_variant"), names, strict=False))
    event = a_rollback(
        **fields, cause_id=names[5], reason=reason, degradation_metrics=metrics, epoch=epoch, undo_command=reason
    )
    line = rollback_line(event)
    assert len(line) <= ROLLBACK_BYTES == 1_024
    assert line.endswith(b"}\n") and line.count(b"\n") == 1
    written = json.loads(line)
    assert list(written)[:8] == list(GUIDE_ROLLBACK)
    assert {name: written[name] for name in fields} == fields
    assert (written["epoch"], written["event_id"]) == (epoch, event.rollback_id)
    assert written.get("shortened", False) or written["reason"] == reason


@given(st.tuples(*[long_names] * 4), texts, texts, figures, modifications)
def test_no_proposal_takes_more_than_2_kb_and_none_loses_its_names_and_status(
    names: tuple[str, ...],
    reasoning: str,
    why: str,
    data: dict[str, float],
    changes: list[dict[str, Any]],
) -> None:
    fields = dict(zip(("proposal_id", "agent_name", "task_type", "target_variant"), names, strict=True))
    change = {"action": "register", "variant_id": names[3], "parent": names[1], "modifications": changes}
    proposal = a_proposal(
        **fields,
        status="rejected",
        revision=2**63 - 1,
        reasoning=reasoning,
        why=why,
        actor=why,
        supporting_data=data,
        recommended_modifications=changes,
        change=change,
    )
    line = proposal_line(proposal)
    assert len(line) <= PROPOSAL_BYTES == 2_048
    assert line.endswith(b"}\n") and line.count(b"\n") == 1
    written = json.loads(line)
    assert list(written)[:10] == list(GUIDE_PROPOSAL)
    assert {name: written[name] for name in fields} == fields
    assert (written["status"], written["revision"]) == ("rejected", 2**63 - 1)
    assert written.get("shortened", False) or (written["reasoning"], written["change"]["variant_id"]) == (
        reasoning,
        names[3],
    )


@pytest.mark.parametrize("text", ["x" * 2_000, "é" * 2_000, "\x01" * 2_000, "😀" * 1_000])
def test_a_long_text_is_cut_where_one_sees_it_and_as_little_as_needed(text: str) -> None:
    reasoning = json.loads(proposal_line(a_proposal(reasoning=text)))["reasoning"]
    assert reasoning.endswith("…") and text.startswith(reasoning[:-1])
    assert 390 <= len(json.dumps(reasoning, ensure_ascii=False).encode()) <= 402


def test_both_kinds_of_lines_say_what_is_touched_what_happened_last_time_and_how_to_undo_it() -> None:
    touches = m.Touches(runtimes=4, outcomes_an_hour=1_200)
    last = m.LastTime(
        change="rollback", timestamp="2025-11-18T14:30:00Z", from_variant="v2", to_variant="v1", id="rb-0"
    )
    said = {"touches": {"tasks": 1, "runtimes": 4, "outcomes_an_hour": 1_200}, "last_time": last_time_words(last)}
    for line, message in ((rollback_line, a_rollback()), (proposal_line, a_proposal())):
        told = json.loads(
            line(replace(message, touches=touches, last_time=last, undo_command="crl undo a/b --epoch 3"))
        )  # type: ignore[arg-type]
        assert {name: told[name] for name in said} == said
        assert told["undo_command"] == "crl undo a/b --epoch 3"
        assert "shortened" not in told, "a usual line is complete"
        silent = json.loads(line(replace(message, touches=None, last_time=None)))  # type: ignore[arg-type]
        assert (silent["touches"], silent["last_time"]) == (None, None)
