"""What every detector has in common, found through the folder, and the guide's three thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from builders import a_command
from hypothesis import assume, given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.detectors import DETECTORS, Detector
from crl_stream.core.monitor.row import MICRO, Sums
from crl_stream.core.monitor.verdict import judge, metrics, rules_of, sentence
from crl_stream.core.policy import Degradation, Policy

from .task import Task, proven


@dataclass
class Kind:
    """How to make a detector's quantity: its field, whether more of it is better, the guide's limit."""

    field: str
    better: bool
    limit: Fraction
    unit: int


KINDS = {
    "success_rate": Kind("successes", True, Fraction(10, 100), 1),
    "avg_reward": Kind("reward", True, Fraction(15, 100), MICRO),
    "error_rate": Kind("errors", False, Fraction(20, 100), 1),
}
GUIDE = Degradation()
each = pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
sizes = st.integers(1, 400)


def some(detector: Detector, n: int, amount: int) -> Sums:
    """``n`` outcomes with so much of the detector's quantity and nothing else."""
    return Sums(n, **{KINDS[detector.name].field: amount})


def amounts(n: int, kind: Kind) -> Any:
    return st.integers(0, n * kind.unit)


def test_the_folder_holds_the_guides_three_metrics_in_order_of_ties() -> None:
    assert [detector.name for detector in DETECTORS] == ["success_rate", "avg_reward", "error_rate"]


@each
def test_the_default_limits_are_the_guides(detector: Detector) -> None:
    assert detector.limit(GUIDE) == KINDS[detector.name].limit * MICRO


@each
@given(st.data())
def test_a_detector_says_degraded_exactly_when_the_relative_change_exceeds_the_limit(
    detector: Detector, data: st.DataObject
) -> None:
    kind = KINDS[detector.name]
    before, recent = data.draw(sizes), data.draw(sizes)
    had = data.draw(st.integers(1, before * kind.unit))
    has = data.draw(amounts(recent, kind))
    baseline, window, limit = some(detector, before, had), some(detector, recent, has), detector.limit(GUIDE)
    found = detector.detect(baseline, window, limit)
    assert found is not None
    old, new = Fraction(had, before), Fraction(has, recent)
    change = (old - new) / old if kind.better else (new - old) / old
    assert detector.exceeds(baseline, window, limit) is (change > kind.limit)
    assert found.change == pytest.approx(float(change), rel=1e-9, abs=1e-12)
    assert found.excess == pytest.approx(float(change / kind.limit), rel=1e-9, abs=1e-9)


@each
@given(st.data())
def test_worse_is_never_judged_better(detector: Detector, data: st.DataObject) -> None:
    kind = KINDS[detector.name]
    before, recent = data.draw(sizes), data.draw(sizes)
    had = data.draw(st.integers(1, before * kind.unit))
    first, second = sorted(data.draw(st.tuples(amounts(recent, kind), amounts(recent, kind))), reverse=kind.better)
    baseline = some(detector, before, had)
    limit = detector.limit(GUIDE)
    better, worse = some(detector, recent, first), some(detector, recent, second)
    good, bad = detector.detect(baseline, better, limit), detector.detect(baseline, worse, limit)
    assert good is not None and bad is not None
    assert bad.change >= good.change
    assert bool(detector.exceeds(baseline, worse, limit)) >= bool(detector.exceeds(baseline, better, limit))


@each
def test_a_change_of_exactly_the_limit_is_healthy_and_the_least_more_is_not(detector: Detector) -> None:
    kind = KINDS[detector.name]
    n = 1000
    baseline = some(detector, n, n // 2 * kind.unit)
    limit = kind.limit if kind.better else -kind.limit
    edge = int(n // 2 * kind.unit * (1 - limit))
    step = -1 if kind.better else 1
    assert detector.exceeds(baseline, some(detector, n, edge), detector.limit(GUIDE)) is False
    assert detector.exceeds(baseline, some(detector, n, edge + step), detector.limit(GUIDE)) is True


@each
@given(sizes, sizes, st.data())
def test_a_baseline_of_zero_is_inconclusive(detector: Detector, before: int, recent: int, data: st.DataObject) -> None:
    has = data.draw(amounts(recent, KINDS[detector.name]))
    baseline, window = some(detector, before, 0), some(detector, recent, has)
    assert detector.exceeds(baseline, window, detector.limit(GUIDE)) is None
    assert detector.detect(baseline, window, detector.limit(GUIDE)) is None


@given(sizes, sizes, st.data())
def test_a_negative_mean_reward_is_inconclusive(before: int, recent: int, data: st.DataObject) -> None:
    detector = DETECTORS[1]
    lost = data.draw(st.integers(1, before * MICRO))
    has = data.draw(st.integers(-recent * MICRO, recent * MICRO))
    baseline, window = some(detector, before, -lost), some(detector, recent, has)
    assert detector.exceeds(baseline, window, detector.limit(GUIDE)) is None
    assert detector.detect(baseline, window, detector.limit(GUIDE)) is None


@each
@given(sizes, sizes, st.integers(2, 50), st.data())
def test_only_shares_count_not_how_many_outcomes_there_were(
    detector: Detector, before: int, recent: int, factor: int, data: st.DataObject
) -> None:
    kind = KINDS[detector.name]
    had, has = data.draw(st.integers(1, before * kind.unit)), data.draw(amounts(recent, kind))
    limit = detector.limit(GUIDE)
    few = some(detector, before, had), some(detector, recent, has)
    many = some(detector, before * factor, had * factor), some(detector, recent * factor, has * factor)
    once, more = detector.detect(*few, limit), detector.detect(*many, limit)
    assert once is not None and more is not None
    assert once.change == pytest.approx(more.change, rel=1e-12)
    assert detector.exceeds(*few, limit) is detector.exceeds(*many, limit)


@each
def test_a_limit_of_zero_is_allowed_and_any_worsening_exceeds_it(detector: Detector) -> None:
    kind = KINDS[detector.name]
    baseline = some(detector, 100, 50 * kind.unit)
    worse = some(detector, 100, (49 if kind.better else 51) * kind.unit)
    assert detector.exceeds(baseline, baseline, 0) is False
    assert detector.exceeds(baseline, worse, 0) is True
    found = detector.detect(baseline, worse, 0)
    assert found is not None and found.excess == found.change > 0


def test_the_guides_example_has_the_guides_words_and_figures() -> None:
    detector = DETECTORS[0]
    baseline, recent = Sums(100, 90, 10, 80 * MICRO, 0), Sums(20, 15, 5, 10 * MICRO, 0)
    found = detector.detect(baseline, recent, detector.limit(GUIDE))
    assert detector.exceeds(baseline, recent, detector.limit(GUIDE)) is True
    assert found is not None
    sentence_found = detector.describe(baseline, recent, found.change)
    assert sentence_found == "Success rate dropped from 90% to 75% (16.7% drop)"
    figures = {name: round(value, 3) for name, value in detector.measure(baseline, recent, found.change).items()}
    assert figures == {"baseline_success_rate": 0.90, "recent_success_rate": 0.75, "success_drop_pct": 0.167}


def test_the_other_metrics_speak_in_the_same_form() -> None:
    reward, errors = DETECTORS[1], DETECTORS[2]
    baseline, recent = Sums(100, 90, 10, 80 * MICRO, 0), Sums(20, 15, 5, 12 * MICRO, 0)
    assert reward.describe(baseline, recent, 0.25) == "Average reward dropped from 0.80 to 0.60 (25.0% drop)"
    assert errors.describe(baseline, recent, 1.5) == "Error rate increased from 10% to 25% (150.0% increase)"
    names = [name for detector in DETECTORS for name in detector.measure(baseline, recent, 0.1)]
    assert names == [
        "baseline_success_rate",
        "recent_success_rate",
        "success_drop_pct",
        "baseline_avg_reward",
        "recent_avg_reward",
        "reward_drop_pct",
        "baseline_error_rate",
        "recent_error_rate",
        "error_increase_pct",
    ]


# -- the verdict made of them ----------------------------------------------------------------------
def test_nothing_is_judged_below_20_outcomes_or_below_10_since_the_activation() -> None:
    task, rules = Task(), rules_of(Policy())
    task.run("default", "S" * 10 + "F" * 9)
    assert judge(task.variant("default"), rules).kind == "INCONCLUSIVE"
    assert sentence(task.variant("default"), judge(task.variant("default"), rules), rules).startswith("Too little data")
    task.run("default", "F")
    assert judge(task.variant("default"), rules).kind != "INCONCLUSIVE"

    task = proven(api_optimized="S" * 30)
    task.order(m.ActivateVariant, variant_id="api-optimized")
    task.run("api-optimized", "F" * 9)
    assert judge(task.variant("api-optimized"), rules).kind == "INCONCLUSIVE"
    task.run("api-optimized", "F")
    assert len(task.stated(m.RollbackEvent)) == 1


def test_the_worst_metric_in_multiples_of_its_own_limit_names_the_degradation() -> None:
    task = proven()
    variant, rules = task.variant("default"), rules_of(Policy())
    variant.life, variant.judged = Sums(100, 90, 10, 80 * MICRO, 0), Sums(20, 15, 5, 15 * MICRO, 0)
    verdict = judge(variant, rules)
    assert verdict.kind == "DEGRADED"
    assert verdict.worst is not None and verdict.worst.name == "error_rate"
    figures = metrics(variant, verdict)
    assert list(figures)[:3] == ["baseline_error_rate", "recent_error_rate", "error_increase_pct"]
    assert list(figures)[-1] == "sample_size"
    assert figures["sample_size"] == 20


def test_a_baseline_without_success_reward_or_error_leaves_nothing_to_compare_with() -> None:
    policy = Policy(degradation=Degradation(lookback_window=50))  # not full yet: no absolute alarm
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
