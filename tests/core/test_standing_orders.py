"""Pin, hold, undo: how long a person's order stands and what the engine may still do."""

from __future__ import annotations

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy, Rollback

from .orders import rollback_id, two
from .task import HOUR, collapsed, proven


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


def test_an_undo_leaves_the_hold_of_a_person_as_it_is() -> None:
    task = collapsed()
    task.order(m.HoldTask, actor="grace", reason="an audit", hours=48.0)
    assert "still held by grace" in task.order(m.UndoRollback, actor="ada").detail
    assert task.row.held is not None
    assert (task.row.held.actor, task.row.held.until) == ("grace", task.row.held.since + 48 * HOUR)


def test_a_variant_that_is_activated_again_leaves_no_alert_open() -> None:
    task = collapsed()
    [alert] = [a for a in task.stated(m.DegradationAlert) if a.variant_id == "api-optimized"]
    task.order(m.UndoRollback)
    over = [a for a in task.alerts("degradation") if a.resolved]
    assert [(a.cause_id, a.severity) for a in over] == [(alert.alert_id, "info")]
    assert not task.variant("api-optimized").degraded
