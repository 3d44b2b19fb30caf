"""Corner cases of verification, baselines, floors and accepted levels, each of which once went wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import an_invocation

from crl_stream.core import messages as m
from crl_stream.core.monitor.baseline import age, lifetime_of
from crl_stream.core.monitor.decision_matrix import reasoning
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.row import MICRO, SUCCESS, Sums
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.snapshot import task_snapshot
from crl_stream.core.monitor.turn import Context
from crl_stream.core.monitor.verdict import baseline_of, judge
from crl_stream.core.policy import Degradation, Policy, Rollback
from crl_stream.guide.restoration import restored_row
from crl_stream.settings.profiles import PROFILES

from .orders import rollback_id
from .task import Task
from .test_feedback import feedback
from .test_verification import rolled_back, was_taken_back

RECENT = Policy(degradation=Degradation(baseline="recent"))
LIFETIME = Policy()


def profile(name: str, **changed: Any) -> Policy:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in {**PROFILES[name], **changed}.items():
        section, field = key.split(".")
        nested.setdefault(section, {})[field] = value
    found: Policy = msgspec.convert(nested, Policy)
    return found


PRODUCTION = profile("production")


def declined(policy: Policy) -> Task:
    task = Task(policy)
    task.run("default", "S" * 60 + "SSSF" * 10)
    assert task.variant("default").degraded
    return task


# -- late scores of outcomes from before an acceptance ---------------------------------------------
@pytest.mark.parametrize("policy", [LIFETIME, RECENT], ids=["lifetime", "recent"])
def test_a_late_score_of_an_outcome_from_before_the_acceptance_is_no_part_of_what_came_since(policy: Policy) -> None:
    task = Task(policy)
    task.run("default", "S" * 60)
    sent = [
        an_invocation("default", "success" if i % 4 else "failure", invocation_id=f"before-{i}", reward=0.2)
        for i in range(40)
    ]
    task.take(*sent)
    assert task.variant("default").degraded
    task.order(m.AcceptLevel)
    task.take(*[feedback(one.invocation_id, reward=1.0) for one in sent[20:]])
    assert lifetime_of(task.variant("default")) == Sums()


def test_late_scores_from_before_an_acceptance_raise_no_false_alarm_for_ever() -> None:
    """The level stays at 75 % success and a reward of 0.3; late scores only improve outcomes before the acceptance."""
    task = Task(RECENT)
    task.run("default", "S" * 60, reward=1.0)
    sent = [
        an_invocation("default", "success" if i % 4 else "failure", invocation_id=f"before-{i}", reward=0.3)
        for i in range(40)
    ]
    task.take(*sent)
    assert task.variant("default").degraded
    task.order(m.AcceptLevel)
    task.take(*[feedback(one.invocation_id, reward=0.9) for one in sent[20:]])
    task.run("default", "SSSF" * 75, reward=0.3)  # exactly the accepted level, 300 outcomes long
    assert not task.variant("default").degraded, baseline_of(task.variant("default"), rules_of(RECENT))


# -- figures that the snapshot does not contain ------------------------------------------------------
@pytest.mark.parametrize("policy", [LIFETIME, RECENT], ids=["lifetime", "recent"])
def test_a_row_restored_from_its_snapshot_judges_alike_after_an_acceptance(policy: Policy) -> None:
    task = declined(policy)
    task.order(m.AcceptLevel)
    task.run("default", "SSSF" * 35)
    if policy is LIFETIME:
        task.run("v2", "SSSF" * 10, variant_source="explore")
        task.order(m.ActivateVariant, variant_id="v2")
        task.run("v2", "SSSF" * 6)
        task.order(m.ActivateVariant, variant_id="default")
        task.run("default", "SSSF" * 6)
    shown = task_snapshot(task.row, Context(0, task.offset, task.now, 0, "0" * 16), policy)
    rules, restored = rules_of(policy), restored_row(shown).variants["default"]
    mine, theirs = judge(task.variant("default"), rules), judge(restored, rules)
    assert (theirs.kind, theirs.baseline.n) == (mine.kind, mine.baseline.n)


# -- the baseline that a newcomer keeps --------------------------------------------------------------
def test_a_newcomer_is_compared_with_the_variant_it_replaced_and_not_with_the_one_before_that() -> None:
    task = Task(RECENT)
    task.run("first", "S" * 217, reward=0.3)
    task.run("second", "S" * 5, reward=1.0, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="second")
    task.run("second", "S" * 1_130, reward=1.0)  # the other variant has been far better for a long time
    task.run("third", "S" * 5, reward=1.0, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="third")
    frozen = task.variant("third").baseline
    assert frozen is not None
    assert frozen.variant_id == "second", frozen
    task.run("third", "S" * 20, reward=0.4, active_epoch=3)
    assert task.variant("third").degraded, "the rewards fell from 1.0 to 0.4"


# -- a level that was not accepted ------------------------------------------------------------------
def test_nobody_is_said_to_have_accepted_a_level_that_nobody_accepted() -> None:
    task = Task(profile("guide", **{"degradation.guard": "evidence"}))
    task.run("default", "S" * 30)
    task.run("v2", "S" * 5, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "F" * 20, active_epoch=2)
    assert (task.row.active, task.row.cause) == ("default", "rollback")
    task.run("default", "S" * 3)
    task.order(m.HoldTask)
    shown = task.snapshot("default").baseline
    assert shown is None or shown.source != "accepted_level"


def test_an_accepted_level_outlives_a_short_stay_of_another_variant() -> None:
    task = declined(RECENT)
    task.order(m.AcceptLevel)
    task.run("default", "SSSF" * 4)
    task.run("v2", "S" * 60, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "S" * 30)
    task.order(m.ActivateVariant, variant_id="default")
    task.run("default", "SSSF" * 5)  # exactly the level that a person has accepted
    assert not task.variant("default").degraded, task.variant("default").baseline


# -- counts of the recent past ---------------------------------------------------------------------
def test_halving_an_odd_number_of_outcomes_leaves_no_more_successes_than_outcomes() -> None:
    past = Sums(150, 150, 0, 150 * MICRO, 150 * MICRO)
    age(past, MICRO, SUCCESS, 100)  # the policy's memory was lowered from 200 to 100
    assert past.successes <= past.n
    assert past.reward <= past.n * MICRO


def test_a_baseline_of_more_than_a_hundred_percent_is_not_shown_after_the_memory_was_lowered() -> None:
    task = Task(RECENT)
    task.run("default", "S" * 170)
    task.policy = Policy(degradation=Degradation(baseline="recent", memory=100))
    task.run("default", "S")
    task.order(m.HoldTask)
    shown = task.snapshot("default").baseline
    assert shown is not None
    assert shown.success_rate <= 1.0
    assert shown.avg_reward <= 1.0


def test_outcomes_from_before_an_acceptance_are_not_counted_twice() -> None:
    """The 20 accepted outcomes are the frozen baseline, and enter the past when they leave the window."""
    task = declined(RECENT)
    task.order(m.AcceptLevel)
    task.run("default", "SSSF" * 5)
    variant = task.variant("default")
    assert variant.past.n == 0
    assert variant.baseline is not None and variant.origin is not None
    assert variant.past.n + variant.judged.n <= variant.life.n - variant.origin.n


def alarms(task: Task) -> int:
    return sum(alert.state == "degraded" for alert in task.stated(m.DegradationAlert))


# -- commands and words ----------------------------------------------------------------------------
def test_an_undo_that_names_a_rollback_that_was_taken_back_is_told_so() -> None:
    task = rolled_back()
    rolled = rollback_id(task)
    task.run("other", "F" * 10)
    assert was_taken_back(task)
    result = task.order(m.UndoRollback, rollback_id=rolled)
    assert result.outcome == "refused"
    assert f"{rolled} is not the latest change, which is {rolled}" not in result.detail


def test_verification_that_is_turned_off_no_longer_takes_anything_back() -> None:
    task = rolled_back()
    task.policy = Policy(rollback=Rollback(verify=False))
    task.run("other", "F" * 10)
    assert not was_taken_back(task)


@pytest.mark.parametrize(("window", "baseline"), [(10, 20), (20, 50)])
def test_where_a_window_is_too_small_to_be_a_baseline_an_acceptance_says_what_to_change(
    window: int, baseline: int
) -> None:
    task = Task(Policy(degradation=Degradation(lookback_window=window, min_baseline=baseline)))
    task.run("default", "S" * 60 + "SSSF" * 15)
    assert task.variant("default").degraded
    result = task.order(m.AcceptLevel)
    assert result.outcome == "refused"
    assert result.detail == (
        f"a baseline needs {baseline} outcomes and a window has {window}; raise degradation.lookback_window or lower "
        "degradation.min_baseline"
    )


def test_the_accepted_level_is_told_as_it_is() -> None:
    task = declined(LIFETIME)
    result = task.order(m.AcceptLevel)
    task.run("default", "S")
    task.order(m.HoldTask)
    shown = task.snapshot("default").baseline
    assert shown is not None
    assert f"success {shown.success_rate:.1%}" in result.detail


def test_a_taken_back_rollback_says_what_really_happened_in_the_first_outcomes() -> None:
    task = rolled_back()
    task.run("other", "F" * 10)
    [alert] = task.alerts("rollback_taken_back")
    assert "in its first 10 outcomes" in alert.text
    assert "success 4.5%" not in alert.text  # none of the 10 succeeded


def test_no_success_at_all_is_no_level_that_can_be_accepted() -> None:
    task = Task()
    task.run("default", "S" * 60 + "F" * 30)
    result = task.order(m.AcceptLevel)
    assert (result.outcome, result.detail) == (
        "refused",
        "default has no success in 20 outcomes, so there is no level to accept",
    )


# -- after an acceptance, a good past must not block a better variant ------------------------------
def test_a_variant_whose_decline_was_accepted_does_not_block_a_better_one_for_its_good_past() -> None:
    task = Task()
    task.run("default", "S" * 3_000 + "SF" * 20)
    assert task.order(m.AcceptLevel).outcome == "applied"
    task.run("default", "SF" * 30)
    task.run("better", "SSSSSSSSSSSSSSSSSSSSSSSSF" * 8 + "S" * 20, variant_source="explore")
    task.run("default", "SF" * 20)
    assert task.row.active == "better", reasoning(task.variant("better"), active=False, policy=task.policy)


# -- after an outage ------------------------------------------------------------------------------
@pytest.mark.parametrize("others", [1, 3])
def test_an_outage_of_all_variants_does_not_disarm_the_protection_for_good(others: int) -> None:
    """The profile production does not explore, so a variant's failed window from the outage stays its last one."""
    task = Task(PRODUCTION)
    task.run("default", "S" * 200)
    for number in range(others):
        task.run(f"v{number}", "S" * 100, variant_source="explore")
    for _ in range(60):
        task.run(str(task.row.active), "F", active_epoch=task.row.epoch)
    for _ in range(2_000):  # a long time without failures
        task.run(str(task.row.active), "S", active_epoch=task.row.epoch)
    collapsed, epoch = task.row.active, task.row.epoch
    for _ in range(200):
        if task.row.epoch == epoch:
            task.run(str(task.row.active), "F", active_epoch=task.row.epoch)
    assert task.row.active != collapsed, task.alerts("no_target")[-1].text


# -- an added detector ---------------------------------------------------------------------------
def test_a_failed_window_blocks_its_variant_also_when_an_added_detector_raises_the_alarm() -> None:
    policy = Policy(degradation=Degradation(error_increase=1e9))
    rules = rules_of(policy)
    added = DETECTORS[2]._replace(
        name="added", order=4
    )  # a copy of a detector that acts as an added one with its own limit
    rules.checks = (*rules.checks, (added, 200_000, 0))
    rules.further = ((added, 200_000, 0),)
    task = Task(policy)
    for name, source in (("default", None), ("other", "explore")):
        for number in range(200):
            task.run(name, "S", reward=1.0, error_count=number % 10 == 0, variant_source=source)
    for _ in range(400):
        active = str(task.row.active)
        # "default" now has errors, but its rewards are as good as ever; those of "other" have fallen a little.
        worse = {"reward": 1.0, "error_count": 1} if active == "default" else {"reward": 0.86}
        task.run(active, "S", active_epoch=task.row.epoch, **worse)
    causes = [found.cause for found in task.stated(m.Activation)]
    assert causes.count("rollback_verified_worse") <= 1, causes


# -- accepted levels, and alerts that stay open ----------------------------------------------------
def test_a_target_whose_level_a_person_accepted_is_not_taken_back() -> None:
    task = rolled_back(Policy(degradation=Degradation(min_baseline=10)))
    task.order(m.HoldTask)
    task.run("other", "SFF" * 4)
    assert task.order(m.AcceptLevel).outcome == "applied"
    task.order(m.ResumeTask)
    task.run("other", "SFF" * 4)
    assert not was_taken_back(task)


def test_an_undone_take_back_is_named_in_words() -> None:
    task = rolled_back()
    task.run("other", "F" * 10)
    result = task.order(m.UndoRollback)
    assert result.outcome == "applied"
    assert "rollback_verified_worse" not in result.detail, result.detail


def test_the_figures_name_the_change_that_the_sentence_is_about() -> None:
    task = Task(PRODUCTION)
    task.run("default", "S" * 200)
    task.run("default", "S" * 12, error_count=1, reward=1.0)
    [alert] = task.stated(m.DegradationAlert)
    assert alert.metric == "error_rate"
    assert "error_increase_pct" in alert.degradation_metrics


# -- a doubt that never ends ------------------------------------------------------------------------
def test_a_variant_without_any_success_for_long_is_left_for_one_of_forty_percent() -> None:
    """Ten outcomes at the old level are always added to a window, so a dead variant still promises 33 %."""
    task = Task(PRODUCTION)
    task.run("default", "S" * 300)
    task.run("other", "SFSFF" * 40, variant_source="explore")
    task.run("default", "F" * 500)
    assert task.row.active == "other", task.alerts("no_target")[-1].text


def test_a_rollback_taken_back_by_chance_is_made_again_when_nothing_else_works() -> None:
    """The other variant's rate is 60 %, but only 3 of its first 10 outcomes succeed; the default never does again."""
    task = Task(PRODUCTION)
    task.run("default", "S" * 300)
    task.run("other", "SSFSF" * 40, variant_source="explore")
    for _ in range(40):
        if task.row.active == "default":
            task.run("default", "F")
    assert task.row.active == "other"
    task.run("other", "FFFSFFSFSF")
    assert was_taken_back(task), "the failures happened by chance, but taking the rollback back is right"
    task.run("default", "F" * 500)
    assert task.row.active == "other", task.alerts("no_target")[-1].text


# -- late scores after an acceptance roll back to a worse variant -------------------------------------
def test_late_scores_from_before_an_acceptance_roll_nothing_back_to_a_worse_variant() -> None:
    task = Task(LIFETIME)
    task.run("default", "S" * 60, reward=1.0)
    sent = [
        an_invocation(
            "default", "success" if i % 4 else "failure", invocation_id=f"b-{i}", reward=-1.0 if i > 19 else 0.2
        )
        for i in range(40)
    ]
    task.take(*sent)
    assert task.order(m.AcceptLevel).outcome == "applied"
    task.take(*[feedback(one.invocation_id, reward=1.0) for one in sent[20:]])
    task.run("default", "S" * 20, reward=0.9)
    task.run("v2", "S" * 60, variant_source="explore", reward=0.5)
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "S" * 25, reward=0.5)
    task.order(m.ActivateVariant, variant_id="default")
    task.run("default", "S" * 30, reward=0.9)
    assert not task.stated(m.RollbackEvent), task.stated(m.RollbackEvent)[-1].reason
