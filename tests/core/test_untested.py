"""With an explicit flag, a person can activate a new variant before it has outcomes; an alert reports that."""

from __future__ import annotations

import pytest
from builders import a_command

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy

from .task import Task, proven


def registered(policy: Policy | None = None) -> Task:
    task = proven(policy)
    task.order(m.RegisterVariant, variant_id="v9")
    return task


def test_without_the_flag_the_refusal_names_it_and_the_exploration_rate() -> None:
    task = registered()
    result = task.order(m.ActivateVariant, variant_id="v9")
    assert result.outcome == "refused"
    assert "crl activate backend-architect/api-design v9 --untested" in result.detail
    assert "operations.exploration is 0" in result.detail
    assert task.row.active == "default"


def test_with_the_flag_it_is_active_and_fact_and_alert_say_that_it_is_untested() -> None:
    task = registered()
    result = task.order(m.ActivateVariant, variant_id="v9", untested=True, actor="ada")
    assert (result.outcome, task.row.active) == ("applied", "v9")
    assert "no outcome yet" in result.detail
    activation = task.stated(m.Activation)[-1]
    assert activation.untested and "untested" in activation.reasoning
    [alert] = task.alerts("untested")
    assert alert.severity == "warning" and "ada" in alert.text and alert.undo_command is not None
    assert task.stated(m.ActiveVariant)[-1].variant_id == "v9"


def test_of_a_variant_with_outcomes_the_flag_says_nothing_that_is_not_so() -> None:
    task = proven(v2="S")
    task.order(m.ActivateVariant, variant_id="v2", untested=True)
    assert task.row.active == "v2"
    assert task.stated(m.Activation)[-1].untested is False
    assert task.alerts("untested") == []


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda task: None, "is unknown"),
        (lambda task: task.take(a_command(m.RegisterVariant, variant_id="v9"), retired()), "retired"),
    ],
)
def test_the_flag_opens_no_other_door(prepare, words) -> None:  # type: ignore[no-untyped-def]
    task = proven()
    prepare(task)
    result = task.order(m.ActivateVariant, variant_id="v9", untested=True)
    assert result.outcome == "refused" and words in result.detail


def retired() -> m.RetireVariant:
    command: m.RetireVariant = a_command(m.RetireVariant, variant_id="v9")
    return command


def test_an_untested_variant_that_fails_is_rolled_back_like_any_other() -> None:
    task = registered()
    task.order(m.ActivateVariant, variant_id="v9", untested=True)
    task.run("v9", "F" * 30, active_epoch=2)
    assert [event.from_variant for event in task.stated(m.RollbackEvent)] == ["v9"]


def test_an_untested_activation_can_be_undone() -> None:
    task = registered()
    task.order(m.ActivateVariant, variant_id="v9", untested=True)
    assert task.order(m.UndoRollback).outcome == "applied"
    assert task.row.active == "default"


def test_registering_says_the_exploration_rate_in_force_and_how_to_change_it() -> None:
    none = proven().order(m.RegisterVariant, variant_id="v9").detail
    some = proven(Policy(operations=Operations(exploration=0.05))).order(m.RegisterVariant, variant_id="v9").detail
    assert "operations.exploration is 0" in none and "crl rollout start" in none
    assert "5 % of invocations (operations.exploration)" in some


def test_a_runtime_that_has_not_moved_is_named_with_its_epoch_and_when_it_was_last_seen() -> None:
    task = proven(v2="S" * 12)
    task.run("default", "SS", runtime_id="fast", active_epoch=1)
    task.run("default", "SS", runtime_id="slow", active_epoch=1)
    task.run("default", "SS", runtime_id="mute")
    task.order(m.ActivateVariant, variant_id="v2")
    changed = task.stated(m.ActiveVariant)[-1].since
    task.run("v2", "S", runtime_id="fast", active_epoch=2)
    task.run("default", "SSS", runtime_id="slow", active_epoch=1)
    task.order(m.PinVariant)
    snapshot = task.stated(m.TaskSnapshot)[-1]
    assert snapshot.active_since == changed
    assert snapshot.runtimes_behind is not None
    found = [(one.runtime_id, one.epoch, one.late_invocations) for one in snapshot.runtimes_behind]
    assert found == [("mute", 0, 0), ("slow", 1, 3)]
    assert snapshot.runtimes_behind[1].last_seen == "2025-11-19T14:30:53.000Z"
    assert (snapshot.runtimes, snapshot.runtimes_current) == (3, 1)
