"""Operators are told what will really happen: under a hold, or in some modes, no rollback protects a variant."""

from __future__ import annotations

from typing import Any

import pytest
from builders import invocations

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.core.monitor.decision_matrix import no_rollback
from crl_stream.core.monitor.row import StandingOrder
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Operations, Policy, Rollback

from .orders import PROMOTE
from .task import HOUR, NOON, Task

FLEET = StandingOrder("grace", "incident 42", NOON, until=NOON + 48 * HOUR)
STILL = "it can still be rolled back"


class Fleet(Task):
    """A task under a hold on the whole fleet."""

    fleet: StandingOrder | None = None

    def take(self, *messages: Any) -> list[Any]:
        """Do the same as ``Task.take`` while the fleet is held."""
        stated: list[Any] = []
        for message in messages:
            self.offset, self.now = self.offset + 1, self.now + 1_000
            at = Context(0, self.offset, self.now, 0, "0" * 16, self.fleet)
            self.last = step(self.row, message, at, self.policy)
            stated += self.last.facts
        self.facts += stated
        return stated


def a_task(kind: str) -> Fleet:
    """Build a task in which ``default`` is active and ``v2`` is proven, and ``kind`` prevents automatic changes."""
    mode: Any = kind if kind in {"shadow", "observe"} else "enforce"
    task = Fleet(Policy(operations=Operations(mode=mode)))
    task.run("default", "S" * 30, reward=0.6)
    task.run("v2", "S" * 12, reward=0.62, variant_source="explore")
    task.run("v3", "S" * 12, reward=0.3, variant_source="explore")
    if kind in {"task", "both"}:
        task.order(m.HoldTask, actor="ada")
    if kind in {"fleet", "both"}:
        task.fleet = FLEET
    return task


WORDS = {
    "task": "held by ada until 2025-11-20T",
    "fleet": "the fleet is held by grace until 2025-11-21T",
    "both": "held by ada until 2025-11-20T",
    "shadow": "shadow mode: rollbacks are only reported",
    "observe": "observe mode: alerts only",
}
ORDERS: list[tuple[type, dict[str, Any]]] = [
    (m.PinVariant, {}),
    (m.PinVariant, {"variant_id": "v2"}),
    (m.ActivateVariant, {"variant_id": "v2"}),
    (m.ApproveProposal, {"proposal_id": "p1", "change": PROMOTE}),
]


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize(("order", "fields"), ORDERS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_order_that_makes_or_pins_an_active_variant_says_when_no_rollback_protects_it(
    kind: str, order: type, fields: dict[str, Any]
) -> None:
    result = a_task(kind).order(order, **fields)
    assert result.outcome == "applied"
    assert STILL not in result.detail
    assert f"no automatic rollback: {WORDS[kind]}" in result.detail
    assert a_task("none").order(m.PinVariant).detail.endswith(STILL)


@pytest.mark.parametrize("kind", ["none", *WORDS])
def test_what_is_said_of_a_rollback_is_what_happens_when_the_active_variant_collapses(kind: str) -> None:
    task = a_task(kind)
    result = task.order(m.PinVariant, variant_id="v2", hours=100.0)
    before = task.row.epoch
    task.run("v2", "F" * 30, active_epoch=before)
    assert (task.row.epoch != before) is (STILL in result.detail)
    snapshot = task.stated(m.TaskSnapshot)[-1]
    assert (snapshot.no_rollback is None) is (STILL in result.detail)


def test_both_holds_are_named_since_both_must_be_released() -> None:
    said = a_task("both").order(m.PinVariant).detail
    assert "held by ada until" in said
    assert "the fleet is held by grace until" in said


def test_an_undo_says_that_the_fleet_is_held_beside_its_own_hold() -> None:
    task = a_task("none")
    task.order(m.ActivateVariant, variant_id="v2")
    task.fleet = FLEET
    said = task.order(m.UndoRollback).detail
    assert "no automatic changes for 100 outcomes" in said
    assert "the fleet is also held by grace until 2025-11-21T" in said


def test_an_undo_that_holds_nothing_says_whether_a_rollback_protects() -> None:
    task = Fleet(Policy(rollback=Rollback(undo_hold=0)))
    task.run("default", "S" * 30)
    task.run("v2", "S" * 12, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.fleet = FLEET
    assert "no automatic rollback: the fleet is held by grace" in task.order(m.UndoRollback).detail


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ([m.PinVariant], m.UnpinVariant, "unpinned; nothing is promoted yet: the fleet is held by grace"),
        ([m.PinVariant, m.HoldTask], m.UnpinVariant, "unpinned; nothing is promoted yet: held by "),
        ([m.PinVariant, m.HoldTask], m.ResumeTask, "resumed, but still held: the fleet is held by grace"),
    ],
)
def test_the_end_of_one_order_says_what_another_one_still_keeps_from_happening(
    first: list[type], then: type, said: str
) -> None:
    task = a_task("fleet")
    for kind in first:
        task.order(kind)
    assert task.order(then).detail.startswith(said)


def test_a_hold_that_ends_under_a_pin_or_in_shadow_mode_says_that_nothing_is_promoted() -> None:
    task = a_task("task")
    task.order(m.PinVariant)
    assert task.order(m.ResumeTask).detail.startswith("resumed; nothing is promoted yet: pinned by ")
    shadow = a_task("shadow")
    shadow.order(m.HoldTask)
    assert shadow.order(m.ResumeTask).detail == "resumed; nothing is promoted: shadow mode"


def test_an_untested_variant_that_nothing_protects_is_said_so_in_its_alert() -> None:
    task = a_task("fleet")
    task.order(m.RegisterVariant, variant_id="new")
    task.order(m.ActivateVariant, variant_id="new", untested=True)
    [alert] = task.alerts("untested")
    assert "no automatic rollback: the fleet is held by grace" in alert.text


@pytest.mark.parametrize(("kind", "why"), [("task", "held by ada"), ("fleet", "the fleet is held by grace")])
def test_a_candidate_that_waits_is_told_of_the_hold_that_it_waits_for(kind: str, why: str) -> None:
    task = a_task(kind)
    task.take(*invocations("v4", "S" * 10, reward=1.0, variant_source="explore"))
    assert task.snapshot("v4").decision == "auto_apply"
    assert task.snapshot("v4").not_applied == why
    assert task.row.active == "default"


def test_a_variant_says_since_when_it_is_degraded_and_only_while_it_is() -> None:
    task = Task(Policy(rollback=Rollback(min_samples=100)))
    task.run("default", "S" * 30)
    began = None
    for _ in range(20):
        task.run("default", "F")
        if began is None and task.variant("default").degraded:
            began = task.now
    assert began is not None
    assert task.snapshot("default").degraded_since == to_text(began)
    task.order(m.RegisterVariant, variant_id="new")
    task.order(m.ActivateVariant, variant_id="new", untested=True)
    task.order(m.ActivateVariant, variant_id="default")
    assert task.snapshot("default").degraded_since is None


def test_a_hold_for_outcomes_says_how_many_are_left() -> None:
    task = a_task("none")
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.UndoRollback, actor="ada")
    task.run("default", "S" * 30, active_epoch=3)
    assert no_rollback(task.row, task.policy, None) == "held by ada for 70 outcomes"


def test_an_order_in_a_task_that_is_protected_says_no_more_than_what_it_did() -> None:
    task = a_task("none")
    said = task.order(m.ActivateVariant, variant_id="v2").detail
    assert said == f"v2 is active, epoch {task.row.epoch}"
