"""Verification: a rollback whose target delivers less than the replaced variant is taken back once, with an alert."""

from __future__ import annotations

import pytest
from builders import an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import StandingOrder, TaskRow, decode_row, encode_row
from crl_stream.core.policy import Operations, Policy, Rollback

from .orders import rollback_id
from .task import Task
from .test_feedback import feedback

WINDOW = 20


def was_taken_back(task: Task) -> bool:
    return any(found.cause == "rollback_verified_worse" for found in task.stated(m.Activation))


def rolled_back(policy: Policy | None = None) -> Task:
    """Build a task whose ``default`` failed until it was rolled back to ``other``, whose Q is too low to promote."""
    task = Task(policy)
    task.run("default", "S" * 40)
    task.run("other", "SSSSSSSSSF" * 4, variant_source="explore")
    while task.row.active == "default":
        task.run("default", "F")
        assert task.row.n < 200
    assert (task.row.active, task.row.cause) == ("other", "rollback")
    return task


def test_a_target_that_delivers_less_is_left_on_its_tenth_outcome_for_the_variant_it_replaced() -> None:
    task = rolled_back()
    rolled = rollback_id(task)
    task.run("other", "F" * 9)
    assert task.row.active == "other"
    facts = task.run("other", "F")
    [activation] = [fact for fact in facts if isinstance(fact, m.Activation)]
    assert (activation.from_variant, activation.to_variant) == ("other", "default")
    assert (activation.cause, activation.cause_id, activation.enforced) == ("rollback_verified_worse", rolled, True)
    assert activation.reasoning == (
        "worse than default in its first 10 outcomes: reward -1.000 against 0.673, success 0.0% against 83.6%"
    )
    assert not any(isinstance(fact, m.RollbackEvent) for fact in facts)


def test_the_variant_that_was_left_is_free_again_and_the_target_is_not_quarantined() -> None:
    task = rolled_back()
    assert task.variant("default").quarantined
    task.run("other", "F" * 10)
    assert not any(task.variant(name).quarantined for name in ("default", "other"))
    assert task.stated(m.ActiveVariant)[-1].quarantined == []


def test_operators_are_told_once_with_both_figures_and_the_way_back() -> None:
    task = rolled_back()
    task.run("other", "F" * 10)
    [alert] = task.alerts("rollback_taken_back")
    assert (alert.severity, alert.cause_id) == ("critical", rollback_id(task))
    assert alert.text == (
        "backend-architect/api-design other: rollback taken back, default is active again: other is worse than default "
        "in its first 10 outcomes: reward -1.000 against 0.673, success 0.0% against 83.6%; "
        "undo: crl undo backend-architect/api-design --epoch 3"
    )
    assert task.order(m.UndoRollback, expected_epoch=3).outcome == "applied"
    assert task.row.active == "other"


def test_a_target_that_failed_its_verification_is_not_chosen_again_for_its_old_merits() -> None:
    task = rolled_back()
    task.run("other", "F" * 10)
    task.run("default", "F" * 60)
    assert [event.to_variant for event in task.stated(m.RollbackEvent)] == ["other"]
    assert task.row.no_target_n >= 0


def test_a_target_that_holds_up_stays_and_is_no_longer_compared_after_a_full_window() -> None:
    task = rolled_back()
    task.run("other", "S" * (WINDOW - 1))
    assert task.row.left is not None
    task.run("other", "S")
    assert task.row.left is None
    task.run("other", "F" * 5)
    assert task.row.cause == "rollback"


@pytest.mark.parametrize("why", ["task", "fleet", "shadow", "observe"])
def test_nothing_is_taken_back_under_a_hold_or_without_enforcement(why: str) -> None:
    task = rolled_back()
    if why == "task":
        task.order(m.HoldTask)
    elif why == "fleet":
        task.fleet = StandingOrder("ann", "look", task.now)
    else:
        task.policy = Policy(operations=Operations(mode=why))  # type: ignore[arg-type]
    task.run("other", "F" * WINDOW)
    assert not was_taken_back(task)
    assert task.row.left is None


def test_a_hold_that_ends_in_time_only_delays_it() -> None:
    task = rolled_back()
    task.order(m.HoldTask)
    task.run("other", "F" * 12)
    task.order(m.ResumeTask)
    task.run("other", "F")
    assert task.row.cause == "rollback_verified_worse"


def test_a_pin_does_not_prevent_it_because_it_protects() -> None:
    task = rolled_back()
    task.order(m.PinVariant)
    task.run("other", "F" * 10)
    assert task.row.cause == "rollback_verified_worse"


def test_a_rollback_that_a_person_confirmed_stays() -> None:
    task = rolled_back()
    task.order(m.ConfirmRollback, rollback_id=rollback_id(task))
    task.run("other", "F" * 10)
    assert not was_taken_back(task)


def test_a_rollback_that_was_taken_back_cannot_be_confirmed() -> None:
    task = rolled_back()
    task.run("other", "F" * 10)
    result = task.order(m.ConfirmRollback, rollback_id=rollback_id(task))
    assert (result.outcome, result.detail) == (
        "refused",
        f"{rollback_id(task)} was taken back automatically; there is nothing to confirm",
    )


def test_a_retired_variant_is_not_returned_to() -> None:
    task = rolled_back()
    task.order(m.RetireVariant, variant_id="default")
    task.run("other", "F" * 10)
    assert not was_taken_back(task)
    assert (task.row.active, task.row.left) == ("other", None)


def test_any_other_change_of_the_active_variant_ends_the_verification() -> None:
    task = rolled_back()
    task.run("third", "S" * 5, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="third")
    assert task.row.left is None
    task.run("third", "F" * 10)
    assert not was_taken_back(task)


def test_a_late_score_counts_as_well() -> None:
    task = rolled_back()
    # The target's own rewards were as low, so by its own baseline it does not become degraded.
    task.variant("other").life.reward = 0
    sent = [
        an_invocation("other", "success" if i else "failure", invocation_id=f"late-{i}", reward=0.9) for i in range(10)
    ]
    task.take(*sent)
    assert task.row.active == "other"
    task.take(*[feedback(one.invocation_id, reward=-0.2) for one in sent])
    assert was_taken_back(task)


def test_verification_is_a_setting() -> None:
    task = rolled_back(Policy(rollback=Rollback(verify=False)))
    assert task.row.left is None
    task.run("other", "F" * 10)
    assert not was_taken_back(task)


def test_the_snapshot_shows_what_is_being_verified_and_how_far_it_is() -> None:
    task = rolled_back()
    task.run("other", "S" * 11)
    shown = task.stated(m.TaskSnapshot)[-1].verification
    assert shown is not None
    assert (shown.rollback_id, shown.left_variant) == (rollback_id(task), "default")
    assert (shown.outcomes, shown.outcomes_needed) == (11, WINDOW)
    assert shown.left_success_rate == pytest.approx(0.836, abs=0.001)
    assert shown.left_avg_reward == pytest.approx(0.673, abs=0.001)
    task.run("other", "S" * 10)
    assert task.stated(m.TaskSnapshot)[-1].verification is None


def test_a_row_remembers_what_is_being_verified() -> None:
    row: TaskRow = decode_row(encode_row(rolled_back().row))
    assert row.left == rolled_back().row.left


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("SF"), min_size=100, max_size=400), st.integers(0, 3))
def test_in_an_outage_of_all_variants_the_number_of_changes_is_bounded(outcomes: list[str], others: int) -> None:
    """Each rollback is taken back at most once, and the task does not oscillate between variants that all fail."""
    task = Task()
    task.run("default", "S" * 40)
    for number in range(others):
        task.run(f"v{number}", "S" * 40, variant_source="explore")
    for letter in outcomes:
        # Nine in ten outcomes fail, whichever variant is used.
        task.run(task.row.active or "", "F" if task.row.n % 10 else letter, active_epoch=task.row.epoch)
    taken_back = [a.cause_id for a in task.stated(m.Activation) if a.cause == "rollback_verified_worse"]
    rolled = [event.rollback_id for event in task.stated(m.RollbackEvent)]
    assert len(set(taken_back)) == len(taken_back)
    assert set(taken_back) <= set(rolled)
    assert len(rolled) <= 2 * (others + 1) * (1 + len(outcomes) // Policy().rollback.parole)
