"""A provider or model is reported when enough of its tasks fall within a span, until they recover."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.shared_tags import MOST, TagRow, row_position, take

MINUTE = 60_000
START = 1_763_562_600_000
LIMITS = m.TagLimits(tasks=3, share=0.5, span_minutes=30)


class Tag:
    """The row of ``provider:one``, and every report about it."""

    def __init__(self, limits: m.TagLimits = LIMITS) -> None:
        self.data: bytes | None = None
        self.limits, self.offset, self.now = limits, -1, START
        self.reports: list[m.ReportTag] = []

    def say(self, state: Any, *tasks: str, minutes: float = 0, offset: int | None = None) -> list[m.ReportTag]:
        """Let each task announce ``state``, at ``minutes``; return the resulting reports."""
        reports = []
        self.now += round(minutes * MINUTE)
        for task in tasks:
            self.offset += 1
            said = m.TagCondition(
                condition_id=f"tag-{self.offset}",
                timestamp="2025-11-19T14:30:00.000Z",
                tag="provider:one",
                state=state,
                agent_name="a",
                task_type=task,
                variant_id="v1",
                limits=self.limits,
                incarnation=0,
                position=m.Position(0, self.offset if offset is None else offset),
                policy_hash="",
                engine_version="4",
            )
            self.data, report = take(self.data, said, (0, self.offset), self.now)
            reports += [] if report is None else [report]
        self.reports += reports
        return reports


def used(*tasks: str, limits: m.TagLimits = LIMITS) -> Tag:
    tag = Tag(limits)
    assert tag.say("uses", *tasks) == []
    return tag


def test_the_third_task_that_falls_within_the_span_is_reported_once() -> None:
    tag = used("t1", "t2", "t3", "t4")
    assert tag.say("fell", "t1", "t2") == []
    [report] = tag.say("fell", "t3", minutes=10)
    assert (report.tag, report.failing, report.reason) == (
        "provider:one",
        True,
        "3 of 4 tasks on provider:one fell within 30 minutes",
    )
    assert report.command_id == f"{report.incident_id}-1"
    assert report.valid_until == "2025-11-19T15:10:00.000Z"
    assert tag.say("fell", "t4", minutes=5) == []


def test_tasks_that_fall_far_apart_or_are_few_among_many_are_no_outage() -> None:
    apart = used("t1", "t2", "t3")
    assert [apart.say("fell", task, minutes=20) for task in ("t1", "t2", "t3")] == [[], [], []]
    many = used(*(f"t{n}" for n in range(10)))
    assert many.say("fell", "t1", "t2", "t3", "t4") == []
    assert len(many.say("fell", "t5")) == 1


def test_the_report_is_repeated_while_tasks_still_fall_and_ends_with_the_same_incident() -> None:
    tag = used("t1", "t2", "t3", "t4")
    [first] = tag.say("fell", "t1", "t2", "t3")
    [again] = tag.say("fell", "t1", "t2", "t3", "t4", minutes=20)
    assert (again.incident_id, again.failing, again.command_id) == (first.incident_id, True, f"{first.incident_id}-2")
    reports = tag.say("recovered", "t1", "t2", "t3", "t4", minutes=1)
    assert [(report.incident_id, report.failing) for report in reports] == [(first.incident_id, False)]


def test_a_report_that_has_run_out_is_followed_by_a_new_incident() -> None:
    tag = used("t1", "t2", "t3")
    [first] = tag.say("fell", "t1", "t2", "t3")
    [second] = tag.say("fell", "t1", "t2", "t3", minutes=40)
    assert second.incident_id != first.incident_id


def test_a_task_that_has_left_the_tag_counts_as_fallen_for_the_span_and_is_then_forgotten() -> None:
    tag = used("t1", "t2", "t3")
    tag.say("fell", "t1")
    tag.say("left", "t1")
    assert len(tag.say("fell", "t2", "t3")) == 1
    tag.say("uses", "t2", minutes=60)
    row: dict[str, Any] = _row(tag).tasks
    assert set(row) == {"a/t2", "a/t3"}


def test_with_no_least_number_tasks_are_not_counted() -> None:
    tag = used("t1", "t2", "t3", limits=m.TagLimits(tasks=0))
    assert tag.say("fell", "t1", "t2", "t3") == []


def test_an_older_announcement_of_a_task_is_ignored_and_a_repeated_one_changes_nothing() -> None:
    tag = used("t1", "t2", "t3")
    tag.say("fell", "t1", "t2")
    tag.say("recovered", "t2", offset=50)
    tag.say("fell", "t2", offset=49)
    assert tag.say("fell", "t3") == []
    tag.say("fell", "t2", offset=51)
    before = len(tag.reports)
    assert before == 1
    tag.say("fell", "t2", offset=51)
    assert len(tag.reports) == before


def test_a_row_stays_bounded_and_forgets_no_task_that_has_fallen() -> None:
    tag = Tag(m.TagLimits(tasks=MOST))
    tag.say("fell", "first")
    tag.say("uses", *(f"t{n}" for n in range(MOST + 5)))
    row = _row(tag)
    assert len(row.tasks) == MOST
    assert "a/first" in row.tasks


STATES = st.sampled_from(["uses", "left", "fell", "recovered"])


@given(st.lists(st.tuples(STATES, st.integers(0, 5), st.integers(0, 20))))
def test_reports_of_an_incident_begin_with_failing_and_end_with_one_end(steps: list[tuple[str, int, int]]) -> None:
    tag = Tag()
    for state, task, minutes in steps:
        tag.say(state, f"t{task}", minutes=minutes)
    by_incident: dict[str, list[bool]] = {}
    for report in tag.reports:
        by_incident.setdefault(report.incident_id, []).append(report.failing)
    assert all(told[0] and all(told[:-1]) for told in by_incident.values())
    assert len({report.command_id for report in tag.reports}) == len(tag.reports)
    if tag.data is not None:
        assert row_position(tag.data) == (0, tag.offset)


def _row(tag: Tag) -> TagRow:
    assert tag.data is not None
    return msgspec.msgpack.decode(tag.data, type=TagRow)
