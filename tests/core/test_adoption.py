"""After a change it is known which runtimes followed, how fast, and which are stuck."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.adoption import RECENT, followers_of
from crl_stream.core.policy import Limits, Operations, Policy, Rollout

from .task import Task, proven

AT_ONCE = Operations(stuck_grace=0.0)
"""Runtimes report each outcome at once, so they need no grace."""


def at_work(*names: str, operations: Operations = AT_ONCE) -> Task:
    """Return a task with a proven alternative, in which these runtimes have just worked."""
    task = proven(Policy(operations=operations), v2="S" * 20)
    for name in names:
        works(task, name, 1)
    return task


def works(task: Task, name: str, epoch: int | None, variant: str | None = None, **fields: Any) -> None:
    variant = variant or task.row.active or "default"
    fields = {"variant_source": "live", "duration_seconds": 1.0} | fields
    task.take(an_invocation(variant, "success", runtime_id=name, active_epoch=epoch, **fields))


def stuck(task: Task) -> list[m.Alert]:
    return task.alerts("rollback_stuck")


def adoptions(task: Task) -> list[m.Adoption]:
    return list(task.stated(m.Adoption))


def test_of_four_runtimes_three_get_receipts_one_is_stuck_and_a_session_that_keeps_its_variant_is_not() -> None:
    task = at_work("a", "b", "keeps", "stuck")
    task.order(m.ActivateVariant, variant_id="v2")
    works(task, "a", 2)
    works(task, "b", 1, "default")
    works(task, "b", 2)
    for _ in range(8):
        works(task, "keeps", 2, "default", variant_source="session")
        works(task, "stuck", 1, "default")
    receipts = [one.runtime_id for one in task.stated(m.Receipt) if one.epoch == 2]
    assert receipts == ["a", "b", "keeps"]
    [alert] = stuck(task)
    assert (alert.subject, alert.severity, alert.number) == ("backend-architect/api-design stuck", "warning", 6.0)
    assert "runtime stuck still works in epoch 1" in alert.action
    [adoption] = adoptions(task)
    assert (adoption.complete, adoption.expected, adoption.moved, adoption.within_two) == (True, 4, 3, 3)
    assert (adoption.stuck, adoption.waiting, adoption.median_invocations) == (["stuck"], [], 1.0)
    snapshot = task.stated(m.TaskSnapshot)[-1]
    assert snapshot.adoption == m.AdoptionSnapshot(
        expected=4,
        moved=3,
        within_two=3,
        stuck=1,
        median_invocations=1.0,
        median_milliseconds=adoption.median_milliseconds,
    )
    assert [(one.runtime_id, one.stuck) for one in snapshot.runtimes_behind or ()] == [("stuck", True)]


def test_after_a_rollback_a_stuck_runtime_is_critical() -> None:
    task = at_work("a", "b")
    while task.row.cause != "rollback":
        for name in ("a", "b"):
            task.take(an_invocation("default", "failure", runtime_id=name, active_epoch=1))
    works(task, "a", 2)
    assert task.row.cause == "rollback"
    for _ in range(8):
        works(task, "b", 1, "default")
    assert [alert.severity for alert in stuck(task)] == ["critical"]


def test_a_runtime_that_follows_late_ends_its_alert_and_still_gets_its_receipt() -> None:
    task = at_work("a")
    task.order(m.ActivateVariant, variant_id="v2")
    for _ in range(9):
        works(task, "a", 1, "default")
    works(task, "a", 2)
    assert [alert.resolved for alert in stuck(task)] == [False, True]
    [receipt] = [one for one in task.stated(m.Receipt) if one.epoch == 2]
    assert receipt.late_invocations == 9
    assert task.stated(m.TaskSnapshot)[-1].adoption is not None
    assert followers_of(task.row).invocations == 10.0


def test_long_invocations_that_began_before_the_change_are_not_stuck_and_one_that_began_long_after_is() -> None:
    task = at_work("slow", "late")
    task.order(m.ActivateVariant, variant_id="v2")
    task.now += 600_000
    for _ in range(5):
        works(task, "slow", 1, "default", duration_seconds=605.0)
    assert not stuck(task)
    works(task, "late", 1, "default", duration_seconds=30.0)
    assert [alert.subject for alert in stuck(task)] == ["backend-architect/api-design late"]


def test_many_invocations_that_were_under_way_at_the_change_do_not_make_a_runtime_stuck() -> None:
    task = at_work("busy", "other")
    task.order(m.ActivateVariant, variant_id="v2")
    for number in range(30):
        works(task, "busy", 1, "default", duration_seconds=30.0 + number)
    assert not stuck(task)
    works(task, "busy", 2)
    [receipt] = [one for one in task.stated(m.Receipt) if one.epoch == 2]
    assert receipt.late_invocations == 30
    for _ in range(8):
        works(task, "other", 1, "default")
    assert [alert.subject for alert in stuck(task)] == ["backend-architect/api-design other"]


def test_a_stuck_runtime_that_is_forgotten_to_make_room_leaves_no_alert_open() -> None:
    task = at_work("a", "b")
    task.order(m.ActivateVariant, variant_id="v2")
    for _ in range(8):
        works(task, "a", 1, "default")
    task.policy = Policy(limits=Limits(runtimes=2), operations=AT_ONCE)
    works(task, "c", 2)
    assert [(alert.resolved, alert.subject[-2:]) for alert in stuck(task)] == [(False, " a")]
    works(task, "d", 2)
    works(task, "e", 2)
    assert [(alert.resolved, alert.subject[-2:]) for alert in stuck(task)] == [(False, " a"), (True, " a")]
    assert not any(runtime.stuck for runtime in task.row.runtimes.values())


def test_forgetting_the_last_runtime_that_is_waited_for_completes_the_adoption() -> None:
    task = at_work("gone", "here")
    task.order(m.ActivateVariant, variant_id="v2")
    works(task, "here", 2)
    assert not adoptions(task)
    task.policy = Policy(limits=Limits(runtimes=2), operations=AT_ONCE)
    works(task, "new", 1, "default")
    [adoption] = adoptions(task)
    assert (adoption.complete, adoption.expected, adoption.moved, adoption.waiting) == (True, 1, 1, [])
    task.order(m.UndoRollback)
    assert len(adoptions(task)) == 1


def test_a_runtime_that_has_followed_is_not_stuck_if_it_was_forgotten_and_returns_with_an_older_outcome() -> None:
    task = at_work("a")
    task.policy = Policy(limits=Limits(runtimes=2), operations=AT_ONCE)
    task.order(m.ActivateVariant, variant_id="v2")
    works(task, "a", 2)
    works(task, "b", 2)
    works(task, "c", 2)
    assert "a" not in task.row.runtimes
    for _ in range(8):
        works(task, "a", 1, "default")
    assert not stuck(task)
    works(task, "a", 2)
    assert [one.runtime_id for one in task.stated(m.Receipt) if one.epoch == 2] == ["a", "b", "c"]


def test_a_runtime_that_has_only_named_an_older_epoch_is_expected_to_follow_the_next_change() -> None:
    task = at_work("a")
    task.order(m.ActivateVariant, variant_id="v2")
    works(task, "behind", 1, "default")
    works(task, "nameless", None, "default")
    works(task, "a", 2)
    task.order(m.UndoRollback)
    works(task, "a", 3)
    assert followers_of(task.row).waiting == ["behind"]
    works(task, "behind", 3)
    assert [(one.epoch, one.expected, one.moved) for one in adoptions(task)] == [(2, 1, 1), (3, 2, 2)]


def test_the_alert_names_the_epoch_in_which_a_runtime_works_also_if_it_was_never_up_to_date() -> None:
    task = at_work("a")
    task.order(m.ActivateVariant, variant_id="v2")
    for _ in range(8):
        works(task, "new", 1, "default")
    [alert] = stuck(task)
    assert "runtime new still works in epoch 1," in alert.action


def test_only_runtimes_that_worked_recently_are_expected() -> None:
    task = at_work("gone")
    task.now += RECENT + 1_000
    works(task, "here", 1)
    task.order(m.ActivateVariant, variant_id="v2")
    works(task, "here", 2)
    [adoption] = adoptions(task)
    assert (adoption.expected, adoption.moved) == (1, 1)


def test_a_change_before_all_have_followed_publishes_how_far_they_were_and_ends_the_alerts() -> None:
    task = at_work("a", "b", "c")
    task.order(m.ActivateVariant, variant_id="v2")
    works(task, "a", 2)
    for _ in range(7):
        works(task, "b", 1, "default")
    assert not adoptions(task)
    task.order(m.UndoRollback)
    [adoption] = adoptions(task)
    assert (adoption.epoch, adoption.complete, adoption.waiting, adoption.stuck) == (2, False, ["c"], ["b"])
    assert [alert.resolved for alert in stuck(task)] == [False, True]


@pytest.mark.parametrize("source", ["explore"])
def test_a_runtime_that_only_explores_is_not_followed(source: str) -> None:
    task = at_work("a")
    task.order(m.ActivateVariant, variant_id="v2")
    for _ in range(20):
        works(task, "a", 1, "default", variant_source=source)
    assert not stuck(task)


def reports(task: Task, name: str, epoch: int, variant: str, outcomes: int) -> None:
    """Let a runtime report several short invocations in one batch."""
    for _ in range(outcomes):
        task.now -= 1_000
        works(task, name, epoch, variant, duration_seconds=0.2)
    task.now += 1_000


def test_a_runtime_that_reports_in_batches_is_not_stuck_because_of_what_it_finished_before_it_could_know() -> None:
    task = at_work("batches", operations=Operations())
    task.order(m.ActivateVariant, variant_id="v2")
    change = task.now
    task.pass_time(4_000)
    reports(task, "batches", 1, "default", 20)
    assert task.now - change < 10_000
    assert not stuck(task)
    task.pass_time(4_000)
    reports(task, "batches", 2, "v2", 20)
    assert not stuck(task)
    assert [one.runtime_id for one in task.stated(m.Receipt) if one.epoch == 2] == ["batches"]


def test_after_the_grace_a_runtime_that_still_reports_the_old_variant_is_stuck() -> None:
    task = at_work("batches", operations=Operations())
    task.order(m.ActivateVariant, variant_id="v2")
    reports(task, "batches", 1, "default", 20)
    task.pass_time(10_000)
    reports(task, "batches", 1, "default", 5)
    assert not stuck(task), "what came within the grace does not count"
    reports(task, "batches", 1, "default", 1)
    assert [(alert.subject.split()[-1], alert.number) for alert in stuck(task)] == [("batches", 26.0)]


class Runtime:
    """What is known about one runtime since the change."""

    def __init__(self, name: str) -> None:
        self.name, self.late, self.behind = name, 0, 0
        self.moved: tuple[int, int] | None = None
        """Late outcomes before it moved, and milliseconds since the change."""
        self.stuck = False


@given(
    st.sampled_from([0, 10_000]),
    st.lists(
        st.tuples(
            st.sampled_from("abcdz"), st.booleans(), st.sampled_from([-9_000, 0, 1, 60_000, 120_000, 120_001, None])
        ),
        max_size=60,
    ),
)
def test_receipts_alerts_and_figures_agree_with_a_recount(grace: int, work: list[tuple[str, bool, int | None]]) -> None:
    """``z`` is new.  Each outcome says whether it knows the change, and how long after it its invocation began."""
    task = at_work(*"abcd", operations=Operations(stuck_grace=grace / 1_000))
    task.order(m.ActivateVariant, variant_id="v2")
    change, known = task.now, {name: Runtime(name) for name in "abcdz"}
    receipts, alerts, last = [], [], dict.fromkeys("abcd", change - 1_000) | {"z": 0}
    for name, knows, began in work:
        runtime = known[name]
        task.now = max(task.now, change + (began or 0))
        now = task.now + 1_000
        seconds = None if began is None else (now - change - began) / 1_000
        works(task, name, 2 if knows else 1, "v2" if knows else "default", duration_seconds=seconds)
        after = last[name] - change if began is None else began
        last[name] = now
        if knows and runtime.moved is None:
            runtime.moved = runtime.late, now - change
            receipts.append((name, 2, *runtime.moved))
            if runtime.stuck:
                alerts.append((name, True))
            runtime.stuck = False
        if not knows:
            runtime.late += 1
            counts = after > 0 and now > change + grace
            runtime.behind += counts
            if runtime.moved is None and not runtime.stuck and counts and (runtime.behind > 5 or after > 120_000):
                runtime.stuck = True
                alerts.append((name, False))
    found = [one for one in task.stated(m.Receipt) if one.epoch == 2]
    assert [(one.runtime_id, one.epoch, one.late_invocations, one.milliseconds) for one in found] == receipts
    assert [(alert.subject[-1], alert.resolved) for alert in stuck(task)] == alerts
    check_figures(task, [known[name] for name in "abcd"])


def check_figures(task: Task, expected: list[Runtime]) -> None:
    moved = [runtime.moved for runtime in expected if runtime.moved is not None]
    found, invocations = followers_of(task.row), [late + 1 for late, _ in moved]
    assert (found.expected, found.moved) == (len(expected), len(moved))
    assert found.within_two == sum(number <= 2 for number in invocations)
    assert found.stuck == [runtime.name for runtime in expected if runtime.stuck]
    assert found.waiting == [runtime.name for runtime in expected if not runtime.stuck and runtime.moved is None]
    assert found.invocations == (median(invocations) if moved else None)
    assert found.milliseconds == (median([passed for _, passed in moved]) if moved else None)
    assert [one.complete for one in adoptions(task)] == ([] if found.waiting else [True])


def test_invocations_under_way_at_the_change_do_not_count_when_a_later_one_began_before_the_news_arrived() -> None:
    """Otherwise a runtime with many at the same time would be called stuck for one that began a moment too early."""
    task = at_work("busy")
    task.order(m.ActivateVariant, variant_id="v2")
    for number in range(30):
        works(task, "busy", 1, "default", duration_seconds=30.0 + number)
    works(task, "busy", 1, "default", duration_seconds=0.5)
    assert not stuck(task)
    for _ in range(5):
        works(task, "busy", 1, "default", duration_seconds=0.5)
    assert [(alert.subject[-4:], alert.number) for alert in stuck(task)] == [("busy", 36.0)]


@pytest.mark.parametrize(("ago", "expected"), [(RECENT, 1), (RECENT + 1, 0)])
def test_a_runtime_is_expected_if_its_last_outcome_is_recent_and_it_names_an_epoch(ago: int, expected: int) -> None:
    task = at_work("a")
    task.take(an_invocation("default", "success", runtime_id="names none", variant_source="live"))
    task.row.runtimes["a"].seen -= ago - 2_000
    task.order(m.ActivateVariant, variant_id="v2")
    assert followers_of(task.row).expected == expected
    assert task.row.adopting is bool(expected)


def test_after_the_end_of_a_rollout_times_count_from_then() -> None:
    task = at_work("a", "b")
    task.order(m.RegisterVariant, variant_id="c")
    task.policy = Policy(rollout=Rollout(stages=(0.5,), min_outcomes=100), operations=AT_ONCE)
    task.order(m.StartRollout, variant_id="c")
    works(task, "a", task.row.epoch)
    task.pass_time(300_000)
    task.order(m.AbortRollout)
    works(task, "a", task.row.epoch)
    for _ in range(6):
        works(task, "b", 1, duration_seconds=0.5)
    [receipt] = [one for one in task.stated(m.Receipt) if one.epoch == task.row.epoch]
    assert receipt.milliseconds == 1_000
    assert followers_of(task.row).milliseconds == 1_000.0
    assert ["7 s and 6 outcomes after" in alert.action for alert in stuck(task)] == [True]


def test_a_row_of_an_engine_that_did_not_note_when_the_epoch_began_counts_from_the_change() -> None:
    task = at_work("a", "b")
    task.order(m.ActivateVariant, variant_id="v2")
    task.row.epoch_since = 0
    works(task, "a", 2)
    assert followers_of(task.row).milliseconds == 1_000.0
    for _ in range(6):
        works(task, "b", 1, "default", duration_seconds=0.5)
    assert len(stuck(task)) == 1
