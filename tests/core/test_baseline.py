"""What a window is compared with: the recent past or the lifetime, and the level that a person accepted."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.baseline import age
from crl_stream.core.monitor.row import ERROR, MICRO, SUCCESS, Sums, Variant, decode_row, encode_row
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import baseline_of
from crl_stream.core.policy import Degradation, Policy

from .task import Task

RECENT = Policy(degradation=Degradation(baseline="recent"))
LIFETIME = Policy()


# -- the recent past -------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(-MICRO, MICRO), st.sampled_from([0, SUCCESS, ERROR, SUCCESS | ERROR]))))
def test_up_to_its_memory_the_past_is_the_exact_sum_of_what_left_the_window(outcomes: list[tuple[int, int]]) -> None:
    past = Sums()
    for reward, flags in outcomes:
        age(past, reward, flags, 1_000)
    assert past.n == len(outcomes)
    assert past.successes == sum(flags & SUCCESS for _, flags in outcomes)
    assert past.errors == sum(flags & ERROR != 0 for _, flags in outcomes)
    assert past.reward == sum(reward for reward, _ in outcomes)


@given(st.integers(1, 20).map(lambda half: 2 * half), st.integers(0, 2**32), st.floats(0.1, 0.95))
def test_the_past_never_reaches_its_memory_and_its_rate_is_one_that_its_outcomes_can_have(
    memory: int, seed: int, rate: float
) -> None:
    random, past = Random(seed), Sums()
    for _ in range(200):
        good = random.random() < rate
        age(past, MICRO if good else -MICRO, SUCCESS if good else 0, memory)
        assert past.n < memory
        assert 0 <= past.successes <= past.n


def test_halving_favours_neither_good_nor_bad_outcomes() -> None:
    means = []
    for seed in range(200):
        random, past = Random(seed), Sums()
        for _ in range(1_000):
            good = random.random() < 0.7
            age(past, MICRO if good else -MICRO, SUCCESS if good else 0, 200)
        means.append(past.successes / past.n)
    assert sum(means) / len(means) == pytest.approx(0.7, abs=0.01)


def test_a_bad_youth_does_not_hide_a_decline() -> None:
    found = {}
    for name, policy in (("recent", RECENT), ("lifetime", LIFETIME)):
        task = Task(policy)
        task.run("default", "SF" * 250 + "S" * 500)
        said = len(task.stated(m.DegradationAlert))
        task.run("default", "SSSF" * 10)
        found[name] = len(task.stated(m.DegradationAlert)) - said
    assert found == {"recent": 1, "lifetime": 0}


def test_a_slow_drift_is_seen_because_the_lifetime_counts_where_it_was_better() -> None:
    task, owed = Task(RECENT), 0.0
    for step in range(3_000):
        owed += 0.3 * step / 3_000
        task.run("default", "F" if owed >= 1.0 else "S")
        owed -= owed >= 1.0
    alarms = [alert for alert in task.stated(m.DegradationAlert) if alert.state == "degraded"]
    assert any(alert.judged.baseline_n > RECENT.degradation.memory for alert in alarms)


def test_nothing_enters_the_past_while_the_variant_is_degraded() -> None:
    task = Task(RECENT)
    task.run("default", "S" * 60 + "F" * 5)
    assert task.variant("default").degraded
    before = encode_row(task.row)
    task.run("default", "F" * 40)
    assert task.variant("default").past == decode_row(before).variants["default"].past


def test_a_newcomer_is_judged_against_the_variant_it_replaced_until_its_own_past_has_half_the_memory() -> None:
    task = Task(RECENT)
    task.run("default", "S" * 60)
    task.run("v2", "S" * 5, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    rules = rules_of(RECENT)
    task.run("v2", ("S" * 19 + "F") * 5 + "S" * 10)
    assert baseline_of(task.variant("v2"), rules).n >= 40  # outcomes of the variant that was replaced
    assert task.snapshot("v2").baseline.source == "replaced_variant"  # type: ignore[union-attr]
    task.run("v2", "S" * 9 + "F" + "S" * 10)
    assert task.variant("v2").past.n >= 100
    assert task.snapshot("v2").baseline.source == "recent"  # type: ignore[union-attr]
    assert baseline_of(task.variant("v2"), rules).successes < baseline_of(task.variant("v2"), rules).n


def test_rows_of_older_engines_have_no_past_and_are_judged_by_their_lifetime_until_they_have_one() -> None:
    variant = Variant("v", life=Sums(500, 450, 0, 400 * MICRO, 0), judged=Sums(20, 18, 0, 16 * MICRO, 0))
    assert baseline_of(variant, rules_of(RECENT)) == Sums(480, 432, 0, 384 * MICRO, 0)


# -- floors ----------------------------------------------------------------------------------------
FLOORED = Policy(degradation=Degradation(success_floor=2.0, reward_floor=1.0, error_floor=2.0, baseline="recent"))


def test_one_error_in_a_window_is_no_degradation_with_a_floor_and_is_one_without() -> None:
    found = Counter[str]()
    for name, policy in (("floor", FLOORED), ("none", LIFETIME)):
        task = Task(policy)
        for _ in range(2):
            task.run("default", "S" * 24)
            task.run("default", "S", error_count=1, reward=1.0)
        found[name] = len(task.stated(m.DegradationAlert))
    assert found["floor"] == 0
    assert found["none"] > 0


def test_errors_after_a_baseline_without_any_are_a_degradation_with_a_floor() -> None:
    task = Task(FLOORED)
    task.run("default", "S" * 60)
    task.run("default", "SS", error_count=1, reward=1.0)
    [alert] = [fact for fact in task.stated(m.DegradationAlert) if fact.metric == "error_rate"]
    assert alert.reason == "Error rate increased from 0% to 10%: 2 of 20 outcomes had errors"


def test_falling_rewards_below_zero_are_a_degradation_with_a_floor() -> None:
    task = Task(FLOORED)
    task.run("default", "S" * 60, reward=-0.04)
    task.run("default", "S" * 3, reward=-1.0)
    [alert] = task.stated(m.DegradationAlert)
    assert alert.reason == "Average reward dropped from -0.04 to -0.18 (0.14 lower)"


# -- a level that a person accepts -----------------------------------------------------------------
def declined(policy: Policy = LIFETIME, **fields: Any) -> Task:
    task = Task(policy)
    task.run("default", "S" * 60 + "SSSF" * 10, **fields)
    assert task.variant("default").degraded
    return task


@pytest.mark.parametrize("policy", [LIFETIME, RECENT], ids=["lifetime", "recent"])
def test_an_accepted_level_ends_the_alarm_and_is_the_baseline_from_then_on(policy: Policy) -> None:
    task = declined(policy)
    result = task.order(m.AcceptLevel, variant_id="default", actor="ann")
    assert result.detail == "default is now compared with its last 20 outcomes: reward 0.500, success 75.0%"
    ended = [alert for alert in task.stated(m.Alert) if alert.resolved]
    assert {alert.kind for alert in ended} == {"degradation", "no_target"}
    assert all("accepted the level" in alert.text for alert in ended)
    task.run("default", "SSSF" * 60)
    assert not task.variant("default").degraded
    assert task.snapshot("default").verdict == "HEALTHY"


@pytest.mark.parametrize("policy", [LIFETIME, RECENT], ids=["lifetime", "recent"])
def test_a_decline_below_the_accepted_level_is_a_degradation_again(policy: Policy) -> None:
    task = declined(policy)
    task.order(m.AcceptLevel, variant_id="default")
    task.run("default", "SSSF" * 20)
    task.run("default", "FFFS" * 5)
    assert task.variant("default").degraded
    alert = task.stated(m.DegradationAlert)[-1]
    assert alert.judged.baseline_source == "accepted_level"


def test_the_good_past_is_forgotten_for_good_even_when_the_variant_is_activated_again() -> None:
    task = declined(RECENT)
    task.order(m.AcceptLevel, variant_id="default")
    task.run("default", "SSSF" * 40)
    task.run("v2", "SSSF" * 10, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "SSSF" * 6)
    task.order(m.ActivateVariant, variant_id="default")
    task.run("default", "SSSF" * 20)
    assert not task.variant("default").degraded


def test_the_snapshot_names_the_baseline_that_was_accepted() -> None:
    task = declined()
    task.order(m.AcceptLevel, variant_id="default")
    task.run("default", "SSSF" * 5)
    shown = task.snapshot("default").baseline
    assert shown is not None
    assert (shown.source, shown.n, shown.success_rate) == ("accepted_level", 20, 0.75)
