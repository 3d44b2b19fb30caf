"""The e-SR statistic: few false alarms, fast growth during a degradation, and a reset with every activation."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor import evidence, likelihood
from crl_stream.core.monitor.learning import Formula
from crl_stream.core.monitor.row import ABSENT, ERROR, FAILED, JUDGED, MICRO, OUTCOME, SUCCESS, Frozen, Variant
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.window import amend, forget, take_in
from crl_stream.core.policy import Degradation, Learning, Policy

from .task import Task, proven

RULES = rules_of(Policy())
GOOD, BAD, BROKEN = (MICRO, SUCCESS | JUDGED), (-MICRO, JUDGED), (-MICRO, ERROR | FAILED | JUDGED)


def learn(variant: Variant, reward: int, flags: int) -> None:
    """Record one outcome as the engine does: evidence first, then lifetime and window."""
    flags |= evidence.update(variant, reward, flags, RULES.size, RULES.claims)
    outcome = OUTCOME.pack(variant.life.n, variant.life.n, reward, ABSENT, ABSENT, 0, flags)
    take_in(variant, outcome, reward, flags, RULES.size, RULES.rate, RULES.claims)


def a_variant(random: Random, n: int, success_rate: float) -> Variant:
    variant = Variant("v")
    for _ in range(n):
        learn(variant, *(GOOD if random.random() < success_rate else BAD))
    return variant


def test_the_threshold_is_one_and_a_quarter_times_the_budget() -> None:
    assert evidence.threshold(Degradation()) == 6_250
    assert evidence.threshold(Degradation(false_alarm_budget=1_000)) == 1_250


def test_the_alternatives_are_once_twice_and_four_times_the_limit_and_never_everything() -> None:
    assert likelihood.drops(0.1) == pytest.approx((0.1, 0.2, 0.4, 0.0))
    assert likelihood.drops(0.5) == pytest.approx((0.5, 0.95, 0.95, 0.0))


def test_no_alternative_claims_less_than_a_twentieth() -> None:
    assert likelihood.drops(0.0) == likelihood.drops(0.02) == pytest.approx((0.05, 0.1, 0.2, 0.0))


@pytest.mark.parametrize("drop", [0.0, 0.001, 0.1])
@pytest.mark.parametrize(
    ("success_rate", "reward"), [(1.0, MICRO), (1.0, MICRO // 2), (0.9, None), (0.7, None), (0.0, None)]
)
def test_however_small_the_limits_are_outcomes_as_before_are_no_evidence(
    drop: float, success_rate: float, reward: int | None
) -> None:
    rules = rules_of(Policy(degradation=Degradation(success_drop=drop, reward_drop=drop, guard="evidence")))
    random, variant, alarms = Random(f"{drop} {success_rate}"), Variant("v"), 0
    for number in range(20_000):
        success = random.random() < success_rate
        flags = (SUCCESS if success else 0) | JUDGED
        given = (MICRO if success else -MICRO) if reward is None else reward
        flags |= evidence.update(variant, given, flags, rules.size, rules.claims)
        outcome = OUTCOME.pack(number, number, given, ABSENT, ABSENT, 0, flags)
        take_in(variant, outcome, given, flags, rules.size, rules.rate, rules.claims)
        if evidence.e_value(variant) >= rules.threshold:
            alarms += 1
            forget(variant)
    # The budget allows 4 false alarms in 20,000 outcomes; if outcomes never vary, there can be none.
    assert alarms <= (0 if success_rate in (0.0, 1.0) else 4)


def test_a_collapse_is_found_with_limits_of_nought_too() -> None:
    task = Task(Policy(degradation=Degradation(success_drop=0.0, reward_drop=0.0, guard="evidence")))
    task.run("v2", "S" * 8, variant_source="explore")
    task.run("default", ("S" * 9 + "F") * 10 + "F" * 12)
    assert len(task.stated(m.RollbackEvent)) == 1


def test_below_forty_outcomes_of_its_own_a_variant_gathers_no_evidence() -> None:
    variant = a_variant(Random(1), 40, 0.9)
    assert variant.evidence == [0.0] * 9
    learn(variant, *BAD)
    assert any(variant.evidence)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.floats(0.5, 0.99))
def test_evidence_grows_with_every_failure_and_a_total_failure_passes_the_threshold(seed: int, rate: float) -> None:
    variant = a_variant(Random(seed), 60, rate)
    last = evidence.e_value(variant)
    for _ in range(60):
        learn(variant, *BROKEN)
        now = evidence.e_value(variant)
        assert now > last or now >= likelihood.CEILING / 9
        last = now
    assert last > evidence.threshold(Degradation())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.sampled_from([GOOD, BAD, BROKEN]), max_size=20))
def test_a_failure_is_never_less_evidence_than_a_success(seed: int, entries: list[tuple[int, int]]) -> None:
    better, worse = (a_variant(Random(seed), 60, 0.8) for _ in range(2))
    for reward, flags in entries:
        learn(better, reward, flags)
        learn(worse, reward, flags)
    learn(better, *GOOD)
    learn(worse, *BROKEN)
    assert evidence.e_value(worse) > evidence.e_value(better)
    assert all(w >= b for w, b in zip(worse.evidence, better.evidence, strict=True))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 4000))
def test_evidence_is_finite_and_never_negative(seed: int, failures: int) -> None:
    random = Random(seed)
    variant = a_variant(random, 50, random.random())
    for _ in range(failures % 500):
        learn(variant, *random.choice([GOOD, BAD, BROKEN]))
    assert all(0.0 <= value <= likelihood.CEILING for value in variant.evidence)
    assert evidence.e_value(variant) == pytest.approx(sum(evidence.by_metric(variant).values()) / 3)


@pytest.mark.parametrize("success_rate", [0.7, 0.9])
def test_a_healthy_variant_is_taken_for_a_degraded_one_no_more_often_than_the_budget_allows(
    success_rate: float,
) -> None:
    random = Random(f"healthy {success_rate}")
    budget, steps = 200, 20_000
    limit = evidence.threshold(Degradation(false_alarm_budget=budget))
    variant, alarms = a_variant(random, 400, success_rate), 0
    for _ in range(steps):
        learn(variant, *(GOOD if random.random() < success_rate else BAD))
        if evidence.e_value(variant) >= limit:
            alarms += 1
            variant.evidence = [0.0] * 9
    # The budget allows one false alarm in 200 outcomes, so 100 here; more than 150 would break that promise.
    assert alarms <= 1.5 * steps / budget


def test_healthy_rewards_that_come_late_are_taken_for_bad_ones_no_more_often_than_the_budget_allows() -> None:
    random = Random("late")
    budget, steps = 200, 20_000
    limit, learning = evidence.threshold(Degradation(false_alarm_budget=budget)), Formula(Learning())
    variant, alarms = a_variant(random, 400, 1.0), 0
    for _ in range(steps):
        learn(variant, *GOOD)
        reward = random.choice([1.0, 0.9, 0.8, 0.2, -0.6])
        assert amend(variant, variant.life.n - 1, round(reward * MICRO), None, learning)
        evidence.reweigh(variant, RULES.size, RULES.claims)
        if variant.life.n > 800 and evidence.e_value(variant) >= limit:
            alarms += 1
            forget(variant)
    assert alarms <= 1.5 * steps / budget


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 250) | st.integers(96, 118), st.booleans())
def test_late_rewards_are_followed_again_as_the_detector_of_the_reward_says(seed: int, n: int, newcomer: bool) -> None:
    """The engine inlines this detector's formula, because it runs for every late score."""
    random = Random(seed)
    variant = a_variant(random, n, 0.8)
    if newcomer:
        variant.baseline = Frozen("default", a_variant(random, 60, 0.9).life)
        for _ in range(30):
            learn(variant, *random.choice([GOOD, BAD]))
    for _ in range(2):
        assert amend(variant, variant.life.n - 1, random.randrange(-MICRO, MICRO), None, Formula(Learning()))
        start = [0.0] * 3 if variant.reward_start is None else variant.reward_start
        first, second, third = start
        expected = evidence.follow_window(variant, RULES.size, (first, second, third), 1, RULES.claims)
        evidence.reweigh(variant, RULES.size, RULES.claims)
        assert variant.evidence[3:6] == [min(value, likelihood.CEILING) for value in expected]
        for _ in range(5):
            learn(variant, *random.choice([GOOD, BAD, BROKEN]))


def test_an_activation_starts_the_evidence_anew() -> None:
    task = proven(v2="S" * 60 + "F" * 3)
    assert any(task.variant("v2").evidence)
    task.order(m.ActivateVariant, variant_id="v2")
    assert task.variant("v2").evidence == [0.0] * 9


def test_with_the_guard_a_rollback_needs_the_rule_and_the_evidence() -> None:
    guarded = Policy(degradation=Degradation(guard="evidence", false_alarm_budget=5_000))
    bare, careful = Task(), Task(guarded)
    # Five failures among the last 20 exceed the guide's limit, but are not yet evidence of a rate above three in 20.
    for task in (bare, careful):
        task.run("v2", "SSSSSSSF" * 4, variant_source="explore")
        task.run("default", ("S" * 17 + "FFF") * 5 + "S" * 15)
        task.run("default", "FFFF")
    assert len(bare.stated(m.RollbackEvent)) > 0
    assert careful.stated(m.RollbackEvent) == []
    assert careful.stated(m.DegradationAlert) == []
    careful.run("default", "F" * 30)
    [event] = careful.stated(m.RollbackEvent)
    assert event.evidence.sufficient
    assert event.evidence.e_value >= event.evidence.threshold == 6_250
    assert event.evidence.rule == "DEGRADED"


def test_a_verdict_without_enough_evidence_says_both_numbers() -> None:
    task = Task(Policy(degradation=Degradation(guard="evidence")))
    task.run("default", ("S" * 9 + "F") * 10 + "FFF")
    task.order(m.HoldTask)
    found = task.snapshot("default")
    assert found.verdict == "INCONCLUSIVE"
    assert re.fullmatch(r"Success rate dropped from 87% to 75% \(1.\.\d% drop\), evidence [\d.]+ < 6,250", found.reason)


@pytest.mark.parametrize("before", [5, 19, 20, 25, 30, 39, 40, 60])
def test_with_the_guard_a_collapse_is_rolled_back_at_once_however_short_the_variants_lifetime_was(before: int) -> None:
    # From 20 to 39 outcomes, a variant's own lifetime is a baseline for the rule, but not yet for the evidence.
    task = Task(Policy(degradation=Degradation(guard="evidence")))
    task.run("default", "SSSSSSSSSF" * 8)
    task.run("v2", "S" * before, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "F" * 15, active_epoch=2)
    [event] = task.stated(m.RollbackEvent)
    assert event.evidence.sufficient
    assert event.judged.baseline_source == ("replaced_variant" if before < 40 else "lifetime")


def test_a_recovery_starts_the_evidence_anew() -> None:
    # After an outage without a target nothing is activated, so only the recovery can reset the evidence.
    task = Task(Policy(degradation=Degradation(guard="evidence")))
    task.run("default", "S" * 100 + "F" * 40)
    assert evidence.e_value(task.variant("default")) > evidence.threshold(Degradation())
    task.run("default", "S" * 60)
    assert [alert.state for alert in task.stated(m.DegradationAlert)] == ["degraded", "recovered"]
    assert evidence.e_value(task.variant("default")) < 100.0, "the failures before the recovery no longer count"


@pytest.mark.parametrize("before", [5, 10, 25, 35])
def test_a_healthy_newcomer_is_rolled_back_no_more_often_than_the_budget_allows(before: int) -> None:
    # The replaced variant had only 60 outcomes: by chance, their rate may be 10 % off the true rate, and this error
    # never shrinks.
    policy = Policy(degradation=Degradation(guard="evidence", false_alarm_budget=5_000))
    outcomes = rollbacks = 0
    for seed in range(40):
        random = Random(f"{seed} {before}")

        def letters(count: int, random: Random = random) -> str:
            return "".join("S" if random.random() < 0.9 else "F" for _ in range(count))

        task = Task(policy)
        task.run("default", letters(60))
        task.run("v2", letters(before), variant_source="explore")
        task.order(m.ActivateVariant, variant_id="v2")
        for _ in range(400):
            outcomes += 1
            task.run("v2", letters(1), active_epoch=2)
            if task.row.epoch > 2:
                rollbacks += task.row.cause == "rollback"
                break
    # The budget allows 3 in 16,000 outcomes; with the frozen lifetime alone as the baseline, there were 5 to 12.
    assert rollbacks <= 1.5 * outcomes / 5_000


def test_the_e_value_is_the_same_on_every_python() -> None:
    # From Python 3.12 on, sum() corrects rounding errors, but two workers, or a replay, may run on different
    # versions.
    assert evidence.e_value(Variant("v", evidence=[1e16] + [1.0] * 8)) == 1e16 / 9.0
