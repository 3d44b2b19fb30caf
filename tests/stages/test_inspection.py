"""How a task is shown at any time, even if it has had no record since its last change."""

from __future__ import annotations

from typing import Any

import pytest
from core.task import HOUR, NOON, Task, proven

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import StandingOrder, encode_row
from crl_stream.core.policy import Degradation, Operations, Policy, PolicySet
from crl_stream.stages.inspection import snapshot, summary


@pytest.mark.parametrize(("kind", "name"), [(m.PinVariant, "pinned"), (m.HoldTask, "held")])
def test_an_order_that_is_over_is_not_shown_though_nothing_has_happened_since(kind: type, name: str) -> None:
    task = proven()
    task.order(kind, hours=2.0)
    row = encode_row(task.row)
    for now, stands in ((task.now, True), (task.now + 2 * HOUR - 1, True), (task.now + 2 * HOUR, False)):
        assert summary(0, row, now)[name] is stands
        assert (getattr(snapshot(0, None, row, now), name) is not None) is stands


def test_the_hold_of_an_undo_stands_until_its_outcomes_are_there_however_long_that_takes() -> None:
    task = proven(v2="S" * 30)
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.UndoRollback)
    assert summary(0, encode_row(task.row), task.now + 1_000 * HOUR)["held"]


@pytest.mark.parametrize(
    ("outcomes", "verdict", "reason"),
    [
        ("S", "INCONCLUSIVE", "Too few outcomes in the baseline: 1 of 20"),
        ("S" * 30, "HEALTHY", "Success rate 100% over 20 outcomes against 100%"),
        ("F" * 120, "DEGRADED", "No success in the last 20 outcomes"),
    ],
)
def test_a_task_in_brief_says_the_verdict_on_its_active_variant(outcomes: str, verdict: str, reason: str) -> None:
    task = Task()
    task.run("default", outcomes)
    brief = summary(0, encode_row(task.row), task.now)
    assert (brief["verdict"], brief["reason"]) == (verdict, reason)


def test_a_task_in_brief_is_judged_by_the_policy_in_force() -> None:
    task = Task()
    task.run("default", "S" * 30)
    policies = PolicySet(default=Policy(degradation=Degradation(min_baseline=50)))
    assert summary(0, encode_row(task.row), task.now, policies)["verdict"] == "INCONCLUSIVE"


def test_a_task_without_an_active_variant_has_no_verdict() -> None:
    task = Task()
    task.run("v2", "S", variant_source="explore")
    assert summary(0, encode_row(task.row), task.now)["verdict"] is None


def test_a_hold_with_hours_and_outcomes_is_shown_until_the_later_end_as_the_engine_keeps_it() -> None:
    task = proven(v2="S" * 30)
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.UndoRollback)
    task.order(m.HoldTask, hours=1.0)
    later = task.now + 5 * HOUR
    assert summary(0, encode_row(task.row), later)["held"], "the 100 outcomes of the hold have not arrived yet"
    assert snapshot(0, None, encode_row(task.row), later).held is not None
    task.now = later
    task.run("default", "S")
    assert task.row.held is not None
    task.run("default", "S" * 100)
    assert task.row.held is None
    assert not summary(0, encode_row(task.row), task.now)["held"]


@pytest.mark.parametrize(
    ("mode", "fleet", "said"),
    [
        ("enforce", None, None),
        ("shadow", None, "shadow mode: rollbacks are only reported"),
        ("observe", None, "observe mode: alerts only"),
        (
            "enforce",
            StandingOrder("grace", "", 0, until=NOON + HOUR),
            "the fleet is held by grace until 2025-11-19T15:30",
        ),
    ],
)
def test_a_task_in_brief_says_why_it_would_not_be_rolled_back(
    mode: Any, fleet: StandingOrder | None, said: str | None
) -> None:
    policies = PolicySet(default=Policy(operations=Operations(mode=mode)))
    brief = summary(0, encode_row(proven().row), NOON, policies, fleet)
    assert (brief["no_rollback"] or "")[: len(said or "")] == (said or "")
    assert (brief["mode"], brief["fleet_held"]) == (mode, fleet is not None)
    assert brief["held_by"] == (None if fleet is None else "grace")


def test_a_task_in_brief_names_the_runtime_whose_word_alone_speaks_for_a_rollback() -> None:
    task = Task()
    for number in range(60):
        task.run("default", "S", runtime_id=f"h{number % 3}")
    task.run("default", "F" * 20, runtime_id="h2")
    brief = summary(0, encode_row(task.row), NOON, PolicySet(), None)
    assert brief["verdict"] == "DEGRADED"
    assert "one runtime against the others" in brief["no_rollback"]
    assert "come from runtime h2; the other 2 runtimes: 0 of " in brief["no_rollback"]
