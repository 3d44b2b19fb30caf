"""The properties that all detectors in the folder share, and the guide's three thresholds."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core.monitor import evidence
from crl_stream.core.monitor.detector import Detector
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.row import ERROR, JUDGED, MICRO, SUCCESS, WEIGHED, Frozen, Sums, Variant
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import DEGRADED, is_suspect, judge
from crl_stream.core.policy import Degradation, Policy
from crl_stream.settings.model import leaves

each = pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
sizes = st.integers(1, 400)
GUIDE = Degradation()


def limit_of(detector: Detector) -> Fraction:
    """Return the default limit as the exact decimal that was written."""
    return Fraction(str(detector.setting.default))


def amounts(detector: Detector, n: int) -> Any:
    """Return a strategy for the totals that ``n`` outcomes can have in the quantity that the detector measures."""
    return st.integers(0, n * detector.case.most)


# -- the detectors in the folder -------------------------------------------------------------------
def test_the_guides_three_metrics_come_first_in_the_order_of_ties_with_the_guides_limits() -> None:
    found = [(detector.name, detector.limit(GUIDE)) for detector in DETECTORS[:3]]
    assert found == [("success_rate", 100_000), ("avg_reward", 150_000), ("error_rate", 200_000)]


@each
def test_a_detectors_limit_is_a_setting_with_the_range_and_default_that_the_detector_declares(
    detector: Detector,
) -> None:
    name, _, default, least, most = detector.setting
    assert leaves()[f"degradation.{name}"] == default
    for value in (least, most):
        assert getattr(msgspec.convert({name: value}, Degradation), name) == value
    for value in (least - 0.001, most * 1.001):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({name: value}, Degradation)


# -- what every detector must do -------------------------------------------------------------------
@each
@given(st.data())
def test_a_detector_says_degraded_exactly_when_the_relative_change_exceeds_the_limit(
    detector: Detector, data: st.DataObject
) -> None:
    case = detector.case
    before, recent = data.draw(sizes), data.draw(sizes)
    had = data.draw(st.integers(1, before * case.most))
    has = data.draw(amounts(detector, recent))
    baseline, window, limit = case.sums(before, had), case.sums(recent, has), detector.limit(GUIDE)
    found = detector.detect(baseline, window)
    assert found is not None
    old, new = Fraction(had, before), Fraction(has, recent)
    change = (old - new) / old if case.better else (new - old) / old
    assert detector.exceeds(baseline, window, limit) is (change > limit_of(detector))
    assert found.change == pytest.approx(float(change), rel=1e-9, abs=1e-12)
    assert found.lost == pytest.approx(float(abs(old - new) * recent / detector.whole) * (1 if change > 0 else -1))


@each
@given(st.data())
def test_worse_is_never_judged_better(detector: Detector, data: st.DataObject) -> None:
    case = detector.case
    before, recent = data.draw(sizes), data.draw(sizes)
    had = data.draw(st.integers(1, before * case.most))
    drawn = data.draw(st.tuples(amounts(detector, recent), amounts(detector, recent)))
    first, second = sorted(drawn, reverse=case.better)
    baseline, limit = case.sums(before, had), detector.limit(GUIDE)
    better, worse = case.sums(recent, first), case.sums(recent, second)
    good, bad = detector.detect(baseline, better), detector.detect(baseline, worse)
    assert good is not None and bad is not None
    assert bad.change >= good.change
    assert bool(detector.exceeds(baseline, worse, limit)) >= bool(detector.exceeds(baseline, better, limit))


@each
def test_a_change_of_exactly_the_limit_is_healthy_and_the_least_more_is_not(detector: Detector) -> None:
    case, n = detector.case, 1000
    baseline = case.sums(n, n // 2 * case.most)
    edge = n // 2 * case.most * (1 - limit_of(detector) if case.better else 1 + limit_of(detector))
    assert edge.denominator == 1
    step = -1 if case.better else 1
    assert detector.exceeds(baseline, case.sums(n, int(edge)), detector.limit(GUIDE)) is False
    assert detector.exceeds(baseline, case.sums(n, int(edge) + step), detector.limit(GUIDE)) is True


@each
@given(st.data(), st.integers(1, 3 * MICRO))
def test_a_floor_demands_a_loss_of_so_many_outcomes_and_makes_every_baseline_comparable(
    detector: Detector, data: st.DataObject, floor: int
) -> None:
    case = detector.case
    before, recent = data.draw(sizes), data.draw(sizes)
    least = -case.most if detector.name == "avg_reward" else 0
    had = data.draw(st.integers(before * least, before * case.most))
    has = data.draw(st.integers(recent * least, recent * case.most))
    baseline, window, limit = case.sums(before, had), case.sums(recent, has), detector.limit(GUIDE)
    old, new = Fraction(had, before), Fraction(has, recent)
    worse = old - new if case.better else new - old
    enough = worse * recent / detector.whole >= Fraction(floor, MICRO)
    assert detector.exceeds(baseline, window, limit, floor) is (worse > limit_of(detector) * abs(old) and enough)
    found = detector.detect(baseline, window, floored=True)
    assert found is not None
    assert found.lost == pytest.approx(float(worse * recent / detector.whole))
    if old:
        assert found.change == pytest.approx(float(worse / abs(old)))
    if detector.exceeds(baseline, window, limit, floor):
        # If the old figure is not positive, the text has no percentage, which would be meaningless.
        words = detector.describe(baseline, window, found.change)
        assert old > 0 or "%)" not in words


@each
@given(sizes, sizes, st.data())
def test_after_a_baseline_of_zero_a_window_is_degraded_only_if_it_loses_a_larger_share_than_the_limit(
    detector: Detector, before: int, recent: int, data: st.DataObject
) -> None:
    """Otherwise there is nothing to compare with, so the detector alone never finds such a variant healthy."""
    case = detector.case
    has = data.draw(amounts(detector, recent))
    baseline, window = case.sums(before, 0), case.sums(recent, has)
    lost = Fraction(-has if case.better else has, detector.whole * recent)
    expected = True if lost > limit_of(detector) else None
    assert detector.exceeds(baseline, window, detector.limit(GUIDE)) is expected
    assert detector.detect(baseline, window) is None


@given(sizes, sizes, st.data())
def test_after_a_negative_mean_reward_a_drop_counts_as_a_share_of_the_whole_scale(
    before: int, recent: int, data: st.DataObject
) -> None:
    detector = DETECTORS[1]
    lost = data.draw(st.integers(1, before * MICRO))
    has = data.draw(st.integers(-recent * MICRO, recent * MICRO))
    baseline, window = detector.case.sums(before, -lost), detector.case.sums(recent, has)
    drop = (Fraction(-lost, before) - Fraction(has, recent)) / (2 * MICRO)
    assert detector.exceeds(baseline, window, detector.limit(GUIDE)) is (True if drop > limit_of(detector) else None)
    assert detector.detect(baseline, window) is None


@each
@given(sizes, sizes, st.integers(2, 50), st.data())
def test_only_shares_count_not_how_many_outcomes_there_were(
    detector: Detector, before: int, recent: int, factor: int, data: st.DataObject
) -> None:
    case, limit = detector.case, detector.limit(GUIDE)
    had, has = data.draw(st.integers(1, before * case.most)), data.draw(amounts(detector, recent))
    few = case.sums(before, had), case.sums(recent, has)
    many = case.sums(before * factor, had * factor), case.sums(recent * factor, has * factor)
    once, more = detector.detect(*few), detector.detect(*many)
    assert once is not None and more is not None
    assert once.change == pytest.approx(more.change, rel=1e-12)
    assert detector.exceeds(*few, limit) is detector.exceeds(*many, limit)


@each
def test_a_limit_of_zero_is_allowed_and_any_worsening_exceeds_it(detector: Detector) -> None:
    case = detector.case
    baseline = case.sums(100, 50 * case.most)
    worse = case.sums(100, (49 if case.better else 51) * case.most)
    assert detector.exceeds(baseline, baseline, 0) is False
    assert detector.exceeds(baseline, worse, 0) is True
    found = detector.detect(baseline, worse)
    assert found is not None and found.change > 0 and found.lost > 0


@each
@given(st.data())
def test_a_detector_looks_at_nothing_but_the_sums_that_it_names(detector: Detector, data: st.DataObject) -> None:
    """A late score does not recompute the evidence of a detector whose sums do not include rewards."""
    baseline, recent = (_some_sums(data) for _ in range(2))
    others = (
        _some_sums(data, {name: getattr(one, name) for name in ("n", *detector.sums)}) for one in (baseline, recent)
    )
    other_baseline, other_recent = others
    found, reward, claims = (1.0, 2.0, 3.0), data.draw(st.integers(-MICRO, MICRO)), detector.claims(0.1, 0.05)
    flags = data.draw(st.sampled_from([SUCCESS, 0, ERROR, SUCCESS | ERROR]))
    other_reward = reward if detector.is_amended else data.draw(st.integers(-MICRO, MICRO))
    assert detector.worsening(baseline, recent) == detector.worsening(other_baseline, other_recent)
    assert detector.figure(baseline) == detector.figure(other_baseline)
    assert detector.describe(baseline, recent, 0.5) == detector.describe(other_baseline, other_recent, 0.5)
    assert detector.weigh(found, reward, flags, baseline, claims) == detector.weigh(
        found, other_reward, flags, other_baseline, claims
    )


def _some_sums(data: st.DataObject, fixed: dict[str, int] | None = None) -> Sums:
    n = fixed["n"] if fixed else data.draw(sizes)
    successes, errors = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    reward = data.draw(st.integers(-n * MICRO, n * MICRO))
    squares = data.draw(st.integers(0, n * MICRO))
    return msgspec.structs.replace(Sums(n, successes, errors, reward, squares), **(fixed or {}))


@each
def test_a_detectors_example_has_its_words_and_its_figures(detector: Detector) -> None:
    baseline, recent, words, figures = detector.case.example
    found = detector.detect(baseline, recent)
    assert detector.exceeds(baseline, recent, detector.limit(GUIDE)) is True
    assert found is not None
    assert detector.describe(baseline, recent, found.change) == words
    shown = detector.measure(baseline, recent, found.change)
    assert {name: round(value, 3) for name, value in shown.items()} == figures
    assert list(shown) == [f"baseline_{detector.name}", f"recent_{detector.name}", detector.change]
    assert list(detector.measure(baseline, recent, None)) == list(shown)[:2]


def test_the_guides_example_has_the_guides_words_and_figures() -> None:
    baseline, recent = Sums(100, 90, 10, 80 * MICRO, 0), Sums(20, 15, 5, 10 * MICRO, 0)
    found = DETECTORS[0].detect(baseline, recent)
    assert found is not None
    assert DETECTORS[0].describe(baseline, recent, found.change) == "Success rate dropped from 90% to 75% (16.7% drop)"
    figures = DETECTORS[0].measure(baseline, recent, found.change)
    assert {name: round(value, 3) for name, value in figures.items()} == {
        "baseline_success_rate": 0.90,
        "recent_success_rate": 0.75,
        "success_drop_pct": 0.167,
    }


# -- the evidence from each detector ---------------------------------------------------------------
SHARE = 0.8
"""The share of good outcomes in the baseline."""


def mixture(detector: Detector, n: int) -> Sums:
    """Build a baseline of good and bad outcomes, with ``SHARE`` of them good."""
    kinds = [(SHARE, *detector.case.good), (1.0 - SHARE, *detector.case.bad)]
    return Sums(
        n,
        round(n * sum(part for part, _, flags in kinds if flags & SUCCESS)),
        round(n * sum(part for part, _, flags in kinds if flags & ERROR)),
        round(n * sum(part * reward for part, reward, _ in kinds)),
        round(n * sum(part * reward * reward / MICRO for part, reward, _ in kinds)),
    )


@each
def test_bad_outcomes_are_evidence_and_good_ones_are_none(detector: Detector) -> None:
    claims, good, bad = detector.claims(detector.setting.default, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    baseline = mixture(detector, 400)
    for _ in range(40):
        good = detector.weigh(good, *detector.case.good, baseline, claims)
        bad = detector.weigh(bad, *detector.case.bad, baseline, claims)
    assert sum(good) / 3.0 < 20
    assert sum(bad) / 3.0 > 6_250


@each
def test_outcomes_as_before_are_taken_for_worse_ones_no_more_often_than_the_budget_allows(detector: Detector) -> None:
    case, random, budget, steps = detector.case, Random(detector.name), 200, 20_000
    baseline = mixture(detector, 100_000)
    claims, found, alarms = detector.claims(detector.setting.default, 0.0), (0.0, 0.0, 0.0), 0
    for _ in range(steps):
        found = detector.weigh(found, *(case.good if random.random() < SHARE else case.bad), baseline, claims)
        assert min(found) >= 0.0
        if sum(found) / 3.0 >= evidence.MARGIN * budget:
            found, alarms = (0.0, 0.0, 0.0), alarms + 1
    assert alarms <= 1.5 * steps / budget


# -- arithmetic that is inlined for speed ----------------------------------------------------------
@settings(deadline=None)
@given(st.data())
def test_the_arithmetic_that_is_written_out_for_every_outcome_is_the_detectors_own_to_the_last_bit(
    data: st.DataObject,
) -> None:
    limits = {
        found.setting.name: data.draw(st.sampled_from([0.0, 0.01, found.setting.default, 0.7])) for found in DETECTORS
    }
    floors = {found.floor.name: data.draw(st.sampled_from([0.0, 1.0, 7.5])) for found in DETECTORS}
    claims = evidence.Claims(msgspec.convert(limits | floors, Degradation))
    # A newcomer without outcomes is compared with the lifetime of the variant that it replaced; the sums can be
    # anything.
    before = _some_sums(data)
    statistics = st.floats(0, 1e30) | st.floats(0, 1e6)
    found = data.draw(st.lists(statistics, min_size=evidence.PLACES, max_size=evidence.PLACES))
    variant = Variant("v2", baseline=Frozen("default", before), evidence=list(found))
    reward = data.draw(st.integers(-MICRO, MICRO))
    flags = JUDGED | data.draw(st.sampled_from([SUCCESS, 0, ERROR, SUCCESS | ERROR]))
    assert evidence.update(variant, reward, flags, 20, claims) == WEIGHED
    assert variant.evidence == evidence.weigh_all(found, reward, flags, before, claims)


@given(st.data())
def test_a_variant_is_suspect_exactly_when_a_detector_says_so(data: st.DataObject) -> None:
    limits = {
        found.setting.name: data.draw(st.sampled_from([0.0, found.setting.default, 0.7, 1.0])) for found in DETECTORS
    }
    floors = {found.floor.name: data.draw(st.sampled_from([0.0, 0.0, 0.5, 2.0])) for found in DETECTORS}
    others = {"min_baseline": 1, "min_recent": 1, "lookback_window": 1000}
    degradation = msgspec.convert(limits | floors | others, Degradation)
    life, judged = _some_sums(data), _some_sums(data)
    variant = Variant("default", life=life, judged=judged)
    said = any(
        found.exceeds(life, judged, found.limit(degradation), round(found.floor_of(degradation) * MICRO))
        for found in DETECTORS
    )
    assert is_suspect(variant, rules_of(Policy(degradation=degradation))) is said


def test_a_variant_is_suspect_exactly_when_the_judge_would_find_it_degraded_but_for_the_evidence() -> None:
    """Windows are small, so that some meet each limit on their size exactly; there are baselines of every kind."""
    random, said = Random(0), Counter[bool]()

    def sums(n: int) -> Sums:
        return Sums(n, random.randint(0, n), random.randint(0, n), random.randint(-n, n) * MICRO, n * MICRO)

    for _ in range(4_000):
        judged, before = sums(random.randint(0, 6)), sums(random.randint(0, 6))
        both = zip(msgspec.structs.astuple(judged), msgspec.structs.astuple(before), strict=True)
        frozen = Frozen("default", sums(random.randint(0, 6))) if random.random() < 0.5 else None
        variant = Variant("v2", life=Sums(*map(sum, both)), judged=judged, baseline=frozen)
        degradation = Degradation(
            lookback_window=random.randint(2, 6),
            min_baseline=random.randint(1, 6),
            min_recent=random.randint(1, 6),
            baseline=random.choice(("lifetime", "before_window", "recent")),
            success_floor=random.choice((0.0, 1.0)),
            reward_floor=random.choice((0.0, 0.5)),
            error_floor=random.choice((0.0, 1.0)),
            guard="evidence",
        )
        rules = rules_of(Policy(degradation=degradation))
        verdict = judge(variant, rules)
        degraded = verdict.rule == DEGRADED or verdict.absolute
        assert is_suspect(variant, rules) is degraded, (variant, degradation)
        said[degraded] += 1
    assert min(said.values()) > 400


@pytest.mark.parametrize(
    ("baseline", "judged"),
    [(Sums(2, 2, 1, 2), Sums(1, 1, 1, 1)), (Sums(2, 2, 0, 1), Sums(1, 1, 0, 0))],
    ids=["one error", "a millionth of reward"],
)
def test_the_smallest_possible_baseline_is_compared_with(baseline: Sums, judged: Sums) -> None:
    rules = rules_of(Policy(degradation=Degradation(min_baseline=1, min_recent=1)))
    assert is_suspect(Variant("v2", life=baseline, judged=judged), rules)


def test_a_fourth_detector_makes_a_variant_suspect_alone() -> None:
    rules = rules_of(Policy(degradation=Degradation(success_drop=1.0)))
    variant = Variant("v2", life=Sums(100, 100), judged=Sums(20, 10))
    assert not is_suspect(variant, rules)
    for limit, suspect in ((MICRO // 2, False), (MICRO // 2 - 1, True)):
        rules.further = ((DETECTORS[0], limit, 0),)
        assert is_suspect(variant, rules) is suspect


@each
def test_a_variant_at_exactly_a_limit_is_not_suspect_and_one_just_beyond_it_is(detector: Detector) -> None:
    case, n = detector.case, 500
    rules = rules_of(Policy(degradation=Degradation(lookback_window=1000)))
    edge = n // 2 * case.most * (1 - limit_of(detector) if case.better else 1 + limit_of(detector))
    life, step = case.sums(n, n // 2 * case.most), -1 if case.better else 1
    assert not is_suspect(Variant("v2", life=life, judged=case.sums(n, int(edge))), rules)
    assert is_suspect(Variant("v2", life=life, judged=case.sums(n, int(edge) + step)), rules)


def test_a_row_of_an_engine_with_other_detectors_is_read_and_what_it_lacks_is_zero() -> None:
    claims = evidence.Claims(GUIDE)
    life = Sums(1_000, 900, 10, 700 * MICRO, 600 * MICRO)
    rows = [[1.0] * evidence.PLACES + [9.0] * 3, [1.0] * evidence.PLACES]
    known, same = (Variant("v2", life=msgspec.structs.replace(life), evidence=found) for found in rows)
    for variant in (known, same):
        evidence.update(variant, MICRO, SUCCESS | JUDGED, 20, claims)
    assert known.evidence == same.evidence
    assert len(known.evidence) == evidence.PLACES
    fewer = Variant("v2", evidence=[3.0] * 6)
    assert evidence.by_metric(fewer) == {found.name: 3.0 if at < 2 else 0.0 for at, found in enumerate(DETECTORS)}
    assert evidence.e_value(fewer) == 18.0 / evidence.PLACES
