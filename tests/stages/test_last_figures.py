"""When a task's outcomes stop, the page has its last figures, its verdict, and why no automatic change follows."""

from __future__ import annotations

from typing import Any

import pytest
from builders import AGENT, TASK, a_command, a_policy, invocations
from core.notes import Noted, a_task
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.overview.condition import Condition
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.dashboard.text import render
from crl_stream.stages import tally
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.tally import FIGURES_MS, note_records
from crl_stream.wire.codec import decode
from crl_stream.wire.topics import OVERVIEW_EVENTS, TASKS
from stages.test_overview import Worker, log_of, page_of


def told_live(log: list[Stored], kept: tally.SentNotes, *, batch: int, quiet_s: float = 1.2) -> list[m.TaskNote]:
    """Return the notes that a process sends while it follows a growing log, and after no more records are appended."""
    outputs: list[Any] = []
    for start in range(0, len(log), batch):
        records = log[start : start + batch]
        now = records[-1].timestamp / 1_000
        due = kept.silent(now - quiet_s)
        outputs += [tally.output_of(key, note) for key, note in due]
        for key, note in due:
            kept.mark(key, note)
        outputs += note_records(TASKS, 0, records, kept, now)
    outputs += [tally.output_of(key, note) for key, note in kept.silent(float("inf"))]
    found = [decode(OVERVIEW_EVENTS, output.value, output.key).message for output in outputs]
    return [note for note in found if isinstance(note, m.TaskNote)]


def shown(page: m.Overview, variant_id: str) -> tuple[float, int]:
    [standing] = [v for v in (*page.high_confidence, *page.degraded) if v.variant_id == variant_id]
    return standing.q_value, standing.n_visits


@given(
    st.lists(st.tuples(st.sampled_from(["S", "S", "S", "F"]), st.sampled_from([1, 50, 400, 1_500])), max_size=80),
    st.integers(1, 7),
)
def test_once_a_task_is_silent_the_page_has_the_figures_of_its_row_however_it_was_busy_before(
    outcomes: list[tuple[str, int]], batch: int
) -> None:
    driver = TopologyDriver(partitions=1, tick=1)
    driver.pipe_each(invocations("default", "S" * 30))
    for letter, pause in outcomes:
        driver.pipe(*invocations("default", letter))
        driver.fall_silent(pause)
    driver.fall_silent()
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=batch)
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in told])).outputs)
    [variant] = driver.snapshot(AGENT, TASK).variants
    listed = {v.variant_id for v in (*page.high_confidence, *page.degraded)}
    assert (variant.q_value >= 0.9 and variant.n_visits >= 10) or "default" in listed or not listed
    if listed:
        assert shown(page, "default") == (variant.q_value, variant.n_visits)


def test_figures_that_wait_are_told_by_a_tick_at_once_and_else_after_a_moment_without_a_snapshot() -> None:
    driver = TopologyDriver(partitions=1, tick=100)
    driver.pipe_each(invocations("default", "S" * 40))
    kept = tally.SentNotes()
    note_records(TASKS, 0, driver.topics[TASKS][0], kept, 7.0)
    before = len(driver.topics[TASKS][0])
    [(key, (came, waiting))] = kept.waiting.items()
    assert (key, came) == (f"{AGENT}/{TASK}".encode(), 7.0)
    assert kept.silent(6.9) == []
    assert kept.silent(7.0) == [(key, waiting)]
    driver.pipe_each(invocations("default", "S" * 3))
    driver.fall_silent()
    [output] = note_records(TASKS, 0, driver.topics[TASKS][0][before:], kept, 8.0)
    note = decode(OVERVIEW_EVENTS, output.value, output.key).message
    assert note.high_confidence[0].n_visits == 43, "a tick follows the last outcome, so the snapshot is final"
    assert kept.waiting == {}


def test_figures_that_came_while_older_ones_were_being_told_go_on_waiting() -> None:
    kept = tally.SentNotes()
    first, second, third = (
        a_task(n, n / 86_400, high_confidence=[m.Standing(variant_id="v", q_value=q, n_visits=n + 10, active=True)])
        for n, q in enumerate((0.91, 0.92, 0.93))
    )
    assert kept.is_news(b"k", first)
    assert not kept.is_news(b"k", second, now=1.0)
    [(key, older)] = kept.silent(2.0)
    assert not kept.is_news(b"k", third, now=2.0)
    kept.mark(key, older)
    assert kept.silent(9.0) == [(b"k", third)]
    kept.mark(b"k", third)
    assert not kept.is_news(b"k", third)


def test_a_busy_task_is_still_told_once_a_minute() -> None:
    driver = TopologyDriver(partitions=1, tick=100)
    driver.pipe_each(invocations("default", "S" * 3_000))
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=1)
    assert len(driver.topics[TASKS][0]) > 200
    assert len(told) <= 300_000 / FIGURES_MS + 4


def test_the_page_says_the_present_verdict_on_a_degraded_variant_and_since_when() -> None:
    driver = TopologyDriver(partitions=1, tick=100)
    driver.pipe_each(invocations("default", "S" * 30 + "F" * 6))
    began = driver.snapshot(AGENT, TASK).variants[0].degraded_since
    assert began is not None
    first = driver.snapshot(AGENT, TASK).variants[0].reason
    driver.pipe_each(invocations("default", "F" * 20))
    driver.fall_silent()
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=3)
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in told])).outputs)
    [listed] = page.degraded
    assert (listed.verdict, listed.since) == ("DEGRADED", began)
    assert listed.reason == driver.snapshot(AGENT, TASK).variants[0].reason != first
    [concern] = [text for text in Condition(page, driver.clock).concerns if "runs default" in text]
    assert listed.reason in concern
    assert began[:19].replace("T", " ") in concern

    driver.pipe_each(invocations("default", "S" * 15))
    driver.fall_silent()
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=3)
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in told])).outputs)
    [listed] = page.degraded
    assert listed.verdict == driver.snapshot(AGENT, TASK).variants[0].verdict
    assert (listed.verdict != "DEGRADED") is (
        "has not recovered yet" in " ".join(Condition(page, driver.clock).concerns)
    )


@pytest.mark.parametrize(
    ("orders", "mode", "words"),
    [
        ([m.HoldTask], "enforce", "held by "),
        ([m.HoldAll], "enforce", "the fleet is held by "),
        ([], "observe", "observe mode: alerts only"),
        ([], "shadow", "shadow mode: rollbacks are only reported"),
    ],
)
def test_the_page_says_why_a_degraded_active_variant_is_not_rolled_back(
    orders: list[type], mode: Any, words: str
) -> None:
    driver = TopologyDriver(partitions=1, tick=100)
    driver.pipe(a_policy(PolicySet(default=Policy(operations=Operations(mode=mode)))))
    driver.pipe_each(invocations("default", "S" * 30))
    driver.pipe(*[a_command(kind) for kind in orders])
    driver.pipe_each(invocations("default", "F" * 25))
    driver.fall_silent()
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=3)
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in told])).outputs)
    [listed] = page.degraded
    assert (listed.no_rollback or "").startswith(words)
    assert f"not rolled back: {words}" in " ".join(Condition(page, driver.clock).concerns)
    assert f"ACTIVE, not rolled back: {words}"[:40] in " ".join(render(page, driver.clock).split())


def test_a_proven_variant_is_not_called_ready_while_somebody_holds_its_task() -> None:
    driver = TopologyDriver(partitions=1, tick=100)
    driver.pipe_each(invocations("default", "S" * 30, reward=0.5))
    driver.pipe(a_command(m.HoldAll, actor="grace"))
    driver.pipe_each(invocations("v2", "S" * 12, reward=1.0, variant_source="explore"))
    driver.fall_silent()
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=1)
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in told])).outputs)
    text = render(page, driver.clock)
    assert "ready for auto-apply" not in text
    assert "not applied yet: the fleet is held by grace" in text
    driver.pipe(a_command(m.ResumeAll))
    driver.fall_silent()
    told = told_live(driver.topics[TASKS][0], tally.SentNotes(), batch=1)
    page = page_of(Worker().fold(log_of([Noted(note, driver.clock) for note in told])).outputs)
    assert "ready for auto-apply" in render(page, driver.clock)
