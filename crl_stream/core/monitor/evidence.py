"""Evidence: the e-SR statistic, which bounds how often a healthy variant is taken for a degraded one.

Shiryaev-Roberts e-detectors (Shin, Ramdas, Rinaldo, arXiv 2203.03532) with three alternatives per metric: after
each outcome ``R = (R + 1) L``, where L is the likelihood ratio of "worse by d" to "as before".  While nothing changes,
R grows by at most one per outcome on average, so R reaches A after A outcomes or more on average, under any
dependence between the metrics.  A change makes it grow exponentially.

Each ratio is computed from counts that do not hold the outcome itself.  A late reward rewrites the evidence as far as
the window goes back, as it does Q.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.row import ERROR, MICRO, OUTCOME, SIZE, SUCCESS, WEIGHED, Variant
from crl_stream.core.policy import Degradation

METRICS: Final = ("success_rate", "avg_reward", "error_rate")
CEILING: Final = 1e30
MIN_LIFETIME: Final = 40
"""Outcomes a variant's own lifetime needs before it serves as a baseline."""
SPREAD: Final[tuple[float, ...]] = (1.0, 2.0, 4.0)
"""The alternatives: once, twice, four times the rule's own limit; error rates times 2, 3, 5."""
_TIMES_1: Final = 1.0 + SPREAD[0]
_TIMES_2: Final = 1.0 + SPREAD[1]
_TIMES_3: Final = 1.0 + SPREAD[2]
SMALLEST: Final = 0.05
"""The smallest drop an alternative claims: outcomes hardly tell a smaller one, and R would grow by itself for ever."""
_FADING: Final = 0.999
"""In place of 1 in a likelihood ratio: where outcomes say nothing, all equal or all failed, R ends at about 1,000."""
MARGIN: Final = 1.25
"""Measured: with A = 1.25 times the budget the mean run to a false alarm keeps the budget at every rate."""


def threshold(degradation: Degradation) -> float:
    """The e-value A that counts as evidence."""
    return MARGIN * degradation.false_alarm_budget


def drops(limit: float) -> tuple[float, float, float]:
    """Relative drops that the alternatives claim, for a rule's limit; a limit below ``SMALLEST`` counts as that."""
    first, second, third = (min(max(limit, SMALLEST) * factor, 0.95) for factor in SPREAD)
    return first, second, third


def update(
    variant: Variant,
    reward: int,
    flags: int,
    window: int,
    success_drops: tuple[float, float, float],
    reward_drops: tuple[float, float, float],
) -> int:
    """Take one judged outcome into the evidence, before lifetime and window take it in; the flag ``WEIGHED``, or 0.

    It is compared with the lifetime without the judged window, a newcomer's together with the replaced variant's; until
    a lifetime that stands alone is five windows long the window stays in it, and below ``MIN_LIFETIME`` outcomes there
    is no baseline.

    Written out for three alternatives each and without calls, since it runs for every outcome.
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
    s1, s2, s3, r1, r2, r3, e1, e2, e3 = variant.evidence
    d1, d2, d3 = success_drops
    if flags & SUCCESS:
        s1, s2, s3 = (s1 + 1.0) * (1.0 - d1), (s2 + 1.0) * (1.0 - d2), (s3 + 1.0) * (1.0 - d3)
    else:
        rate = (successes + 0.5) / (n + 1)
        rate = 0.001 if rate < 0.001 else 0.9999 if rate > 0.9999 else rate
        odds = rate / (1.0 - rate)
        s1, s2, s3 = (
            (s1 + 1.0) * (_FADING + d1 * odds),
            (s2 + 1.0) * (_FADING + d2 * odds),
            (s3 + 1.0) * (_FADING + d3 * odds),
        )

    r1, r2, r3 = _follow((r1, r2, r3), reward, n, rewards, squares, reward_drops)

    rate = (errors + 0.5) / (n + 1)
    rate = 0.001 if rate < 0.001 else 0.9999 if rate > 0.9999 else rate
    cap = (1.0 + rate) / 2.0
    w1, w2, w3 = rate * _TIMES_1, rate * _TIMES_2, rate * _TIMES_3
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
    variant.evidence = found
    return WEIGHED


def _follow(
    found: tuple[float, float, float],
    reward: int,
    n: int,
    rewards: int,
    squares: int,
    drops: tuple[float, float, float],
) -> tuple[float, float, float]:
    """The statistics of the reward after one more; ``n``, ``rewards`` and ``squares`` are those of the baseline."""
    mean = rewards / MICRO / n
    if mean <= 0.0:
        return found
    r1, r2, r3 = found
    centre = (mean + 1.0) / 2.0
    spread = (squares / MICRO / n - mean * mean) / 4.0
    spread = spread if spread > 1e-4 else 1e-4
    gap = centre - (reward / MICRO + 1.0) / 2.0
    most = 0.9 / (1.0 - centre) if centre < 1.0 else CEILING
    d1, d2, d3 = drops
    # The likelihood ratio of a reward that lies `gap` below the mean: 1 + bet * gap, nearly, and never negative.
    shift = d1 * mean / 2.0
    bet = shift / (spread + shift * shift)
    ratio = _FADING + (bet if bet < most else most) * gap
    r1 = (r1 + 1.0) * ratio if ratio > 0.0 else 0.0
    shift = d2 * mean / 2.0
    bet = shift / (spread + shift * shift)
    ratio = _FADING + (bet if bet < most else most) * gap
    r2 = (r2 + 1.0) * ratio if ratio > 0.0 else 0.0
    shift = d3 * mean / 2.0
    bet = shift / (spread + shift * shift)
    ratio = _FADING + (bet if bet < most else most) * gap
    return r1, r2, (r3 + 1.0) * ratio if ratio > 0.0 else 0.0


def carry(variant: Variant, start: list[float], reward: int, drops: tuple[float, float, float]) -> list[float]:
    """The statistics of the window's start, once the oldest judged outcome, still in the window, has left it.

    Its baseline is what came before the judged window, to which it still belongs.
    """
    n, rewards, squares = _before_window(variant)
    r1, r2, r3 = start
    return _bounded(_follow((r1, r2, r3), reward, n, rewards, squares, drops)) if n else start


def reweigh(variant: Variant, window: int, drops: tuple[float, float, float]) -> None:
    """Follow the rewards over the window again, from the statistics of its start: one of them has been amended.

    Success and error are never amended.  While the lifetime is shorter than five windows, and as long as a newcomer has
    no more than one, the baseline of each outcome is the one it had.  Afterwards it is for all of them what came
    before the window, at most one window newer: still without the outcome, hence as safe.

    The statistics of the start are kept from the first amendment on, as most tasks know of none.  That one takes them
    for 0, whatever has left the window by then: less evidence than there was, never more.
    """
    life, alone = variant.life, variant.baseline is None
    fixed = _before_window(variant)
    outcomes = list(OUTCOME.iter_unpack(variant.window))
    number = life.n - len(outcomes)
    rewards = life.reward - sum(outcome[2] for outcome in outcomes)
    squares = life.squares - sum(outcome[2] * outcome[2] // MICRO for outcome in outcomes)
    if variant.reward_start is None:
        variant.reward_start = [0.0, 0.0, 0.0]
    r1, r2, r3 = variant.reward_start
    found = r1, r2, r3
    for outcome in outcomes:
        reward = outcome[2]
        if outcome[6] & WEIGHED:
            n, total, total_squares = (number, rewards, squares) if alone and number < 5 * window else fixed
            if n:
                found = _follow(found, reward, n, total, total_squares, drops)
        number, rewards, squares = number + 1, rewards + reward, squares + reward * reward // MICRO
    variant.evidence[3:6] = _bounded(found)


def _bounded(found: tuple[float, float, float]) -> list[float]:
    return [value if value < CEILING else CEILING for value in found]


def _before_window(variant: Variant) -> tuple[int, int, int]:
    """Count, rewards and squares of all that a judged outcome of the window may be compared with."""
    life, judged = variant.life, variant.judged
    n, rewards, squares = life.n - judged.n, life.reward - judged.reward, life.squares - judged.squares
    if variant.baseline is not None:
        frozen = variant.baseline.sums
        n, rewards, squares = n + frozen.n, rewards + frozen.reward, squares + frozen.squares
    return n, rewards, squares


def forget(variant: Variant) -> None:
    """Begin anew: what is over is no evidence of what comes next."""
    variant.evidence = [0.0] * len(variant.evidence)
    if variant.reward_start is not None:
        variant.reward_start = [0.0, 0.0, 0.0]
    for index in range(SIZE - 1, len(variant.window), SIZE):
        variant.window[index] &= ~WEIGHED


def by_metric(variant: Variant) -> dict[str, float]:
    """The e-value of each metric: the mean of its alternatives."""
    r = variant.evidence
    return {name: (r[3 * i] + r[3 * i + 1] + r[3 * i + 2]) / 3.0 for i, name in enumerate(METRICS)}


def e_value(variant: Variant) -> float:
    """The mean over all metrics; a mean of e-detectors is one, however they depend on each other."""
    s1, s2, s3, r1, r2, r3, e1, e2, e3 = variant.evidence
    # One after the other: what sum() makes of floats is another from Python 3.12 on.
    return (s1 + s2 + s3 + r1 + r2 + r3 + e1 + e2 + e3) / 9.0
