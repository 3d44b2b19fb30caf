"""Evidence: the e-SR statistic, which bounds how often a healthy variant is mistaken for a degraded one.

Each detector follows three alternatives (``likelihood``).  The e-value is the mean over all of them.  While nothing
changes, the e-value takes at least A outcomes on average to reach A, however the metrics depend on each other.

Each likelihood ratio is computed from counts that do not include the outcome itself.  A late reward changes the
evidence as far back as the window goes, just as it changes Q.

A row holds three statistics for each detector, in the order of the detectors.  Statistics that a row does not have
yet count as 0.
"""

# Over 300 lines because evidence is one subject: adding outcomes, recomputing after late rewards, and the e-value.

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.baseline import FEWEST, before_window, lifetime_of, recent_or_long
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.likelihood import CEILING, FADING, Claim, Triple, lower
from crl_stream.core.monitor.row import ERROR, MICRO, OUTCOME, SUCCESS, WEIGHED, Sums, Variant
from crl_stream.core.policy import Degradation

MIN_LIFETIME: Final = 40
"""How many outcomes a variant's own lifetime needs before it serves as a baseline."""
MARGIN: Final = 1.25
"""Factor from the budget to A; measured: with this factor, the mean time to a false alarm meets the budget."""
PLACES: Final = 3 * len(DETECTORS)
"""Number of statistics in a variant's evidence."""
WRITTEN_OUT: Final = 3
"""Number of detectors, from the first, whose arithmetic is inlined in ``update`` and ``verdict.is_suspect``."""
assert [found.name for found in DETECTORS[:WRITTEN_OUT]] == ["success_rate", "avg_reward", "error_rate"]
_FURTHER: Final = len(DETECTORS) > WRITTEN_OUT
_REWARD: Final = 1
"""Place of ``avg_reward``, the only inlined detector whose evidence a late reward changes."""
_LATE: Final = tuple(place for place in range(WRITTEN_OUT, len(DETECTORS)) if DETECTORS[place].is_amended)
"""Places of the other detectors that late rewards change; in ``reward_start`` they follow ``avg_reward`` in order."""
AMENDED_PLACES: Final = 3 + 3 * len(_LATE)
"""Number of statistics in ``reward_start``."""


class Claims:
    """The changes that each detector's alternatives claim under a policy (``likelihood``)."""

    __slots__ = ("each", "errors", "rewards", "successes")

    def __init__(self, degradation: Degradation) -> None:
        size = degradation.lookback_window
        self.each: tuple[Claim, ...] = tuple(
            [
                detector.claims(detector.value_of(degradation), detector.floor_of(degradation) / size)
                for detector in DETECTORS
            ]
        )
        self.successes: Claim = self.each[0]
        self.rewards: Claim = self.each[1]
        self.errors: Claim = self.each[2]


def threshold(degradation: Degradation) -> float:
    """Return the e-value A that counts as evidence.

    >>> threshold(Degradation(false_alarm_budget=5_000))
    6250.0
    """
    return MARGIN * degradation.false_alarm_budget


def update(variant: Variant, reward: int, flags: int, window: int, claims: Claims, enough: int = 0) -> int:
    """Add one judged outcome to the evidence, before lifetime and window; return ``WEIGHED``, or 0 without a baseline.

    ``reward`` is in millionths (-1,000,000 to 1,000,000), ``window`` in outcomes (2 to 1,000), ``flags`` as in ``row``.
    The baseline is the lifetime without the judged window; for a newcomer, that of the replaced variant is added.  Any
    other variant needs ``MIN_LIFETIME`` outcomes; until these fill five windows, the judged window is included.
    With the baseline ``recent``, the recent past takes the place of the lifetime, and a variant is no longer a newcomer
    once its own past has ``enough`` outcomes; with the other baselines, ``enough`` is 0.
    """
    # Inlined, because it runs for every outcome; ``weigh_all`` takes three times as long, and is tested to agree.
    frozen, past = variant.baseline, variant.past
    if frozen is None or (0 < enough <= past.n and not frozen.concurrent):
        base = variant.life if variant.origin is None else lifetime_of(variant)
        if base.n < MIN_LIFETIME:
            return 0
        n, successes, errors, rewards, squares = base.n, base.successes, base.errors, base.reward, base.squares
        if n >= 5 * window:
            judged = variant.judged
            n, rewards = n - judged.n, rewards - judged.reward
            if enough and past.n >= FEWEST and past.reward * n >= rewards * past.n:  # as in ``recent_or_long``
                n, successes, errors, rewards, squares = past.n, past.successes, past.errors, past.reward, past.squares
            else:
                successes, errors = successes - judged.successes, errors - judged.errors
                squares -= judged.squares
    else:
        base = _compared_with(variant, enough)
        n, successes, errors, rewards, squares = base.n, base.successes, base.errors, base.reward, base.squares
    if n == 0:
        return 0
    try:
        s1, s2, s3, r1, r2, r3, e1, e2, e3 = variant.evidence[:9] if _FURTHER else variant.evidence
    except ValueError:  # the row was written by an engine with other detectors
        s1, s2, s3, r1, r2, r3, e1, e2, e3 = _fitting(variant.evidence)[:9]
    d1, d2, d3, _ = claims.successes
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
    t1, t2, t3, _ = claims.errors
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
    # No statistic is negative, so if their sum is below the ceiling, each of them is.
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
    """Return the statistics of the detectors from place ``first`` on, updated by their own functions for one outcome.

    Args:
        found: The statistics so far, three for each detector in order; missing ones count as 0.
        reward: The outcome's reward in millionths.
        flags: The outcome's flags, as in ``row``.
        baseline: What the outcome is compared with, not including the outcome itself; ``n`` is at least 1.
        claims: What the alternatives claim under the policy.
        first: Place of the first detector to update, 0 or more.
    """
    found, weighed = _fitting(found), list[float]()
    for place in range(first, len(DETECTORS)):
        detector = DETECTORS[place]
        r1, r2, r3 = found[3 * place : 3 * place + 3]
        weighed += _bounded(detector.weigh((r1, r2, r3), reward, flags, baseline, claims.each[place]))
    return weighed


def _fitting(found: list[float]) -> list[float]:
    """Fit the statistics to the number of detectors; the engine that wrote the row may have had fewer or more."""
    return (found + [0.0] * PLACES)[:PLACES]


def carry(
    variant: Variant, start: list[float], reward: int, flags: int, claims: Claims, enough: int = 0
) -> list[float]:
    """Return the statistics at the window's start as they will be when the oldest judged outcome has left the window.

    Call this while that outcome is still in the window; its baseline is what came before the judged window.

    Args:
        variant: The variant whose window it is.
        start: Three statistics for each detector that late rewards change, in order.
        reward: Reward of the outcome that leaves, in millionths.
        flags: Flags of that outcome, as in ``row``.
        claims: What the alternatives claim under the policy.
        enough: As in ``update``.
    """
    before = _compared_with(variant, enough)
    if not before.n:
        return start
    carried = _bounded(lower(_three(start, 0), reward, before.n, before.reward, before.squares, claims.rewards))
    for number, place in enumerate(_LATE, start=1):
        carried += _bounded(DETECTORS[place].weigh(_three(start, number), reward, flags, before, claims.each[place]))
    return carried


def reweigh(variant: Variant, window: int, claims: Claims, enough: int = 0) -> None:
    """Recompute the evidence from rewards over the whole window, after one of the rewards was amended.

    Success and error are never amended.  Each outcome keeps the baseline it had while the lifetime is shorter than five
    windows, or for a newcomer, no longer than one window.  After that, all outcomes share the baseline from before the
    window.  That baseline is at most one window newer and still excludes the outcome, so it is just as safe.

    The statistics at the start are kept only from the first amendment on, because most tasks have none.  The first
    amendment assumes 0 for everything that has already left the window, and for a newcomer's head start.  That can lose
    evidence, but never adds any.

    Args:
        variant: The variant whose evidence is updated in place.
        window: How many outcomes a window holds, 2 to 1,000.
        claims: What the alternatives claim under the policy.
        enough: As in ``update``.

    The mean reward's part is inlined, at half the cost of ``follow_window``; a property test checks that both agree.
    """
    life, alone = variant.life, variant.baseline is None and variant.origin is None
    before = _compared_with(variant, enough)
    fixed = before.n, before.reward, before.squares
    outcomes = list(OUTCOME.iter_unpack(variant.window))
    number = life.n - len(outcomes)
    rewards = life.reward - sum(outcome[2] for outcome in outcomes)
    squares = life.squares - sum(outcome[2] * outcome[2] // MICRO for outcome in outcomes)
    if variant.reward_start is None:
        variant.reward_start = [0.0] * AMENDED_PLACES
    start = variant.reward_start
    found = _three(start, 0)
    for outcome in outcomes:
        reward = outcome[2]
        if outcome[6] & WEIGHED:
            n, total, total_squares = (number, rewards, squares) if alone and number < 5 * window else fixed
            if n:
                found = lower(found, reward, n, total, total_squares, claims.rewards)
        number, rewards, squares = number + 1, rewards + reward, squares + reward * reward // MICRO
    variant.evidence[3 * _REWARD : 3 * _REWARD + 3] = _bounded(found)
    if _LATE:
        variant.evidence = _fitting(variant.evidence)
        for at, place in enumerate(_LATE, start=1):
            found = follow_window(variant, window, _three(start, at), place, claims, enough)
            variant.evidence[3 * place : 3 * place + 3] = _bounded(found)


def follow_window(variant: Variant, window: int, found: Triple, place: int, claims: Claims, enough: int = 0) -> Triple:
    """Return one detector's statistics after the window, computed by its own function from those at the window's start.

    Args:
        variant: The variant whose window it is.
        window: How many outcomes a window holds, 2 to 1,000.
        found: The statistics at the window's start.
        place: The detector's place among the detectors.
        claims: What the alternatives claim under the policy.
        enough: As in ``update``.
    """
    life, alone = variant.life, variant.baseline is None and variant.origin is None
    fixed = _compared_with(variant, enough)
    outcomes = list(OUTCOME.iter_unpack(variant.window))
    so_far = Sums(
        life.n - len(outcomes),
        life.successes - sum(outcome[6] & SUCCESS for outcome in outcomes),
        life.errors - sum((outcome[6] & ERROR) >> 1 for outcome in outcomes),
        life.reward - sum(outcome[2] for outcome in outcomes),
        life.squares - sum(outcome[2] * outcome[2] // MICRO for outcome in outcomes),
    )
    for outcome in outcomes:
        reward, flags = outcome[2], outcome[6]
        baseline = so_far if alone and so_far.n < 5 * window else fixed
        if flags & WEIGHED and baseline.n:
            found = DETECTORS[place].weigh(found, reward, flags, baseline, claims.each[place])
        so_far.n += 1
        so_far.successes += flags & SUCCESS
        so_far.errors += (flags & ERROR) >> 1
        so_far.reward += reward
        so_far.squares += reward * reward // MICRO
    return found


def _three(start: list[float], number: int) -> Triple:
    """Return the statistics of the ``number``-th detector whose evidence late rewards change; 0 if it has none yet."""
    if 3 * number >= len(start):
        return 0.0, 0.0, 0.0
    r1, r2, r3 = start[3 * number : 3 * number + 3]
    return r1, r2, r3


def _bounded(found: Triple) -> list[float]:
    return [value if value < CEILING else CEILING for value in found]


def _compared_with(variant: Variant, enough: int) -> Sums:
    """Return the sums over the outcomes that a judged outcome in the window may be compared with."""
    frozen, past = variant.baseline, variant.past
    if frozen is not None and frozen.concurrent:
        return frozen.sums if frozen.sums.n >= MIN_LIFETIME else Sums()
    if frozen is None or 0 < enough <= past.n:
        return recent_or_long(variant) if enough else before_window(variant)
    # Add the variant's own outcomes: a short frozen lifetime alone would keep its sampling error for ever.
    base, own = frozen.sums, past if enough else before_window(variant)
    return Sums(
        base.n + own.n,
        base.successes + own.successes,
        base.errors + own.errors,
        base.reward + own.reward,
        base.squares + own.squares,
    )


def by_metric(variant: Variant) -> dict[str, float]:
    """Return the e-value of each metric: the mean of its alternatives.

    >>> by_metric(Variant("v2", evidence=[1.0, 2.0, 6.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0]))
    {'success_rate': 3.0, 'avg_reward': 0.0, 'error_rate': 4.0}
    """
    r = _fitting(variant.evidence)
    return {
        detector.name: (r[3 * place] + r[3 * place + 1] + r[3 * place + 2]) / 3.0
        for place, detector in enumerate(DETECTORS)
    }


def e_value(variant: Variant) -> float:
    """Return the mean over all metrics; a mean of e-detectors is an e-detector, however they depend on each other.

    >>> e_value(Variant("v2", evidence=[1.0, 2.0, 6.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0]))
    2.3333333333333335
    """
    total = 0.0
    for value in variant.evidence[:PLACES]:
        # Add one by one: from Python 3.12 on, sum() rounds floats differently.
        total += value
    return total / PLACES
