"""The verdict on a variant: the findings of the detectors, and the guards around them."""

from __future__ import annotations

import pytest
from builders import a_command
from hypothesis import assume, given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.detectors import figures_of
from crl_stream.core.monitor.evidence import PLACES
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.row import MICRO, Frozen, Sums, Variant
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import baseline_of, is_hopeless, is_newcomer, is_suspect, judge
from crl_stream.core.policy import Degradation, Policy

from .task import Task, proven


def test_nothing_is_judged_below_20_outcomes_or_below_10_since_the_activation() -> None:
    task, rules = Task(), rules_of(Policy())
    task.run("default", "S" * 10 + "F" * 9)
    assert judge(task.variant("default"), rules).kind == "INCONCLUSIVE"
    verdict = judge(task.variant("default"), rules)
    assert sentence(task.variant("default"), verdict, rules) == "Too few outcomes in the baseline: 19 of 20"
    task.run("default", "F")
    assert judge(task.variant("default"), rules).kind != "INCONCLUSIVE"

    task = proven(api_optimized="S" * 30)
    task.order(m.ActivateVariant, variant_id="api-optimized")
    task.run("api-optimized", "F" * 9)
    assert judge(task.variant("api-optimized"), rules).kind == "INCONCLUSIVE"
    task.run("api-optimized", "F")
    assert len(task.stated(m.RollbackEvent)) == 1


@pytest.mark.parametrize(
    ("judged", "worst"),
    [
        (
            Sums(20, 15, 5, 15 * MICRO, 0),
            "success_rate",
        ),  # 3 fewer successes and 3 more errors: a tie, which the first metric wins
        (Sums(20, 15, 6, 15 * MICRO, 0), "error_rate"),  # 4 errors more
        (Sums(20, 16, 4, -10 * MICRO, 0), "avg_reward"),  # rewards fell by a total of 26, which is 13 outcomes
        (Sums(20, 20, 3, 16 * MICRO, 0), "error_rate"),  # errors are the only metric beyond its limit
    ],
)
def test_of_several_metrics_the_one_that_costs_the_most_outcomes_names_the_degradation(
    judged: Sums, worst: str
) -> None:
    task = proven()
    variant, rules = task.variant("default"), rules_of(Policy())
    variant.life, variant.judged = Sums(100, 90, 10, 80 * MICRO, 0), judged
    verdict = judge(variant, rules)
    assert verdict.kind == "DEGRADED"
    assert verdict.worst is not None and verdict.worst.name == worst
    figures = figures_of(verdict.baseline, variant.judged, verdict.worst)
    assert list(figures)[:2] == [f"baseline_{worst}", f"recent_{worst}"]
    assert list(figures)[-1] == "sample_size"
    assert figures["sample_size"] == 20


def test_a_baseline_without_success_reward_or_error_leaves_nothing_to_compare_with() -> None:
    policy = Policy(degradation=Degradation(lookback_window=50))  # window not full: no absolute alarm yet
    task, rules = Task(policy), rules_of(policy)
    task.run("default", "F" * 40)
    verdict = judge(task.variant("default"), rules)
    assert verdict.kind == "INCONCLUSIVE"
    assert sentence(task.variant("default"), verdict, rules).startswith("Nothing to compare with")


@pytest.mark.parametrize("lookback", [2, 5, 9])
def test_a_window_smaller_than_the_guard_is_still_judged_when_it_is_full(lookback: int) -> None:
    task = Task(Policy(degradation=Degradation(lookback_window=lookback)))
    task.run("default", "S" * 30 + "F" * lookback)
    assert [alert.state for alert in task.stated(m.DegradationAlert)] == ["degraded"]


def test_a_newcomer_is_judged_against_the_lifetime_of_the_one_it_replaced_frozen_at_the_change() -> None:
    task = proven(v2="S" * 5)
    task.take(a_command(m.ActivateVariant, variant_id="v2"))
    task.run("default", "F" * 20, active_epoch=1)
    task.run("v2", "F" * 10, active_epoch=2)
    [event] = [e for e in task.stated(m.DegradationAlert) if e.variant_id == "v2"]
    assert event.judged.baseline_variant == "default"
    assert event.judged.baseline_n == 30
    assert event.degradation_metrics["baseline_success_rate"] == 1.0


def test_a_newcomer_that_replaced_another_newcomer_is_not_left_without_any_baseline() -> None:
    task = Task()
    task.run("default", "S" * 12)
    task.run("v2", "S" * 5, variant_source="explore")
    task.take(a_command(m.ActivateVariant, variant_id="v2"))
    task.run("v2", "S" * 30, active_epoch=2)
    task.run("v2", "F" * 12, active_epoch=2)
    assert [r.from_variant for r in task.stated(m.RollbackEvent)] == ["v2"]


@given(st.integers(20, 60), st.integers(0, 20))
def test_with_before_window_the_window_is_not_part_of_what_it_is_compared_with(good: int, bad: int) -> None:
    assume(good + bad >= 40)
    policy = Policy(degradation=Degradation(baseline="before_window"))
    task = Task(policy)
    task.run("default", "S" * good + "F" * bad)
    verdict = judge(task.variant("default"), rules_of(policy))
    assert verdict.baseline.n == good + bad - 20
    assert verdict.baseline.successes == min(good, good + bad - 20)


def test_the_baseline_before_the_window_is_the_lifetime_without_the_judged_outcomes_in_every_sum() -> None:
    variant = Variant("v2", life=Sums(90, 80, 7, 60, 50), judged=Sums(20, 15, 4, 8, 9))
    rules = rules_of(Policy(degradation=Degradation(baseline="before_window")))
    assert baseline_of(variant, rules) == Sums(70, 65, 3, 52, 41)


@pytest.mark.parametrize(("short_by", "kind"), [(0.0, "DEGRADED"), (1.0, "INCONCLUSIVE")])
def test_evidence_that_equals_its_threshold_suffices(short_by: float, kind: str) -> None:
    rules = rules_of(Policy(degradation=Degradation(guard="evidence")))
    evidence = [rules.threshold - short_by] * PLACES
    variant = Variant("v2", life=Sums(90, 80), judged=Sums(20, 5), evidence=evidence)
    assert judge(variant, rules).kind == kind


@pytest.mark.parametrize(("since", "hopeless"), [("F" * 9, False), ("F" * 10, True), ("F" * 9 + "S", False)])
def test_a_variant_is_hopeless_if_it_has_had_no_success_since_it_was_activated_or_if_that_is_too_few_in_its_window(
    since: str, hopeless: bool
) -> None:
    task = proven(old="S" * 20)
    task.order(m.ActivateVariant, variant_id="old")
    task.run("old", since, active_epoch=2)
    assert task.variant("old").judged.n == len(since)
    assert is_hopeless(task.variant("old"), rules_of(task.policy)) is hopeless


@pytest.mark.parametrize(
    ("baseline", "concurrent", "past", "newcomer"),
    [
        ("recent", False, 99, True),
        ("recent", False, 100, False),
        ("recent", True, 100, True),
        ("lifetime", False, 100, True),
    ],
)
def test_a_newcomer_has_its_own_baseline_once_its_recent_past_suffices_but_not_during_a_rollout(
    baseline: str, concurrent: bool, past: int, newcomer: bool
) -> None:
    rules = rules_of(Policy(degradation=Degradation(baseline=baseline, memory=200)))  # type: ignore[arg-type]
    assert rules.enough == 100
    variant = Variant("v2", baseline=Frozen("default", Sums(50, 50), concurrent=concurrent), past=Sums(past, past))
    assert is_newcomer(variant, rules) is newcomer


def test_a_window_without_success_is_judged_on_its_own_only_where_the_rule_or_its_evidence_does_not_suffice() -> None:
    """The metric that fell most is named in either case: here the reward, because there never was a success."""
    for guard, absolute in (("none", False), ("evidence", True)):
        rules = rules_of(Policy(degradation=Degradation(guard=guard)))  # type: ignore[arg-type]
        life, judged = Sums(100, 0, 0, 90 * MICRO, 90 * MICRO), Sums(20, 0, 0, -20 * MICRO, 20 * MICRO)
        verdict = judge(Variant("v2", life=life, judged=judged), rules)
        assert (verdict.kind, verdict.absolute) == ("DEGRADED", absolute)
        assert verdict.worst is not None and verdict.worst.name == "avg_reward"


def test_a_variant_whose_level_was_accepted_is_suspect_by_what_came_since_then() -> None:
    """All hundred outcomes since then succeeded, and none of the hundred before."""
    rules = rules_of(Policy())
    variant = Variant("v2", life=Sums(200, 100), judged=Sums(20, 15))
    assert not is_suspect(variant, rules)
    variant.origin = Sums(100, 0)
    assert is_suspect(variant, rules)
    assert judge(variant, rules).kind == "DEGRADED"
