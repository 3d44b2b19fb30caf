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

    Until the lifetime is five windows long the window stays in it; below ``MIN_LIFETIME`` outcomes there is no baseline.
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
    """Take one judged outcome into the evidence, before lifetime and window take it in."""
    base = baseline_counts(variant, window)
    if base is None or base.n == 0:
        return
    r, n = variant.evidence, base.n + 1
    rate = min(max((base.successes + 0.5) / n, 0.001), 0.9999)
    if flags & SUCCESS:
        for i in (0, 1, 2):
            r[i] = min((r[i] + 1.0) * (1.0 - success_drops[i]), CEILING)
    else:
        odds = rate / (1.0 - rate)
        for i in (0, 1, 2):
            r[i] = min((r[i] + 1.0) * (1.0 + success_drops[i] * odds), CEILING)

    mean = base.reward / MICRO / base.n
    if mean > 0.0:
        centre = (mean + 1.0) / 2.0
        spread = max((base.squares / MICRO / base.n - mean * mean) / 4.0, 1e-4)
        gap = centre - (reward / MICRO + 1.0) / 2.0
        most = 0.9 / (1.0 - centre) if centre < 1.0 else CEILING
        for i in (0, 1, 2):
            shift = reward_drops[i] * mean / 2.0
            bet = min(shift / (spread + shift * shift), most)
            r[3 + i] = min((r[3 + i] + 1.0) * max(1.0 + bet * gap, 0.0), CEILING)

    rate = min(max((base.errors + 0.5) / n, 0.001), 0.9999)
    for i in (0, 1, 2):
        worse = min(rate * (1.0 + SPREAD[i]), (1.0 + rate) / 2.0)
        ratio = worse / rate if flags & ERROR else (1.0 - worse) / (1.0 - rate)
        r[6 + i] = min((r[6 + i] + 1.0) * ratio, CEILING)


def by_metric(variant: Variant) -> dict[str, float]:
    """The e-value of each metric: the mean of its alternatives."""
    r = variant.evidence
    return {name: (r[3 * i] + r[3 * i + 1] + r[3 * i + 2]) / 3.0 for i, name in enumerate(METRICS)}


def e_value(variant: Variant) -> float:
    """The mean over all metrics; a mean of e-detectors is one, however they depend on each other."""
    return sum(variant.evidence) / 9.0
