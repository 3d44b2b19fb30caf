"""The guide's decision matrix and thresholds, through its own API."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from builders import AGENT, TASK
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.policy import AutoApply, Degradation, Policy, PolicySet
from crl_stream.errors import UsageError
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from guide.world import WHO, collapsed, order, promising, record, replaced

DEFAULTS = {
    "auto_apply_q_threshold": 0.9,
    "auto_apply_min_samples": 10,
    "human_approval_q_threshold": 0.7,
    "human_approval_min_samples": 5,
    "lookback_window": 20,
    "degradation_success_threshold": 0.10,
    "degradation_reward_threshold": 0.15,
    "degradation_error_threshold": 0.20,
    "rollback_min_samples": 5,
}
"""Copied from the guide: decision matrix, degradation thresholds, "highest Q-value, n>=5", "Default: 20"."""


def test_without_arguments_every_threshold_is_the_guides(store: Store) -> None:
    found = SafetyMonitor().thresholds
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS


# -- whether a variant may be applied --------------------------------------------------------------
@pytest.mark.parametrize(
    ("q_value", "n_visits", "decision"),
    [
        # The rows of the matrix, at their boundaries.
        (0.90, 10, "auto_apply"),
        (1.00, 1000, "auto_apply"),
        (0.90, 9, "human_approval"),
        (0.8999, 10, "human_approval"),
        (0.70, 5, "human_approval"),
        (0.89, 1000, "human_approval"),
        (0.6999, 5, "no_action"),
        (0.6999, 1000, "no_action"),
        (0.70, 4, "no_action"),
        (1.00, 4, "no_action"),
        (-1.0, 0, "no_action"),
    ],
)
def test_the_matrix_decides_by_the_figures_it_is_given(
    store: Store, q_value: float, n_visits: int, decision: str
) -> None:
    found, reasoning = SafetyMonitor().should_auto_apply_variant(*WHO, "api-optimized", q_value, n_visits)
    assert found == decision
    assert reasoning


@given(q_value=st.floats(-1, 1), n_visits=st.integers(0, 200))
@settings(max_examples=200)
def test_the_matrix_is_the_guides_table_everywhere(q_value: float, n_visits: int) -> None:
    """The expected decision follows the guide's table, row by row."""
    if n_visits < 5 or q_value < 0.7:
        expected = "no_action"
    elif q_value >= 0.9 and n_visits >= 10:
        expected = "auto_apply"
    else:
        expected = "human_approval"
    monitor = SafetyMonitor(store=Store(None))
    assert monitor.should_auto_apply_variant(*WHO, "v", q_value, n_visits)[0] == expected


def test_the_reasoning_has_the_words_of_the_guides_example(store: Store) -> None:
    promising(store)
    decision, reasoning = SafetyMonitor().should_auto_apply_variant(
        agent_name=AGENT, task_type=TASK, variant_id="api-optimized"
    )
    assert decision == "auto_apply"
    assert reasoning.startswith("High confidence: Q-value 0.95 >= 0.9")


@pytest.mark.parametrize(
    ("q_value", "n_visits", "words"),
    [
        (0.8, 7, "Medium confidence: Q-value 0.80 >= 0.7 and n_visits 7 >= 5"),
        (0.5, 7, "Low confidence: Q-value 0.50 < 0.7"),
        (0.99, 4, "Insufficient samples: n_visits 4 < 5"),
    ],
)
def test_every_row_of_the_matrix_says_which_one_it_is(store: Store, q_value: float, n_visits: int, words: str) -> None:
    assert SafetyMonitor().should_auto_apply_variant(*WHO, "v", q_value, n_visits)[1] == words


def test_figures_that_are_not_given_are_the_stores(store: Store) -> None:
    promising(store)
    monitor = SafetyMonitor()
    assert monitor.should_auto_apply_variant(*WHO, "api-optimized")[0] == "auto_apply"
    assert monitor.should_auto_apply_variant(*WHO, "api-optimized", q_value=0.8)[0] == "human_approval"
    assert monitor.should_auto_apply_variant(*WHO, "api-optimized", n_visits=4)[0] == "no_action"


def test_the_active_variant_is_the_default_already_however_good_it_is(store: Store) -> None:
    promising(store)
    decision = SafetyMonitor().should_auto_apply_variant(*WHO, "default", 1.0, 100)
    assert decision == ("no_action", "Already the default variant")


def test_a_variant_that_nobody_has_heard_of_has_no_samples(store: Store) -> None:
    decision = SafetyMonitor().should_auto_apply_variant(*WHO, "new")
    assert decision == ("no_action", "Insufficient samples: n_visits 0 < 5")


def test_a_recent_degradation_keeps_a_variant_from_being_applied_automatically(store: Store) -> None:
    collapsed(store)
    order(store, m.LiftQuarantine, variant_id="api-optimized")
    decision, reasoning = SafetyMonitor().should_auto_apply_variant(*WHO, "api-optimized", 0.95, 1_000)
    assert decision == "human_approval"
    assert "Recent degradation" in reasoning
    # After 20 more outcomes the degradation is no longer recent.
    record(store, "api-optimized", "S" * 30, reward=0.95, variant_source="explore")
    assert SafetyMonitor().should_auto_apply_variant(*WHO, "api-optimized", 0.95, 90)[0] == "auto_apply"


# -- whether a variant is degraded -----------------------------------------------------------------
def test_a_degraded_variant_comes_with_the_figures_of_the_guides_schema(store: Store) -> None:
    collapsed(store)
    order(store, m.HoldTask)
    record(store, "default", "S" * 5 + "F" * 10, reward=0.5, active_epoch=3)
    degraded, metrics = SafetyMonitor().check_performance_degradation(
        agent_name=AGENT, task_type=TASK, variant_id="default", lookback_window=20
    )
    assert degraded is True
    # 35 of its 45 outcomes succeeded, and 5 of the 15 since it became active again.
    assert metrics["baseline_success_rate"] == pytest.approx(35 / 45)
    assert metrics["recent_success_rate"] == pytest.approx(5 / 15)
    assert metrics["success_drop_pct"] == pytest.approx((35 / 45 - 5 / 15) / (35 / 45))
    assert metrics["sample_size"] == 15
    assert metrics["verdict"] == "DEGRADED"
    assert metrics["reason"] == "Success rate dropped from 78% to 33% (57.1% drop)"


def test_a_healthy_variant_is_not_degraded_and_has_its_figures_too(store: Store) -> None:
    replaced(store)
    degraded, metrics = SafetyMonitor().check_performance_degradation(*WHO, "api-optimized")
    assert degraded is False
    assert (metrics["success_drop_pct"], metrics["sample_size"], metrics["verdict"]) == (0.0, 10, "HEALTHY")


@pytest.mark.parametrize("variant_id", ["new", "api-optimized"])
def test_a_variant_that_nobody_has_heard_of_gives_false_and_an_error(store: Store, variant_id: str) -> None:
    degraded, metrics = SafetyMonitor().check_performance_degradation(*WHO, variant_id)
    assert degraded is False
    assert variant_id in metrics["error"]


def test_too_little_data_is_no_degradation_and_says_so(store: Store) -> None:
    record(store, "default", "F" * 9)
    degraded, metrics = SafetyMonitor().check_performance_degradation(*WHO, "default")
    assert degraded is False
    assert (metrics["verdict"], metrics["sample_size"]) == ("INCONCLUSIVE", 9)
    assert "Too few outcomes" in metrics["reason"]


@given(
    outcomes=st.lists(st.sampled_from("SFE"), min_size=1, max_size=60),
    limits=st.tuples(*[st.sampled_from([0.05, 0.10, 0.15, 0.20, 0.5])] * 3),
)
@settings(max_examples=150)
def test_degraded_means_worse_by_more_than_a_threshold_in_success_reward_or_errors(
    outcomes: list[str], limits: tuple[float, float, float]
) -> None:
    """The expected verdict is computed with fractions from the outcomes: the last 20 compared with all of them."""
    store = Store(None)
    record(store, "default", "".join(outcomes))
    monitor = SafetyMonitor(
        store=store,
        degradation_success_threshold=limits[0],
        degradation_reward_threshold=limits[1],
        degradation_error_threshold=limits[2],
    )
    recent = outcomes[-20:]
    worse = []
    if len(outcomes) >= 20:
        for value, limit, sign in (("S", limits[0], 1), ("", limits[1], 1), ("E", limits[2], -1)):
            before, after = (_mean(found, value) for found in (outcomes, recent))
            worse.append(before > 0 and sign * (before - after) / before > Fraction(str(limit)))
    assert monitor.check_performance_degradation(*WHO, "default")[0] == any(worse)


def _mean(outcomes: list[str], letter: str) -> Fraction:
    """Return the share of outcomes with this letter; without a letter, the mean reward (success +1, all others -1)."""
    if letter:
        return Fraction(outcomes.count(letter), len(outcomes))
    return Fraction(2 * outcomes.count("S") - len(outcomes), len(outcomes))


@pytest.mark.parametrize(("lookback", "sample"), [(20, 20), (10, 10), (50, 50), (200, 60)])
def test_the_lookback_is_as_long_as_asked_for_as_far_as_there_are_outcomes(
    store: Store, lookback: int, sample: int
) -> None:
    record(store, "default", "S" * 60)
    assert (
        SafetyMonitor().check_performance_degradation(*WHO, "default", lookback_window=lookback)[1]["sample_size"]
        == sample
    )
    assert (
        SafetyMonitor(lookback_window=lookback).check_performance_degradation(*WHO, "default")[1]
        == (SafetyMonitor().check_performance_degradation(*WHO, "default", lookback)[1])
    )


def test_a_longer_lookback_never_reaches_behind_the_activation(store: Store) -> None:
    replaced(store)
    record(store, "api-optimized", "S" * 30, active_epoch=2, reward=0.5)
    _, metrics = SafetyMonitor(lookback_window=200).check_performance_degradation(*WHO, "api-optimized")
    assert metrics["sample_size"] == 40


def test_asking_changes_nothing(store: Store) -> None:
    collapsed(store)
    before = store.source.rows()
    monitor = SafetyMonitor(auto_apply_q_threshold=0.1, degradation_success_threshold=0.01, lookback_window=7)
    monitor.should_auto_apply_variant(*WHO, "api-optimized", 0.9, 10)
    monitor.check_performance_degradation(*WHO, "api-optimized")
    assert store.source.rows() == before
    assert SafetyMonitor().thresholds["auto_apply_q_threshold"] == 0.9


# -- thresholds ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_apply_q_threshold", 1.5),
        ("auto_apply_min_samples", 0),
        ("lookback_window", 1),
        ("lookback_window", 20.5),
        ("degradation_success_threshold", -0.1),
        ("degradation_reward_threshold", 2),
        ("degradation_guard", "maybe"),
        ("human_approval_min_samples", "many"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused_by_its_name(store: Store, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name} = "):
        SafetyMonitor(**{name: value})


@pytest.mark.parametrize("name", ["a b", "openai/gpt-4o", "", "x" * 129, 7, None])
def test_a_name_that_can_be_none_is_refused_with_the_nearest_that_can(store: Store, name: Any) -> None:
    for names in ((name, "t", "v"), ("a", name, "v"), ("a", "t", name)):
        with pytest.raises(UsageError, match="is not an identifier"):
            SafetyMonitor().should_auto_apply_variant(*names)
        with pytest.raises(UsageError, match="is not an identifier"):
            SafetyMonitor().check_performance_degradation(*names)


@pytest.mark.parametrize(("q_value", "n_visits"), [(math.nan, 10), (math.inf, 10), (0.9, -1)])
def test_figures_that_cannot_be_are_refused(store: Store, q_value: float, n_visits: int) -> None:
    with pytest.raises(UsageError):
        SafetyMonitor().should_auto_apply_variant(*WHO, "v", q_value, n_visits)


def test_thresholds_that_are_not_given_are_those_of_the_task_in_the_stores_policy() -> None:
    stricter = Policy(auto_apply=AutoApply(q_threshold=0.99), degradation=Degradation(lookback_window=40))
    store = Store(None, policy=PolicySet(Policy(), tasks={f"{AGENT}/{TASK}": stricter}))
    monitor = SafetyMonitor(store=store, auto_apply_min_samples=50)
    assert monitor.should_auto_apply_variant(*WHO, "v", 0.98, 60)[0] == "human_approval"
    assert monitor.should_auto_apply_variant(*WHO, "v", 0.99, 60)[0] == "auto_apply"
    assert monitor.should_auto_apply_variant(*WHO, "v", 0.99, 49)[0] == "human_approval"
    assert monitor.should_auto_apply_variant(AGENT, "other", "v", 0.95, 60)[0] == "auto_apply"
    assert monitor.policy_of(AGENT, TASK).degradation.lookback_window == 40


def test_the_evidence_guard_can_be_asked_for(store: Store) -> None:
    record(store, "default", "S" * 25 + "F" * 4)
    plain, guarded = SafetyMonitor(), SafetyMonitor(degradation_guard="evidence")
    assert plain.check_performance_degradation(*WHO, "default")[0] is True
    degraded, metrics = guarded.check_performance_degradation(*WHO, "default")
    assert (degraded, metrics["verdict"]) == (False, "INCONCLUSIVE")
    assert "evidence" in metrics["reason"]
