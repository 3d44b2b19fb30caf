"""Evidence: the e-SR statistic, which bounds how often a healthy variant is taken for a degraded one.

Each detector follows three alternatives (``likelihood``); the e-value is the mean over all, which under any dependence
between the metrics reaches A after A outcomes or more on average while nothing changes.

Each likelihood ratio is computed from counts that do not hold the outcome itself.  A late reward rewrites the evidence
as far as the window goes back, as it does Q.

In a row stand three statistics for each detector, in the order of the detectors; those that a row does not have yet
are 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.likelihood import CEILING, FADING, Triple, lower
from crl_stream.core.monitor.row import ERROR, MICRO, OUTCOME, SUCCESS, WEIGHED, Sums, Variant
from crl_stream.core.policy import Degradation

MIN_LIFETIME: Final = 40
"""Outcomes a variant's own lifetime needs before it serves as a baseline."""
MARGIN: Final = 1.25
"""Measured: with A = 1.25 times the budget the mean run to a false alarm keeps the budget at every rate."""
PLACES: Final = 3 * len(DETECTORS)
"""Statistics in the evidence of a variant."""
WRITTEN_OUT: Final = 3
"""Detectors, the first ones, whose arithmetic ``update`` and ``verdict.is_suspect`` have without a call."""
assert [found.name for found in DETECTORS[:WRITTEN_OUT]] == ["success_rate", "avg_reward", "error_rate"]
_FURTHER: Final = len(DETECTORS) > WRITTEN_OUT
_AMENDED: Final = tuple((place, detector) for place, detector in enumerate(DETECTORS) if detector.is_amended)
"""The detectors, with their places, whose evidence a late reward changes; in ``reward_start`` they stand in this order.
"""
AMENDED_PLACES: Final = 3 * len(_AMENDED)
"""Statistics in ``reward_start``."""


class Claims:
    """What the alternatives of each detector claim under a policy."""

    __slots__ = ("each", "errors", "rewards", "successes")

    def __init__(self, degradation: Degradation) -> None:
        self.each: tuple[Triple, ...] = tuple(
            [detector.claims(detector.value_of(degradation)) for detector in DETECTORS]
        )
        self.successes: Triple = self.each[0]
        self.rewards: Triple = self.each[1]
        self.errors: Triple = self.each[2]


def threshold(degradation: Degradation) -> float:
    """The e-value A that counts as evidence.

    >>> threshold(Degradation(false_alarm_budget=5_000))
    6250.0
    """
    return MARGIN * degradation.false_alarm_budget


def update(variant: Variant, reward: int, flags: int, window: int, claims: Claims) -> int:
    """Take one judged outcome into the evidence, before lifetime and window take it in.

    It is compared with the lifetime without the judged window, a newcomer's together with the replaced variant's; until
    a lifetime that stands alone is five windows long the window stays in it, and below ``MIN_LIFETIME`` outcomes there
    is no baseline.

    Args:
        variant: Whose evidence it is; changed in place.
        reward: Of the outcome, in millionths, -1,000,000 to 1,000,000.
        flags: Of the outcome, as in ``row``; ``JUDGED`` is among them.
        window: Outcomes that a window holds, 2 to 1,000.
        claims: What the alternatives claim under the policy.

    Returns:
        The flag ``WEIGHED``, or 0 where there is no baseline.

    Since it runs for every outcome, what the detectors of the guide do with ``fewer`` and ``oftener`` is written out
    here without calls, which would cost a tenth of a step.  ``weigh_all`` is the same as they declare it, and a
    property test holds the two together to the last bit.
    """
    frozen = variant.baseline
    base = variant.life if frozen is None else frozen.sums
    n, successes, errors, rewards, squares = base.n, base.successes, base.errors, base.reward, base.squares
    judged = variant.judged
    if frozen is None:
        if n < MIN_LIFETIME:
            return 0
        if n >= 5 * window:
            n, successes, errors = n - judged.n, successes - judged.successes, errors - judged.errors
            rewards, squares = rewards - judged.reward, squares - judged.squares
    else:
        # Frozen and alone it would be wrong for ever by as much as chance had it.
        own = variant.life
        n, successes = n + own.n - judged.n, successes + own.successes - judged.successes
        errors, rewards = errors + own.errors - judged.errors, rewards + own.reward - judged.reward
        squares += own.squares - judged.squares
    if n == 0:
        return 0
    try:
        s1, s2, s3, r1, r2, r3, e1, e2, e3 = variant.evidence[:9] if _FURTHER else variant.evidence
    except ValueError:  # an engine with other detectors has written it
        s1, s2, s3, r1, r2, r3, e1, e2, e3 = _fitting(variant.evidence)[:9]
    d1, d2, d3 = claims.successes
    if flags & SUCCESS:
        s1, s2, s3 = (s1 + 1.0) * (1.0 - d1), (s2 + 1.0) * (1.0 - d2), (s3 + 1.0) * (1.0 - d3)
    else:
        rate = (successes + 0.5) / (n + 1)
        rate = 0.001 if rate < 0.001 else 0.9999 if rate > 0.9999 else rate
        odds = rate / (1.0 - rate)
        s1, s2, s3 = (
            (s1 + 1.0) * (FADING + d1 * odds),
            (s2 + 1.0) * (FADING + d2 * odds),
            (s3 + 1.0) * (FADING + d3 * odds),
        )

    r1, r2, r3 = lower((r1, r2, r3), reward, n, rewards, squares, claims.rewards)

    rate = (errors + 0.5) / (n + 1)
    rate = 0.001 if rate < 0.001 else 0.9999 if rate > 0.9999 else rate
    cap = (1.0 + rate) / 2.0
    t1, t2, t3 = claims.errors
    w1, w2, w3 = rate * t1, rate * t2, rate * t3
    w1, w2, w3 = w1 if w1 < cap else cap, w2 if w2 < cap else cap, w3 if w3 < cap else cap
    if flags & ERROR:
        e1, e2, e3 = (e1 + 1.0) * w1 / rate, (e2 + 1.0) * w2 / rate, (e3 + 1.0) * w3 / rate
    else:
        rest = 1.0 - rate
        e1, e2, e3 = (
            (e1 + 1.0) * (1.0 - w1) / rest,
            (e2 + 1.0) * (1.0 - w2) / rest,
            (e3 + 1.0) * (1.0 - w3) / rest,
        )
    found = [s1, s2, s3, r1, r2, r3, e1, e2, e3]
    # None is negative: one look at their sum tells that all are below.
    if not s1 + s2 + s3 + r1 + r2 + r3 + e1 + e2 + e3 < CEILING:
        found = [value if value < CEILING else CEILING for value in found]
    if _FURTHER:
        before = Sums(n, successes, errors, rewards, squares)
        found += weigh_all(variant.evidence, reward, flags, before, claims, first=WRITTEN_OUT)
    variant.evidence = found
    return WEIGHED


def weigh_all(
    found: list[float], reward: int, flags: int, baseline: Sums, claims: Claims, first: int = 0
) -> list[float]:
    """The statistics of all detectors from place ``first`` on after one more outcome, each as its file declares it.

    Args:
        found: The statistics before, three for each detector in their order; those that are missing are 0.
        reward: Of the outcome, in millionths.
        flags: Of the outcome, as in ``row``.
        baseline: What the outcome is compared with, itself not included; ``n`` is at least 1.
        claims: What the alternatives claim under the policy.
        first: Place of the first detector to ask, 0 or more.
    """
    found, weighed = _fitting(found), list[float]()
    for place in range(first, len(DETECTORS)):
        detector = DETECTORS[place]
        r1, r2, r3 = found[3 * place : 3 * place + 3]
        weighed += _bounded(detector.weigh((r1, r2, r3), reward, flags, baseline, claims.each[place]))
    return weighed


def _fitting(found: list[float]) -> list[float]:
    """As many statistics as there are detectors: a row may have been written by an engine with fewer, or with more."""
    return (found + [0.0] * PLACES)[:PLACES]


def carry(variant: Variant, start: list[float], reward: int, flags: int, claims: Claims) -> list[float]:
    """The statistics of the window's start, once the oldest judged outcome, still in the window, has left it.

    Its baseline is what came before the judged window, to which it still belongs.

    Args:
        variant: Whose window it is.
        start: Three statistics for each detector that rewards change, in their order.
        reward: Of the outcome that leaves, in millionths.
        flags: Of that outcome, as in ``row``.
        claims: What the alternatives claim under the policy.
    """
    before = _before_window(variant)
    return _bounded(_follow_reward(start, reward, flags, before, claims)) if before.n else start


def _follow_reward(found: list[float], reward: int, flags: int, baseline: Sums, claims: Claims) -> list[float]:
    """The statistics of the detectors that rewards change after one more outcome."""
    weighed = list[float]()
    for number, (place, detector) in enumerate(_AMENDED):
        at = 3 * number
        # A row that was written before there was such a detector ends here.
        r1, r2, r3 = found[at : at + 3] if len(found) > at else (0.0, 0.0, 0.0)
        weighed += detector.weigh((r1, r2, r3), reward, flags, baseline, claims.each[place])
    return weighed


def reweigh(variant: Variant, window: int, claims: Claims) -> None:
    """Follow the rewards over the window again, from the statistics of its start: one of them has been amended.

    Success and error are never amended.  While the lifetime is shorter than five windows, and as long as a newcomer has
    no more than one, the baseline of each outcome is the one it had.  Afterwards it is for all of them what came
    before the window, at most one window newer: still without the outcome, hence as safe.

    The statistics of the start are kept from the first amendment on, as most tasks know of none.  That one takes them
    for 0, whatever has left the window by then: less evidence than there was, never more.

    Args:
        variant: Whose evidence it is; changed in place.
        window: Outcomes that a window holds, 2 to 1,000.
        claims: What the alternatives claim under the policy.
    """
    life, alone = variant.life, variant.baseline is None
    fixed = _before_window(variant)
    outcomes = list(OUTCOME.iter_unpack(variant.window))
    so_far = Sums(
        life.n - len(outcomes),
        life.successes - sum(outcome[6] & SUCCESS for outcome in outcomes),
        life.errors - sum((outcome[6] & ERROR) >> 1 for outcome in outcomes),
        life.reward - sum(outcome[2] for outcome in outcomes),
        life.squares - sum(outcome[2] * outcome[2] // MICRO for outcome in outcomes),
    )
    if variant.reward_start is None:
        variant.reward_start = [0.0] * (3 * len(_AMENDED))
    found = variant.reward_start
    for outcome in outcomes:
        reward, flags = outcome[2], outcome[6]
        if flags & WEIGHED:
            baseline = so_far if alone and so_far.n < 5 * window else fixed
            if baseline.n:
                found = _follow_reward(found, reward, flags, baseline, claims)
        so_far.n += 1
        so_far.successes += flags & SUCCESS
        so_far.errors += (flags & ERROR) >> 1
        so_far.reward += reward
        so_far.squares += reward * reward // MICRO
    variant.evidence = _fitting(variant.evidence)
    for number, (place, _) in enumerate(_AMENDED):
        variant.evidence[3 * place : 3 * place + 3] = _bounded(found[3 * number : 3 * number + 3])


def _bounded(found: Iterable[float]) -> list[float]:
    return [value if value < CEILING else CEILING for value in found]


def _before_window(variant: Variant) -> Sums:
    """All that a judged outcome of the window may be compared with."""
    life, judged = variant.life, variant.judged
    before = Sums(
        life.n - judged.n,
        life.successes - judged.successes,
        life.errors - judged.errors,
        life.reward - judged.reward,
        life.squares - judged.squares,
    )
    if variant.baseline is not None:
        frozen = variant.baseline.sums
        before.n += frozen.n
        before.successes += frozen.successes
        before.errors += frozen.errors
        before.reward += frozen.reward
        before.squares += frozen.squares
    return before


def by_metric(variant: Variant) -> dict[str, float]:
    """The e-value of each metric: the mean of its alternatives.

    >>> by_metric(Variant("v2", evidence=[1.0, 2.0, 6.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0]))
    {'success_rate': 3.0, 'avg_reward': 0.0, 'error_rate': 4.0}
    """
    r = _fitting(variant.evidence)
    return {
        detector.name: (r[3 * place] + r[3 * place + 1] + r[3 * place + 2]) / 3.0
        for place, detector in enumerate(DETECTORS)
    }


def e_value(variant: Variant) -> float:
    """The mean over all metrics; a mean of e-detectors is one, however they depend on each other.

    >>> e_value(Variant("v2", evidence=[1.0, 2.0, 6.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0]))
    2.3333333333333335
    """
    total = 0.0
    for value in variant.evidence[:PLACES]:
        # One after the other: what sum() makes of floats is another from Python 3.12 on.
        total += value
    return total / PLACES
