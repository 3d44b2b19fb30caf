"""A rollout: a candidate replaces the active variant in stages, unless it delivers less and the rollout is aborted."""

from __future__ import annotations

from copy import deepcopy

import msgspec
import pytest
from builders import an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.promise import is_better, promise_of
from crl_stream.core.monitor.rollout import waits_for
from crl_stream.core.monitor.row import StandingOrder, decode_row, encode_row
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.staging import control_of
from crl_stream.core.policy import Degradation, Operations, Policy, Rollout

from .rolling import CANDIDATE, STAGED, registered, rolling, steps, work
from .task import Task, proven
from .test_feedback import feedback


def weights(task: Task) -> dict[str, int] | None:
    return task.stated(m.ActiveVariant)[-1].weights


# -- stages ------------------------------------------------------------------------------------------
def test_a_candidate_without_outcomes_begins_with_a_twentieth_and_says_so() -> None:
    task = rolling(reason="a cheaper model")
    assert weights(task) == {CANDIDATE: 50, "default": 950}
    [step] = task.stated(m.RolloutStep)
    assert (step.step, step.stage, step.share, step.stages) == ("started", 1, 0.05, [0.05, 0.25, 0.5])
    assert (step.variant_id, step.control_variant, step.actor) == (CANDIDATE, "default", "ada")
    assert step.reasoning == "a cheaper model"
    assert (task.row.epoch, task.row.active) == (1, "default")


def test_a_good_candidate_passes_every_stage_and_becomes_active_with_a_new_epoch() -> None:
    task = rolling()
    work(task, 2_000)
    assert steps(task) == ["started", "stage_passed", "stage_passed", "completed"]
    assert (task.row.active, task.row.epoch, task.row.cause) == (CANDIDATE, 2, "rollout")
    assert weights(task) is None
    shares = [record.weights[CANDIDATE] for record in task.stated(m.ActiveVariant) if record.weights]
    assert sorted(set(shares)) == [50, 250, 500]
    done = task.stated(m.RolloutStep)[-1]
    assert done.share == 1.0
    assert done.candidate.n >= 60
    assert done.reasoning.startswith(f"not worse in {done.candidate.n} outcomes: reward 1.000 against 1.000")


def test_every_stage_takes_as_many_outcomes_of_the_candidate_as_it_needs() -> None:
    task = rolling(stages=[0.1, 0.5], min_outcomes=7)
    work(task, 2_000)
    seen = [step.candidate.n for step in task.stated(m.RolloutStep)]
    assert seen == [0, 7, 14]


def test_weights_add_up_to_a_thousand_and_name_the_active_variant_last() -> None:
    task = rolling(stages=[0.0004, 0.333, 0.9999])
    work(task, 20_000)
    known = [record.weights for record in task.stated(m.ActiveVariant) if record.weights]
    assert [shares[CANDIDATE] for shares in known] == [1, 333, 999]
    assert all(sum(shares.values()) == 1_000 and list(shares)[-1] == "default" for shares in known)


def test_the_record_that_runtimes_follow_names_the_rollout_and_its_stage() -> None:
    task = rolling()
    running = task.stated(m.ActiveVariant)[-1].rollout
    assert running == m.ActiveRollout(
        rollout_id=task.stated(m.RolloutStep)[0].rollout_id, variant_id=CANDIDATE, stage=1, stages=3, paused=False
    )


def test_a_candidate_that_delivers_less_waits_and_the_snapshot_says_why() -> None:
    task = rolling(min_outcomes=5)
    task.run(CANDIDATE, "SSSSF" * 2, variant_source="explore")
    task.run("default", "S" * 10)
    running = task.stated(m.TaskSnapshot)[-1].rollout
    assert running is not None
    assert (running.stage, running.outcomes, running.outcomes_needed) == (1, 10, 5)
    assert running.waits_for == "worse than default: reward 0.600 against 1.000, success 80.0% against 100.0%"
    assert (running.candidate.success_rate, running.control.success_rate) == (0.8, 1.0)


def test_a_candidate_that_is_as_good_goes_on_even_if_both_are_perfect() -> None:
    task = rolling(min_outcomes=5)
    task.run("default", "S" * 10)
    task.run(CANDIDATE, "S" * 5, variant_source="explore")
    assert steps(task) == ["started", "stage_passed"]


# -- aborting ----------------------------------------------------------------------------------------
def test_a_degraded_candidate_is_taken_back_with_the_very_outcome_that_shows_it() -> None:
    task = rolling()
    task.run("default", "S" * 200, active_epoch=1, runtime_id="r1")
    facts = task.run(CANDIDATE, "F" * 10, variant_source="explore")
    [event] = [fact for fact in facts if isinstance(fact, m.RollbackEvent)]
    assert (event.from_variant, event.to_variant, event.enforced) == (CANDIDATE, "default", True)
    assert event.rollout_id == task.stated(m.RolloutStep)[0].rollout_id
    assert event.reason == "Success rate dropped from 100% to 0% (100.0% drop)"
    assert (event.judged.baseline_source, event.judged.baseline_variant) == ("active_variant", "default")
    assert event.judged.baseline_n == 200
    assert task.variant(CANDIDATE).quarantined
    assert (task.row.active, task.row.epoch, task.row.cause) == ("default", 2, "rollout_aborted")
    assert weights(task) is None
    [alert] = task.alerts("rollout_aborted")
    assert alert.severity == "critical"
    assert alert.undo_command == "crl undo backend-architect/api-design --epoch 2"
    assert task.alerts("degradation") == []


def test_every_runtime_confirms_an_abort_with_a_receipt() -> None:
    task = rolling()
    task.run("default", "S" * 30, active_epoch=1, runtime_id="r1")
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    task.run("default", "SS", active_epoch=1, runtime_id="r1")
    task.run("default", "S", active_epoch=2, runtime_id="r1")
    receipt = task.stated(m.Receipt)[-1]
    assert (receipt.epoch, receipt.variant_id, receipt.late_invocations) == (2, "default", 2)
    assert receipt.milliseconds == 3_000


def test_the_active_variant_is_judged_on_as_before_when_a_rollout_is_aborted() -> None:
    """An abort begins an epoch, but nothing about the active variant has changed."""
    task = rolling()
    task.run("default", "S" * 30, active_epoch=1)
    before = msgspec.structs.replace(task.variant("default").judged)
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    assert task.row.cause == "rollout_aborted"
    assert task.variant("default").judged == before
    task.run("default", "F", active_epoch=1)
    assert task.variant("default").judged.successes == before.successes - 1


def outage_of_both(task: Task, seed: int) -> None:
    """Let both variants work well until the last stage, then fail, then work again."""
    work(task, 100_000, seed, until=lambda: task.row.rollout is not None and task.row.rollout.stage == 2)
    work(task, 40, seed)
    work(task, 30, seed, default=0.0, **{CANDIDATE: 0.0})
    work(task, 60, seed)


@pytest.mark.parametrize("seed", range(6))
def test_what_befalls_both_variants_tells_nothing_about_the_candidate(seed: int) -> None:
    """If both variants fail in an outage, the rollout is not aborted, because the active variant does no better."""
    task = rolling(Policy(Degradation(guard="evidence", false_alarm_budget=10)), min_outcomes=20)
    outage_of_both(task, seed)
    assert "aborted" not in steps(task)
    assert not task.variant(CANDIDATE).quarantined


def test_an_outage_of_both_in_the_last_stage_weighs_no_more_for_the_candidate() -> None:
    """Sums over all stages would be 89 % and 99 %, as the active variant had more invocations in the early stages."""
    task = rolling()
    task.run("default", "S" * 400)
    task.run(CANDIDATE, "S" * 20, variant_source="explore")
    task.run("default", "S" * 60)
    task.run(CANDIDATE, "S" * 20, variant_source="explore")
    assert task.row.rollout is not None and task.row.rollout.stage == 2
    for _ in range(12):
        if task.row.rollout is not None:
            task.run(CANDIDATE, "F", variant_source="explore")
        if task.row.rollout is not None:
            task.run("default", "F")
    assert "aborted" not in steps(task)


def test_a_candidate_that_fails_without_errors_is_taken_back_although_the_active_variant_has_errors() -> None:
    """A lead in one metric does not excuse a clear loss in another."""
    task = Task()
    for number in range(60):
        task.run("default", "S", error_count=int(number % 5 == 0))
    task.order(m.RegisterVariant, variant_id=CANDIDATE)
    task.order(m.StartRollout, variant_id=CANDIDATE)
    for number in range(100):
        task.run("default", "S", error_count=int(number % 5 == 0))
    task.run(CANDIDATE, "F" * 12, variant_source="explore")
    assert steps(task) == ["started", "aborted"]


def test_a_candidate_that_loses_clearly_in_one_metric_passes_no_stage_for_its_lead_in_another() -> None:
    task = Task(Policy(Degradation(guard="evidence")))
    for number in range(100):
        task.run("default", "S", error_count=number % 2, reward=0.5)
    task.order(m.RegisterVariant, variant_id=CANDIDATE)
    task.order(m.StartRollout, variant_id=CANDIDATE)
    for number in range(100):
        task.run("default", "S", error_count=number % 2, reward=0.5)
    task.run(CANDIDATE, "SSSSSSSSSF" * 2, reward=0.5, variant_source="explore")
    assert steps(task) == ["started"]
    assert waits_for(task.row, task.policy, None) == (
        "worse than default: reward 0.500 against 0.500, success 90.0% against 100.0%, errors 0.0% against 50.0%"
    )


def both_fail(policy: Policy | None = None) -> Task:
    """Build a task in which candidate and active variant worked well for long, and then fail alike."""
    task = rolling(policy, stages=[0.5])
    task.order(m.PauseRollout)
    for letter in "S" * 50 + "F" * 12:
        task.run("default", letter)
        task.run(CANDIDATE, letter, variant_source="explore")
    return task


def test_a_candidate_stays_in_an_outage_of_both_although_its_verdict_is_degraded() -> None:
    task = both_fail()
    assert task.variant(CANDIDATE).degraded
    assert "aborted" not in steps(task)


def test_a_candidate_that_an_added_metric_finds_degraded_is_taken_back_whatever_the_three_means_say() -> None:
    """Two variants are compared by reward, success and errors, and these say nothing about an added metric."""
    policy = Policy()
    rules_of(policy).further = ((DETECTORS[0], rules_of(policy).limits[0], 0),)
    task = both_fail(policy)
    assert steps(task)[-1] == "aborted"
    assert task.stated(m.RollbackEvent)[-1].reason.startswith("Success rate dropped")


@pytest.mark.parametrize("before", [500, 4_000])
def test_a_candidate_that_collapses_late_is_taken_back_however_long_it_was_good(before: int) -> None:
    task = rolling(stages=[0.5])
    task.order(m.PauseRollout)
    for _ in range(before // 2):
        task.run("default", "S")
        task.run(CANDIDATE, "S", variant_source="explore")
    failures = 0
    while task.row.rollout is not None and failures <= 10:
        task.run("default", "S")
        task.run(CANDIDATE, "F", variant_source="explore")
        failures += 1
    assert steps(task)[-1] == "aborted"
    assert failures <= 10


def test_a_collapse_after_many_outcomes_is_seen_in_the_last_ones_although_the_means_of_all_hardly_differ() -> None:
    task = rolling(stages=[0.5])
    task.order(m.PauseRollout)
    for letter in "SSSSSSSSSF" * 100:
        task.run("default", letter)
        task.run(CANDIDATE, letter, variant_source="explore")
    for letter in "SSSSSSSSSF" * 3:
        task.run("default", letter)
        if task.row.rollout is not None:
            task.run(CANDIDATE, "F", variant_source="explore")
    assert steps(task)[-1] == "aborted"
    assert task.stated(m.RolloutStep)[-1].candidate.success_rate > 0.88


def test_what_a_candidate_delivered_includes_its_errors_in_every_stage() -> None:
    task = rolling()
    for _ in range(2):
        task.run("default", "S" * 10)
        task.run(CANDIDATE, "S" * 10, variant_source="explore", error_count=1)
        task.run(CANDIDATE, "S" * 10, variant_source="explore")
        task.order(m.PromoteRollout)
    delivered = task.stated(m.RolloutStep)[-1].candidate
    assert (delivered.n, delivered.error_rate) == (40, 0.5)


def test_late_outcomes_of_an_earlier_rollout_tell_nothing_about_the_next_one() -> None:
    task = rolling()
    task.run("default", "S" * 40, active_epoch=1)
    task.run(CANDIDATE, "F" * 10, variant_source="explore", active_epoch=1)
    task.order(m.UndoRollback)
    task.order(m.StartRollout, variant_id=CANDIDATE)
    task.run("default", "S" * 30, active_epoch=2)
    task.run(CANDIDATE, "F" * 10, variant_source="explore", active_epoch=1)
    assert steps(task) == ["started", "aborted", "started"]
    assert task.stated(m.TaskSnapshot)[-1].rollout.candidate.n == 0


@pytest.mark.parametrize("source", ["stale", "file", "default"])
def test_work_of_runtimes_that_do_not_know_the_weights_is_not_compared(source: str) -> None:
    task = rolling()
    task.run("default", "F" * 5, variant_source=source)
    task.run("default", "S" * 5, variant_source="live")
    assert control_of(task.row).n == 5


def test_a_rollback_does_not_wait_for_a_stage_if_the_candidate_is_clearly_better_than_what_is_left() -> None:
    task = rolling()
    task.run("default", "S" * 30)
    task.run(CANDIDATE, "SSSSS", variant_source="explore")
    failures = 0
    while task.row.active == "default" and failures < 12:
        task.run("default", "F")
        failures += 1
    assert (task.row.active, task.row.cause) == (CANDIDATE, "rollback")
    left = promise_of(task.row.variants["default"].judged)
    assert is_better(promise_of(task.variant(CANDIDATE).life), left, 2.0)
    assert steps(task)[-1] == "ended"
    assert task.stated(m.RolloutStep)[-1].reasoning.startswith(f"{CANDIDATE} becomes active (rollback): ")


def test_a_rollback_waits_for_a_candidate_that_is_not_clearly_better_than_what_is_left() -> None:
    """Until a newcomer has passed its stages, a healthy variant's chance run of failures must not make it active."""
    task = rolling()
    task.run("default", "S" * 100)
    task.run(CANDIDATE, "SSSSS", variant_source="explore")
    task.run("default", "SSSF" * 5)
    assert task.row.active == "default"
    assert "being rolled out: 5 of 20 outcomes" in task.alerts("no_target")[-1].action
    task.run(CANDIDATE, "S" * 45, variant_source="explore")
    task.run("default", "FF")
    assert (task.row.active, task.row.cause) == (CANDIDATE, "rollback")


def test_a_rollback_does_not_choose_a_candidate_that_did_worse_in_the_same_time_whatever_its_past() -> None:
    task = registered()
    task.run(CANDIDATE, "S" * 60, variant_source="explore")
    task.order(m.StartRollout, variant_id=CANDIDATE)
    task.run("default", "S" * 30)
    task.run(CANDIDATE, "FFFS", variant_source="explore")
    task.run("default", "F" * 12)
    assert task.row.active == "default"
    assert "being rolled out: 4 of 20 outcomes" in task.alerts("no_target")[-1].action


def test_a_rollback_does_not_choose_a_candidate_whose_rollout_is_paused() -> None:
    task = rolling()
    task.run(CANDIDATE, "S" * 40, variant_source="explore")
    task.order(m.PauseRollout, actor="bob")
    task.run("default", "S" * 30 + "F" * 20)
    assert task.row.active == "default"
    assert "its rollout is paused by bob" in task.alerts("no_target")[-1].action


def test_a_degraded_candidate_that_stays_is_a_critical_alert_and_the_alert_ends_with_its_rollout() -> None:
    task = rolling()
    task.run("default", "S" * 40)
    task.order(m.HoldTask)
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    assert task.alerts("degradation")[-1].severity == "critical"
    detail = task.order(m.PauseRollout).detail
    assert "it is not aborted even if degraded: held by ada" in detail
    task.order(m.AbortRollout)
    assert task.alerts("degradation")[-1].resolved
    assert not task.variant(CANDIDATE).degraded


def test_a_command_that_ends_a_rollout_by_the_way_says_so() -> None:
    task = registered(None, v2="S" * 12)
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.StartRollout, variant_id=CANDIDATE)
    assert task.order(m.UndoRollback).detail.endswith(f"; the rollout of {CANDIDATE} has ended")


def test_a_candidate_that_never_works_is_left_even_at_once() -> None:
    task = rolling(stages=[0.5])
    work(task, 200, **{CANDIDATE: 0.0})
    assert steps(task) == ["started", "aborted"]
    assert task.stated(m.RolloutStep)[-1].candidate.n <= 20


def test_the_candidates_own_baseline_comes_back_when_the_rollout_is_over() -> None:
    task = registered(None, v2="S" * 60)
    task.order(m.StartRollout, variant_id="v2")
    task.run("default", "S" * 40)
    assert task.variant("v2").baseline is not None
    task.order(m.AbortRollout)
    assert task.variant("v2").baseline is None
    task.order(m.StartRollout, variant_id="v2")
    task.order(m.ActivateVariant, variant_id=CANDIDATE, untested=True)
    assert steps(task)[-1] == "ended"
    assert task.variant("v2").baseline is None


# -- people ------------------------------------------------------------------------------------------
def test_a_paused_rollout_goes_no_further_but_a_degraded_candidate_is_still_taken_back() -> None:
    task = rolling(min_outcomes=5)
    task.order(m.PauseRollout, actor="bob", reason="experts look")
    work(task, 1_000)
    assert steps(task) == ["started", "paused"]
    assert task.stated(m.TaskSnapshot)[-1].rollout.waits_for == "paused by bob"
    task.run(CANDIDATE, "F" * 20, variant_source="explore")
    assert steps(task)[-1] == "aborted"


def test_a_resumed_rollout_goes_on_with_the_next_outcome() -> None:
    task = rolling(min_outcomes=5)
    task.order(m.PauseRollout)
    work(task, 400)
    task.order(m.ResumeRollout)
    work(task, 40)
    assert steps(task)[:4] == ["started", "paused", "resumed", "stage_passed"]


@pytest.mark.parametrize("kind", [m.HoldTask, m.PinVariant])
def test_neither_a_hold_nor_a_pin_lets_a_stage_pass(kind: type) -> None:
    task = rolling(min_outcomes=5)
    task.order(kind)
    work(task, 400)
    assert steps(task) == ["started"]


def test_under_a_hold_a_degraded_candidate_stays_and_is_taken_back_when_the_hold_ends() -> None:
    task = rolling()
    task.run("default", "S" * 40)
    task.order(m.HoldTask)
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    assert steps(task) == ["started"]
    assert task.alerts("degradation")[-1].subject.endswith(CANDIDATE)
    task.order(m.ResumeTask)
    task.run(CANDIDATE, "F", variant_source="explore")
    assert steps(task)[-1] == "aborted"


def test_while_the_fleet_is_held_a_degraded_candidate_stays() -> None:
    task = rolling()
    task.run("default", "S" * 40)
    task.fleet = StandingOrder("ann", "look", task.now)
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    assert task.variant(CANDIDATE).degraded
    assert steps(task) == ["started"]


def test_while_the_promotions_of_the_fleet_are_stopped_a_stage_waits_and_a_degraded_candidate_is_aborted() -> None:
    task = rolling(Policy(rollout=Rollout(patience=10)), min_outcomes=5)
    task.fleet = StandingOrder("ann", "look", task.now, stops="promotions")
    work(task, 300)
    assert steps(task) == ["started"], "no stage ends"
    assert task.alerts("rollout_stalled") == [], "people know why it waits"
    assert "until resumed; it is still aborted if degraded" in task.order(m.PauseRollout).detail
    assert "promotions are stopped in the whole fleet by ann" in task.order(m.ResumeRollout).detail
    task.run(CANDIDATE, "F" * 20, variant_source="explore")
    assert steps(task) == ["started", "paused", "resumed", "aborted"]


def test_a_person_can_begin_the_next_stage_and_skip_the_others() -> None:
    task = rolling()
    assert "now gets 25 %" in task.order(m.PromoteRollout, stage=1).detail
    assert weights(task) == {CANDIDATE: 250, "default": 750}
    refused = task.order(m.PromoteRollout, full=True)
    assert (refused.outcome, "crl activate" in refused.detail) == ("refused", True), "the candidate has no outcome yet"
    task.run(CANDIDATE, "S", variant_source="explore")
    assert task.order(m.PromoteRollout, full=True).detail == f"{CANDIDATE} is active, epoch 2"
    assert task.row.active == CANDIDATE


def test_a_rollout_that_a_person_aborts_quarantines_nothing_and_begins_an_epoch() -> None:
    task = rolling()
    result = task.order(m.AbortRollout, reason="customers complain")
    assert f"all invocations use default again; {CANDIDATE} is not quarantined" in result.detail
    assert not task.variant(CANDIDATE).quarantined
    assert (task.row.epoch, weights(task)) == (2, None)
    assert task.stated(m.RollbackEvent) == []
    assert task.order(m.UndoRollback).detail.endswith("begin another: crl rollout start backend-architect/api-design")


def test_undoing_an_abort_frees_the_candidate_once_and_says_how_to_begin_again() -> None:
    task = rolling()
    task.run("default", "S" * 40)
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    rolled = task.stated(m.RollbackEvent)[-1].rollback_id
    detail = task.order(m.UndoRollback, rollback_id=rolled, expected_epoch=2).detail
    assert detail.startswith(f"{rolled} undone: {CANDIDATE} may be chosen again; to begin again: crl rollout start")
    assert not task.variant(CANDIDATE).quarantined
    assert task.row.active == "default"
    assert task.order(m.UndoRollback).outcome == "refused"


def test_an_abort_can_be_confirmed_like_any_rollback() -> None:
    task = rolling()
    task.run("default", "S" * 40)
    task.run(CANDIDATE, "F" * 10, variant_source="explore")
    rolled = task.stated(m.RollbackEvent)[-1].rollback_id
    assert f"{CANDIDATE} stays quarantined" in task.order(m.ConfirmRollback, rollback_id=rolled).detail


def test_operators_are_told_once_when_a_stage_does_not_end_and_again_when_it_has() -> None:
    policy = Policy(Degradation(guard="evidence"), rollout=Rollout(min_outcomes=5, patience=3))
    task = rolling(policy)
    task.run(CANDIDATE, "FSSSSSSSSS", variant_source="explore")
    task.run("default", "S" * 60)
    [alert] = task.alerts("rollout_stalled")
    assert "waits at 5 % after 10 outcomes in this stage: worse than default" in alert.action
    assert "crl rollout promote backend-architect/api-design" in alert.action
    task.order(m.PromoteRollout)
    assert [alert.resolved for alert in task.alerts("rollout_stalled")] == [False, True]


@pytest.mark.parametrize("paused", [False, True])
def test_operators_are_told_of_a_rollout_that_gets_no_outcomes(paused: bool) -> None:
    """A stage may stall because no runtime knows the weights, or because a pause was forgotten."""
    task = rolling(Policy(rollout=Rollout(patience=10)))
    if paused:
        task.order(m.PauseRollout, actor="bob")
    task.run("default", "S" * 199)
    assert task.alerts("rollout_stalled") == []
    task.run("default", "S" * 300)
    [alert] = task.alerts("rollout_stalled")
    assert ("paused by bob" if paused else "0 of 20 outcomes") in alert.action


def restrained(task: Task, how: str) -> None:
    """Let nothing happen automatically from now on."""
    if how == "hold":
        task.order(m.HoldTask)
    elif how == "fleet":
        task.fleet = StandingOrder("ann", "look", task.now)
    else:
        task.policy = msgspec.structs.replace(task.policy, operations=Operations(mode="shadow"))


@pytest.mark.parametrize("how", ["hold", "fleet", "shadow"])
def test_a_stage_that_does_not_end_because_nothing_happens_automatically_is_no_stall(how: str) -> None:
    task = rolling(Policy(rollout=Rollout(patience=10)))
    restrained(task, how)
    task.run("default", "S" * 500)
    assert task.alerts("rollout_stalled") == []


def test_without_enforcement_no_rollout_begins_and_one_in_progress_waits() -> None:
    shadow = Policy(operations=Operations(mode="shadow"))
    refused = registered(shadow).order(m.StartRollout, variant_id=CANDIDATE)
    assert "shadow mode" in refused.detail and refused.outcome == "refused"
    task = rolling(min_outcomes=5)
    task.policy = shadow
    work(task, 300)
    task.run(CANDIDATE, "F" * 20, variant_source="explore")
    assert steps(task) == ["started"]


# -- promotions --------------------------------------------------------------------------------------
def promising(policy: Policy) -> Task:
    """Build a task with a variant that is promoted automatically, because it is better than the active one."""
    task = Task(policy)
    task.run("default", "SSSF" * 10)
    task.run("v2", "S" * 30, variant_source="explore")
    task.run("default", "SSSF")
    return task


def test_an_automatic_promotion_is_a_rollout_where_the_policy_has_stages_and_at_once_elsewhere() -> None:
    assert promising(Policy()).row.active == "v2"
    task = promising(STAGED)
    assert (task.row.active, weights(task)) == ("default", {"v2": 50, "default": 950})
    [step] = task.stated(m.RolloutStep)
    assert (step.actor, step.step) == ("monitor", "started")
    assert step.reasoning.startswith("High confidence: Q-value")


def test_shadow_mode_reports_a_promotion_and_begins_no_rollout() -> None:
    task = promising(msgspec.structs.replace(STAGED, operations=Operations(mode="shadow")))
    assert (task.row.rollout, steps(task)) == (None, [])
    [reported] = [fact for fact in task.stated(m.Activation) if not fact.enforced]
    assert reported.to_variant == "v2"


def test_a_rollout_that_nobody_ordered_takes_the_last_step_only_with_a_clear_lead() -> None:
    task = promising(msgspec.structs.replace(STAGED, degradation=Degradation(guard="evidence")))
    work(task, 3_000, default=0.75)
    assert (steps(task)[-1], task.row.active) == ("completed", "v2")
    assert task.stated(m.RolloutStep)[-1].reasoning.startswith("better in ")


def without_lead() -> Task:
    """Build a task with an automatic rollout whose candidate is as good as the active variant."""
    policy = Policy(Degradation(guard="evidence"), rollout=Rollout(stages=(0.5,), min_outcomes=5, patience=40))
    task = Task(policy)
    task.run("default", "SSSF" * 10)
    task.run("v2", "S" * 30, variant_source="explore")
    task.run("default", "S")
    assert steps(task) == ["started"]
    return task


def test_a_rollout_that_nobody_ordered_ends_when_there_is_no_lead_for_long() -> None:
    task = without_lead()
    task.run("v2", "S" * 20, variant_source="explore")
    task.run("default", "S" * 70)
    assert steps(task) == ["started", "aborted"]
    assert not task.variant("v2").quarantined
    step = task.stated(m.RolloutStep)[-1]
    assert "it waited too long: not better" in step.reasoning
    assert task.row.cause_id == step.step_id


@pytest.mark.parametrize("how", ["hold", "fleet", "shadow"])
def test_a_rollout_that_nobody_ordered_does_not_end_while_nothing_happens_automatically(how: str) -> None:
    task = without_lead()
    restrained(task, how)
    task.run("default", "S" * 90)
    assert steps(task) == ["started"]


def test_a_paused_rollout_that_nobody_ordered_does_not_end_by_itself_but_operators_are_told() -> None:
    task = without_lead()
    task.order(m.PauseRollout, actor="bob")
    task.run("default", "S" * 90)
    assert steps(task) == ["started", "paused"]
    [alert] = task.alerts("rollout_stalled")
    assert "paused by bob" in alert.action


def test_a_rollout_that_nobody_ordered_needs_no_lead_before_its_last_step() -> None:
    policy = Policy(Degradation(guard="evidence"), rollout=Rollout(stages=(0.25, 0.5), min_outcomes=5))
    task = promising(policy)
    task.run("default", "S" * 10)
    task.run("v2", "S" * 5, variant_source="explore")
    assert steps(task) == ["started", "stage_passed"]
    assert task.stated(m.RolloutStep)[-1].reasoning.startswith("not worse in 5 outcomes: ")


@pytest.mark.parametrize("by", ["a person", "want of a lead"])
def test_an_automatic_rollout_that_ended_begins_again_only_after_twice_as_many_outcomes(by: str) -> None:
    task = without_lead()
    if by == "a person":
        task.order(m.AbortRollout)
    else:
        task.run("default", "S" * 80)
    assert steps(task) == ["started", "aborted"]
    n = task.variant("v2").life.n
    task.run("default", "FSSS" * 10)
    assert task.snapshot("v2").not_applied == f"its rollout ended at {n} outcomes; it may be promoted again at {2 * n}"
    task.run("v2", "S" * n, variant_source="explore")
    task.run("default", "FS")
    assert steps(task) == ["started", "aborted", "started"]


def test_an_approved_promotion_begins_a_rollout_where_the_policy_has_stages() -> None:
    change = m.Change(action="activate", variant_id="v2")
    task = proven(STAGED, v2="S" * 12)
    detail = task.order(m.ApproveProposal, proposal_id="p1", change=change).detail
    assert "p1 approved: ro-" in detail and "of v2 began with 5 % of the invocations, then 25 %, 50 %" in detail
    assert task.row.active == "default"


def test_nothing_else_is_promoted_while_a_rollout_is_in_progress() -> None:
    task = Task()
    task.run("default", "SSSF" * 10)
    task.order(m.RegisterVariant, variant_id=CANDIDATE)
    task.order(m.StartRollout, variant_id=CANDIDATE)
    task.run("v2", "S" * 30, variant_source="explore")
    task.run("default", "SSSF")
    assert task.row.active == "default"
    assert task.snapshot("v2").not_applied == f"a rollout of {CANDIDATE} is in progress"


def test_a_rollback_of_the_active_variant_ends_the_rollout() -> None:
    task = registered(None, v2="SSSSSSSSSF" * 4)
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.StartRollout, variant_id=CANDIDATE)
    task.run("v2", "F" * 20, active_epoch=2)
    assert (task.row.active, task.row.cause) == ("default", "rollback")
    assert steps(task) == ["started", "ended"]
    assert weights(task) is None


# -- figures that the row keeps ----------------------------------------------------------------------
def test_the_candidate_is_never_forgotten_to_make_room() -> None:
    task = rolling()
    for number in range(40):
        task.run(f"x{number}", "S", variant_source="explore")
    assert CANDIDATE in task.row.variants


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["default", CANDIDATE]), st.booleans(), st.none() | st.floats(0, 1)), max_size=50
    ),
    st.integers(0, 5),
)
def test_late_scores_count_in_a_rollout_as_if_they_had_been_known_from_the_start(
    outcomes: list[tuple[str, bool, float | None]], before: int
) -> None:
    prompt, late = rolling(min_outcomes=1_000), rolling(min_outcomes=1_000)
    late.row.rollout, early = None, late.row.rollout
    late.row.rollout = early
    for number, (variant, good, quality) in enumerate(outcomes):
        fields = {
            "invocation_id": f"s{number}",
            "variant_source": "explore",
            "status": "success" if good else "failure",
        }
        prompt.take(an_invocation(variant, quality=quality, **fields))
        late.take(an_invocation(variant, **fields))
        if quality is not None:
            late.take(feedback(f"s{number}", quality=quality))
        if prompt.row.rollout is None or late.row.rollout is None:
            return
    for task in (prompt, late):
        assert task.row.rollout is not None
    assert prompt.row.rollout.candidate == late.row.rollout.candidate
    assert control_of(prompt.row) == control_of(late.row)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.3, 1.0), st.integers(1, 40))
def test_a_row_that_is_written_and_read_again_at_any_moment_goes_on_in_the_same_way(
    seed: int, rate: float, every: int
) -> None:
    kept = rolling(min_outcomes=8)
    read = deepcopy(kept)
    for _ in range(20):
        work(kept, every, seed, **{CANDIDATE: rate})
        work(read, every, seed, **{CANDIDATE: rate})
        read.row = decode_row(encode_row(read.row))
    assert encode_row(read.row) == encode_row(kept.row)
    assert steps(read) == steps(kept)
