"""Records about tasks become short notes; nothing is noted twice, and a bad record does not affect others."""

from __future__ import annotations

from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_policy, invocations
from core.notes import NOON, Noted, a_rollback, a_task
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.overview import health, weekly_review
from crl_stream.core.overview.condition import Condition
from crl_stream.core.overview.notes import note_of
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.stages import tally
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.tally import FIGURES_MS, note_records
from crl_stream.stages.topology import TALLY
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, OVERVIEW_EVENTS, PROPOSALS, ROLLBACKS, TASKS
from stages.test_overview import Worker, log_of, page_of


def noted(driver: TopologyDriver, kept: tally.SentNotes | None = None) -> list[Any]:
    """Return the notes for everything on the driver's topics."""
    outputs = []
    for topic in TALLY.sources:
        for partition, log in enumerate(driver.topics[topic]):
            outputs += note_records(topic, partition, log, kept or tally.SentNotes())
    assert {(output.topic, output.partition) for output in outputs} <= {(OVERVIEW_EVENTS, 0)}
    return [decode(OVERVIEW_EVENTS, output.value, output.key).message for output in outputs]


def test_a_collapse_is_on_the_page_with_its_rollback_and_how_to_undo_it() -> None:
    driver = TopologyDriver(partitions=3)
    driver.pipe_each(a_collapse())
    history = [Noted(note, driver.clock) for note in noted(driver)]
    page = page_of(Worker().fold(log_of(history)).outputs)
    [event] = driver.read(ROLLBACKS)
    assert [note.rollback_id for note in page.rollbacks] == [event.rollback_id]
    assert page.rollbacks[0].undo_command == event.undo_command
    assert (page.tasks, page.agents, page.q_table_entries) == (1, 1, 2)
    assert [(v.variant_id, v.active) for v in page.high_confidence] == [("default", True)]
    assert [v.variant_id for v in page.degraded] == ["api-optimized"]
    assert page.open_alerts == []
    assert health(page, driver.clock) == "HEALTHY"


def test_a_drill_leaves_no_note_of_any_kind() -> None:
    driver = TopologyDriver()
    names = {"agent_name": "crl-drill", "task_type": "notify-1"}
    driver.pipe_each([replace(element, **names) for element in a_collapse()])
    assert driver.read(ROLLBACKS)
    assert driver.read(ALERTS)
    assert noted(driver) == []


@pytest.mark.parametrize(("outcomes", "mode"), [("F" * 12, "enforce"), ("F" * 40, "enforce"), ("E" * 40, "observe")])
def test_a_system_whose_task_has_no_success_is_not_called_healthy(outcomes: str, mode: Any) -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(a_policy(PolicySet(default=Policy(operations=Operations(mode=mode)))), *invocations("v1", outcomes))
    driver.fall_silent()
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in noted(driver)])).outputs)
    condition = Condition(page, driver.clock)
    assert condition.word != "HEALTHY"
    told = "runs v1, which is degraded: No success in the last "
    assert any(told in concern for concern in condition.concerns)


def test_a_variant_that_fails_while_it_is_only_explored_leaves_the_system_healthy() -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(*invocations("good", "S" * 30), *invocations("bad", "F" * 30, variant_source="explore"))
    driver.fall_silent()
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in noted(driver)])).outputs)
    assert [v.variant_id for v in page.degraded] == ["bad"]
    assert Condition(page, driver.clock).word == "HEALTHY"


def test_a_page_that_cannot_list_all_that_is_degraded_is_not_called_healthy() -> None:
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in noted(driver)])).outputs)
    assert Condition(replace(page, n_degraded=3), driver.clock).word == "STABLE"


def test_a_task_that_says_nothing_new_is_not_noted_again() -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe_each(invocations("default", "FFSFF" * 400))
    snapshots = driver.topics[TASKS][0]
    told = [note for note in noted(driver) if isinstance(note, m.TaskNote)]
    assert len(snapshots) > 3
    assert len(told) == 1


def test_figures_of_a_proven_variant_are_noted_once_a_minute_and_its_fall_at_once() -> None:
    driver = TopologyDriver(tick=1_000)
    driver.pipe_each(invocations("default", "S" * 400))
    told = [note for note in noted(driver) if isinstance(note, m.TaskNote)]
    # 400 outcomes at one a second give a note for the first, one when the variant is proven, and one a minute.
    assert 7 <= len(told) <= 400_000 / FIGURES_MS + 3
    before = len(told)
    driver.pipe_each(invocations("default", "F" * 10))
    told = [note for note in noted(driver) if isinstance(note, m.TaskNote)]
    assert told[-1].high_confidence == []
    assert len(told) <= before + 2


@pytest.mark.parametrize("flaw", ["degraded", "quarantined", "retired"])
def test_a_variant_that_must_not_be_applied_is_not_noted_as_proven(flaw: str) -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S" * 20) + invocations("v2", "S" * 20, variant_source="explore"))
    snapshot = driver.snapshot(AGENT, TASK)

    def proven(**changes: Any) -> list[str]:
        variants = [replace(v, **changes) if v.variant_id == "v2" else v for v in snapshot.variants]
        return [standing.variant_id for standing in note_of(replace(snapshot, variants=variants)).high_confidence]

    assert proven() == ["default", "v2"]
    assert proven(**{flaw: True}) == ["default"]
    assert proven(q_value=0.899) == ["default"]
    assert proven(q_value=0.9, n_visits=10) == ["default", "v2"]
    assert proven(n_visits=9) == ["default"]


def test_a_lost_memory_only_repeats_notes() -> None:
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())
    log = driver.topics[TASKS][0]
    kept = tally.SentNotes()
    whole = note_records(TASKS, 0, log, kept)
    pieces = [output for record in log for output in note_records(TASKS, 0, [record], tally.SentNotes())]
    assert set(whole) <= set(pieces)
    assert note_records(TASKS, 0, log[-1:], kept) == []


def test_the_overviews_own_alerts_are_not_noted() -> None:
    rate = Worker().fold(log_of([Noted(a_rollback(f"rb-{n}"), NOON) for n in range(4)])).outputs[0].value
    review = weekly_review(page_of(Worker().fold(log_of([Noted(a_task(1), NOON)])).outputs), NOON)
    records = [Stored(0, NOON, b"all tasks", rate), Stored(1, NOON, b"all tasks", encode(review))]
    assert note_records(ALERTS, 0, records, tally.SentNotes()) == []


@pytest.mark.parametrize("topic", TALLY.sources)
def test_a_record_that_cannot_be_read_is_a_dead_letter_and_the_next_one_is_noted(topic: str) -> None:
    bad = [Stored(0, NOON, b"k", b"nonsense"), Stored(1, NOON, b"k", None)]
    driver = TopologyDriver()
    driver.pipe_each(a_collapse())
    good = [record._replace(offset=2 + n) for n, record in enumerate(driver.topics[topic][0])]
    outputs = note_records(topic, 2, [*bad, *good], tally.SentNotes())
    assert [(o.topic, o.partition, o.value) for o in outputs[:2]] == [
        (DEAD_LETTERS, 2, b"nonsense"),
        (DEAD_LETTERS, 2, None),
    ]
    assert all(output.topic == OVERVIEW_EVENTS for output in outputs[2:])
    assert len(outputs) > 2 or topic == PROPOSALS


def test_a_snapshot_of_no_day_on_the_calendar_is_a_dead_letter() -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S"))
    [record] = driver.topics[TASKS][0]
    broken = record.value.replace(b"2025-11-19T", b"2025-11-31T")
    [output] = note_records(TASKS, 0, [record._replace(value=broken)], tally.SentNotes())
    assert (output.topic, output.value) == (DEAD_LETTERS, broken)
