"""Pin, hold and undo: how long each stays in force, and what the engine may still do during that time."""

from __future__ import annotations

import pytest
from builders import an_invocation

from crl_stream.core import messages as m
from crl_stream.core.monitor.decision_matrix import span_of
from crl_stream.core.monitor.row import StandingOrder
from crl_stream.core.monitor.step import Context, follow_fleet, pass_time
from crl_stream.core.policy import Operations, Policy, Rollback

from .orders import rollback_id, two
from .task import HOUR, NOON, Task, collapsed, proven


def test_a_pin_ends_by_itself_after_24_hours_and_runtimes_are_told() -> None:
    task = two()
    task.order(m.PinVariant)
    assert task.row.pinned is not None
    until = task.row.pinned.until
    assert until == task.now + 24 * HOUR
    task.now = until - 2_000
    task.run("default", "S")
    assert task.row.pinned is not None
    facts = task.run("default", "S")
    assert task.row.pinned is None
    assert [fact.pinned for fact in facts if isinstance(fact, m.ActiveVariant)] == [None]


def test_a_hold_ends_by_itself_after_24_hours() -> None:
    task = two()
    task.order(m.HoldTask)
    task.pass_time(24 * HOUR - 2_000)
    task.run("default", "S")
    assert task.row.held is not None
    task.run("default", "S")
    assert task.row.held is None


def test_a_degraded_variant_that_is_not_active_is_no_rollback_that_a_hold_prevents() -> None:
    task = two()
    task.order(m.HoldTask)
    task.run("v2", "S" * 10 + "F" * 30, variant_source="explore")
    assert task.variant("v2").degraded
    assert task.alerts("held_degradation") == []
    task.run("default", "F" * 20)
    assert len(task.alerts("held_degradation")) == 1


@pytest.mark.parametrize("ends", ["resumed", "expires", "fleet", "recovers", "another is active"])
def test_the_alert_that_names_a_hold_ends_with_the_hold_or_the_degradation(ends: str) -> None:
    task = two()
    if ends == "fleet":
        task.fleet = StandingOrder("root", "", task.now, task.now + HOUR)
    else:
        task.order(m.HoldTask, actor="ada", hours=1.0)
    task.run("default", "F" * 20)
    [opened] = task.alerts("held_degradation")
    assert not opened.resolved
    if ends == "resumed":
        task.order(m.ResumeTask)
    elif ends == "expires":
        task.pass_time(2 * HOUR)
        task.facts += pass_time(task.row, Context(0, task.offset, task.now, 0, "0" * 16), task.policy)
    elif ends == "fleet":
        task.facts += follow_fleet(task.row, Context(0, task.offset, task.now, 0, "0" * 16), task.policy).facts
    elif ends == "recovers":
        task.run("default", "S" * 40)
    else:
        task.order(m.ActivateVariant, variant_id="v2", untested=True)
    _, over = task.alerts("held_degradation")
    assert (over.resolved, over.subject, over.severity) == (True, opened.subject, "info")


def test_the_hours_of_pin_and_hold_are_settings() -> None:
    task = proven(Policy(operations=Operations(pin_hours=1, hold_hours=2)))
    task.order(m.PinVariant)
    task.order(m.HoldTask)
    assert task.row.pinned is not None and task.row.held is not None
    assert task.row.pinned.until == task.row.pinned.since + HOUR
    assert task.row.held.until == task.row.held.since + 2 * HOUR


def test_an_undo_lifts_the_quarantine_and_holds_automatic_changes_for_100_outcomes() -> None:
    task = collapsed()
    task.order(m.UndoRollback, expected_epoch=3)
    assert (task.row.active, task.row.epoch, task.row.cause) == ("api-optimized", 4, "undo")
    assert not task.variant("api-optimized").quarantined
    assert task.stated(m.ActiveVariant)[-1].held.outcomes_left == 100
    task.run("api-optimized", "F" * 99, active_epoch=4)
    assert len(task.stated(m.RollbackEvent)) == 1
    assert task.row.held is not None
    task.run("api-optimized", "S", active_epoch=4)
    assert task.row.held is None


def test_only_the_latest_change_can_be_undone_and_only_once() -> None:
    task = collapsed()
    assert task.order(m.UndoRollback, expected_epoch=2).outcome == "refused"
    assert task.order(m.UndoRollback, rollback_id=rollback_id(task)).outcome == "applied"
    assert task.order(m.UndoRollback).outcome == "refused"


def test_an_undo_never_returns_to_a_variant_that_has_been_retired_meanwhile() -> None:
    task = two()
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.RetireVariant, variant_id="default")
    result = task.order(m.UndoRollback)
    assert result.outcome == "refused"
    assert "default is retired; register it again first" in result.detail
    assert task.row.active == "v2"


def test_an_undo_without_a_hold_is_a_setting() -> None:
    task = collapsed(Policy(rollback=Rollback(undo_hold=0)))
    task.order(m.UndoRollback)
    assert task.row.held is None


def test_a_confirmed_rollback_is_reviewed_once_and_its_quarantine_stays() -> None:
    task = collapsed()
    assert task.order(m.ConfirmRollback, rollback_id=rollback_id(task)).outcome == "applied"
    again = task.order(m.ConfirmRollback, rollback_id=rollback_id(task))
    assert (again.outcome, "already confirmed" in again.detail) == ("refused", True)
    assert task.variant("api-optimized").quarantined


def test_a_rollback_is_confirmed_after_the_fact_whatever_was_activated_since() -> None:
    task = collapsed()
    friday = rollback_id(task)
    task.run("v3", "S" * 30, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v3")
    result = task.order(m.ConfirmRollback, rollback_id=friday)
    assert (result.outcome, result.detail) == ("applied", f"{friday} reviewed; api-optimized stays quarantined")
    assert task.order(m.ConfirmRollback, rollback_id=friday).detail == f"{friday} is already confirmed"


def test_a_rollback_whose_quarantine_was_lifted_meanwhile_is_confirmed_in_true_words() -> None:
    task = collapsed()
    task.order(m.LiftQuarantine, variant_id="api-optimized")
    assert (
        "api-optimized is no longer quarantined" in task.order(m.ConfirmRollback, rollback_id=rollback_id(task)).detail
    )


def test_a_rollback_that_was_undone_cannot_be_confirmed() -> None:
    task = collapsed()
    undone = rollback_id(task)
    task.order(m.UndoRollback)
    result = task.order(m.ConfirmRollback, rollback_id=undone)
    assert (result.outcome, result.detail) == ("refused", f"{undone} was undone; there is nothing to confirm")


def test_the_last_eight_rollbacks_can_be_reviewed_and_those_reviewed_give_way_first() -> None:
    task = Task(Policy(rollback=Rollback(undo_hold=0)))
    for number in range(10):
        task.run("good" if number == 0 else f"v{number}", "S" * 30, variant_source=None if number == 0 else "explore")
        if number:
            task.order(m.ActivateVariant, variant_id=f"v{number}")
            task.run(f"v{number}", "F" * 15, active_epoch=task.row.epoch)
        if number == 3:
            second = task.stated(m.RollbackEvent)[1].rollback_id
            task.order(m.ConfirmRollback, rollback_id=second)
    ids = [event.rollback_id for event in task.stated(m.RollbackEvent)]
    assert len(ids) == 9
    outcomes = [task.order(m.ConfirmRollback, rollback_id=one).outcome for one in ids]
    assert outcomes == ["applied", "refused", *["applied"] * 7]
    assert len(task.row.rollbacks) == 8


def test_an_undo_and_a_hold_by_time_keep_the_task_held_until_both_have_passed() -> None:
    task = collapsed()
    task.order(m.HoldTask, actor="grace", reason="an audit", hours=48.0)
    assert "still held by grace, for at least 100 outcomes" in task.order(m.UndoRollback, actor="ada").detail
    assert task.row.held is not None
    assert (task.row.held.actor, task.row.held.until) == ("grace", task.row.held.since + 48 * HOUR)
    shown = task.stated(m.ActiveVariant)[-1].held
    assert (shown.until is not None, shown.outcomes_left) == (True, 100)
    task.run("api-optimized", "S" * 100, active_epoch=4)
    assert task.row.held is not None, "the hold lasts until 48 hours have passed"
    task.pass_time(48 * HOUR)
    task.run("api-optimized", "S", active_epoch=4)
    assert task.row.held is None


@pytest.mark.parametrize("hold_first", [True, False])
def test_the_hours_of_a_hold_do_not_shorten_the_hundred_outcomes_of_an_undo(hold_first: bool) -> None:
    task = collapsed()
    orders = [lambda: task.order(m.HoldTask, hours=1.0), lambda: task.order(m.UndoRollback)]
    for order in orders if hold_first else reversed(orders):
        order()
    task.pass_time(2 * HOUR)
    task.run("api-optimized", "F" * 99, active_epoch=4)
    assert task.row.held is not None and len(task.stated(m.RollbackEvent)) == 1
    task.run("api-optimized", "F", active_epoch=4)
    assert task.row.held is None
    assert len(task.stated(m.RollbackEvent)) == 2


@pytest.mark.parametrize("ends", ["replaced", "expires", "by outcomes"])
def test_whoever_holds_a_degraded_task_next_is_named_with_the_next_outcome(ends: str) -> None:
    task = collapsed() if ends == "by outcomes" else two()
    if ends == "by outcomes":
        task.order(m.UndoRollback)
        task.run("api-optimized", "F" * 99, active_epoch=4)
        task.take(
            an_invocation("default", variant_source="explore")
        )  # the hold ends with this 100th outcome, but only its own variant is judged
    else:
        task.order(m.HoldTask, actor="ada", hours=1.0)
        task.run("default", "F" * 10)
    told = len(task.alerts("held_degradation"))
    assert told
    if ends == "expires":
        task.pass_time(2 * HOUR)
        task.take(an_invocation("default", variant_source="explore", active_epoch=0))
        assert task.row.held_n == -1
    task.order(m.HoldTask, actor="grace")
    task.run(task.row.active or "", "F", active_epoch=task.row.epoch)
    later = [alert for alert in task.alerts("held_degradation")[told:] if not alert.resolved]
    assert [("grace" in alert.text) for alert in later] == [True]


def test_a_variant_that_is_activated_again_leaves_no_alert_open() -> None:
    task = proven(v2="S" * 30 + "F" * 10)
    [opened] = task.alerts("degradation")
    task.order(m.ActivateVariant, variant_id="v2")
    over = [a for a in task.alerts("degradation") if a.resolved]
    assert [(a.cause_id, a.severity) for a in over] == [(opened.cause_id, "info")]
    assert not task.variant("v2").degraded


def test_an_undo_closes_no_alert_where_the_rollback_itself_was_told() -> None:
    task = collapsed()
    task.order(m.UndoRollback)
    assert task.alerts("degradation") == []
    assert not task.variant("api-optimized").degraded


@pytest.mark.parametrize(
    ("until", "until_n", "words"),
    [
        (None, None, "until it is released"),
        (NOON, None, "until 2025-11-19T14:30:00.000Z"),
        (None, 33, "for 3 outcomes"),
        (None, 30, "for 0 outcomes"),
        (None, 29, "for 0 outcomes"),
        (NOON, 31, "until 2025-11-19T14:30:00.000Z and for 1 outcome"),
        (NOON, 30, "until 2025-11-19T14:30:00.000Z"),
    ],
)
def test_how_long_an_order_still_stands_is_said_with_each_limit_that_has_not_passed(
    until: int | None, until_n: int | None, words: str
) -> None:
    row = proven().row
    assert row.n == 30
    assert span_of(StandingOrder("ann", "", 0, until=until, until_n=until_n), row) == words
