"""Evidence: the e-SR statistic, which bounds how often a healthy variant is taken for a degraded one.

Shiryaev-Roberts e-detectors (Shin, Ramdas, Rinaldo, arXiv 2203.03532) with three alternatives per metric: after
each outcome ``R = (R + 1) L``, where L is the likelihood ratio of "worse by d" to "as before".  While nothing changes,
R grows by at most one per outcome on average, so R reaches A after A outcomes or more on average, under any
dependence between the metrics.  A change makes it grow exponentially.

Each ratio is computed from counts that do not hold the outcome itself.  A late amendment does not rewrite the
evidence: it was reached with what was known then.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.policy import Degradation
from crl_stream.core.row import ERROR, MICRO, SUCCESS, Sums, Variant

METRICS: Final = ("success_rate", "avg_reward", "error_rate")
CEILING: Final = 1e30
MIN_LIFETIME: Final = 40
"""Outcomes a variant's own lifetime needs before it serves as a baseline."""
SPREAD: Final = (1.0, 2.0, 4.0)
"""The alternatives: once, twice, four times the rule's own limit; error rates times 2, 3, 5."""
MARGIN: Final = 1.25
"""Measured: with A = 1.25 times the budget the mean run to a false alarm keeps the budget at every rate."""


def threshold(degradation: Degradation) -> float:
    """The e-value A that counts as evidence."""
    return MARGIN * degradation.false_alarm_budget


def drops(limit: float) -> tuple[float, float, float]:
    """Relative drops that the alternatives claim, for a rule's limit."""
    first, second, third = (min(limit * factor, 0.95) for factor in SPREAD)
    return first, second, third


def baseline_counts(variant: Variant, window: int) -> Sums | None:
    """What the next outcome is compared with: the replaced variant, else the lifetime without the judged window.

    Until the lifetime is five windows long the window stays in it; below ``MIN_LIFETIME`` outcomes there is no
    baseline.
    """
    if variant.baseline is not None:
        return variant.baseline.sums
    life, judged = variant.life, variant.judged
    if life.n < MIN_LIFETIME:
        return None
    if life.n < 5 * window or judged.n == 0:
        return life
    return Sums(
        life.n - judged.n,
        life.successes - judged.successes,
        life.errors - judged.errors,
        life.reward - judged.reward,
        life.squares - judged.squares,
    )


def update(
    variant: Variant,
    reward: int,
    flags: int,
    window: int,
    success_drops: tuple[float, float, float],
    reward_drops: tuple[float, float, float],
) -> None:
    """Take one judged outcome into the evidence, before lifetime and window take it in.

    Written out for three alternatives each, since it runs for every outcome.
    """
    base = baseline_counts(variant, window)
    if base is None or base.n == 0:
        return
    s1, s2, s3, r1, r2, r3, e1, e2, e3 = variant.evidence
    n = base.n
    d1, d2, d3 = success_drops
    if flags & SUCCESS:
        s1, s2, s3 = (s1 + 1.0) * (1.0 - d1), (s2 + 1.0) * (1.0 - d2), (s3 + 1.0) * (1.0 - d3)
    else:
        rate = (base.successes + 0.5) / (n + 1)
        rate = 0.001 if rate < 0.001 else 0.9999 if rate > 0.9999 else rate
        odds = rate / (1.0 - rate)
        s1, s2, s3 = (
            (s1 + 1.0) * (1.0 + d1 * odds),
            (s2 + 1.0) * (1.0 + d2 * odds),
            (s3 + 1.0) * (1.0 + d3 * odds),
        )

    mean = base.reward / MICRO / n
    if mean > 0.0:
        centre = (mean + 1.0) / 2.0
        spread = (base.squares / MICRO / n - mean * mean) / 4.0
        spread = spread if spread > 1e-4 else 1e-4
        gap = centre - (reward / MICRO + 1.0) / 2.0
        most = 0.9 / (1.0 - centre) if centre < 1.0 else CEILING
        d1, d2, d3 = reward_drops
        r1 = (r1 + 1.0) * _bet(d1 * mean / 2.0, spread, most, gap)
        r2 = (r2 + 1.0) * _bet(d2 * mean / 2.0, spread, most, gap)
        r3 = (r3 + 1.0) * _bet(d3 * mean / 2.0, spread, most, gap)

    rate = (base.errors + 0.5) / (n + 1)
    rate = 0.001 if rate < 0.001 else 0.9999 if rate > 0.9999 else rate
    cap = (1.0 + rate) / 2.0
    w1, w2, w3 = rate * (1.0 + SPREAD[0]), rate * (1.0 + SPREAD[1]), rate * (1.0 + SPREAD[2])
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
    if max(found) > CEILING:
        found = [value if value < CEILING else CEILING for value in found]
    variant.evidence = found


def _bet(shift: float, spread: float, most: float, gap: float) -> float:
    """The likelihood ratio of a reward that lies ``gap`` below the baseline's mean."""
    bet = shift / (spread + shift * shift)
    ratio = 1.0 + (bet if bet < most else most) * gap
    return ratio if ratio > 0.0 else 0.0


def by_metric(variant: Variant) -> dict[str, float]:
    """The e-value of each metric: the mean of its alternatives."""
    r = variant.evidence
    return {name: (r[3 * i] + r[3 * i + 1] + r[3 * i + 2]) / 3.0 for i, name in enumerate(METRICS)}


def e_value(variant: Variant) -> float:
    """The mean over all metrics; a mean of e-detectors is one, however they depend on each other."""
    return sum(variant.evidence) / 9.0
