"""The e-SR statistics: what an outcome adds to the evidence that a share fell or rose, or that a mean fell.

Shiryaev-Roberts e-detectors (Shin, Ramdas, Rinaldo, arXiv 2203.03532): after each outcome ``R = (R + 1) L``, where L is
the likelihood ratio of "worse by d" to "as before".  While nothing changes, the mean of L is at most 1, so R grows by
at most 1 per outcome on average.  A change makes R grow exponentially.  The size of the change is not known
beforehand, so each detector follows three alternatives d side by side.

Detectors are built from these functions; the guide's three are also inlined in ``evidence.update``.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.row import MICRO

Triple = tuple[float, float, float]
"""The statistic R of each of three alternatives."""
Claim = tuple[float, float, float, float]
"""The claims of the three alternatives; then the smallest size to assume for the mean, if they are relative to it."""

CEILING: Final = 1e30
"""The largest value of a statistic."""
SPREAD: Final[tuple[float, ...]] = (1.0, 2.0, 4.0)
"""The drops that the alternatives claim: one, two and four times the limit of the rule."""
SMALLEST: Final = 0.05
"""The smallest drop an alternative claims: outcomes barely reveal a smaller drop, and R would grow for ever."""
LARGEST: Final = 0.95
"""The largest drop an alternative claims: a single success would refute a claim of a total drop."""
FADING: Final = 0.999
"""Replaces 1 in a likelihood ratio: if outcomes show nothing (all equal, or all failed), R levels off near 1,000."""
LEAST_SHARE: Final = 0.001
MOST_SHARE: Final = 0.9999
"""Bounds of a baseline's share: at 0 or 1, a single outcome of a kind not seen before would prove everything."""


def drops(limit: float, least: float = 0.0) -> Claim:
    """Return the relative drops that the alternatives claim.

    Args:
        limit: The largest relative drop that is still healthy, 0 to 1; a smaller one counts as ``SMALLEST``.
        least: For ``lower``: the smallest size to assume for the mean that the drops are relative to, 0 to 1.

    Returns:
        ``limit`` times ``SPREAD``, each at most ``LARGEST``, and ``least``.

    >>> drops(0.10)
    (0.1, 0.2, 0.4, 0.0)
    >>> drops(0.0), drops(0.5)
    ((0.05, 0.1, 0.2, 0.0), (0.5, 0.95, 0.95, 0.0))
    """
    first, second, third = (min(max(limit, SMALLEST) * factor, LARGEST) for factor in SPREAD)
    return first, second, third, least


def share(count: int, n: int) -> float:
    """Return the share of a baseline's outcomes that have a property, as used in a bet on the next outcome.

    Args:
        count: How many outcomes have the property, 0 to ``n``.
        n: How many outcomes the baseline has, 0 or more.

    Returns:
        ``(count + 1/2) / (n + 1)``, the estimate of Krichevsky and Trofimov, within ``LEAST_SHARE`` and ``MOST_SHARE``.

    >>> share(9, 9), share(0, 0), share(0, 9_999)
    (0.95, 0.5, 0.001)
    """
    found = (count + 0.5) / (n + 1)
    return LEAST_SHARE if found < LEAST_SHARE else MOST_SHARE if found > MOST_SHARE else found


def fewer(found: Triple, happened: bool, rate: float, claims: Claim) -> Triple:
    """Return the statistics of "this happens less often now", after one more outcome.

    With p for ``rate`` and d for a claim, L is ``1 - d`` if it happened, otherwise ``FADING + d p / (1 - p)``.

    Args:
        found: The statistics so far, each 0 to ``CEILING``.
        happened: Whether the outcome has the property, such as success.
        rate: The baseline's ``share`` of outcomes with the property.
        claims: The relative drops that the alternatives claim, from ``drops``.

    >>> fewer((1.0, 1.0, 1.0), True, 0.5, (0.125, 0.25, 0.5, 0.0))
    (1.75, 1.5, 1.0)
    >>> [round(r, 3) for r in fewer((1.0, 1.0, 1.0), False, 0.5, (0.125, 0.25, 0.5, 0.0))]
    [2.248, 2.498, 2.998]
    """
    r1, r2, r3 = found
    d1, d2, d3, _ = claims
    if happened:
        return (r1 + 1.0) * (1.0 - d1), (r2 + 1.0) * (1.0 - d2), (r3 + 1.0) * (1.0 - d3)
    odds = rate / (1.0 - rate)
    return (
        (r1 + 1.0) * (FADING + d1 * odds),
        (r2 + 1.0) * (FADING + d2 * odds),
        (r3 + 1.0) * (FADING + d3 * odds),
    )


def oftener(found: Triple, happened: bool, rate: float, claims: Claim) -> Triple:
    """Return the statistics of "this happens more often now", after one more outcome.

    With p for ``rate`` and w for the rate under a claim, ``w = min(p times the claim, (1 + p) / 2)``, L is ``w / p`` if
    it happened, otherwise ``(1 - w) / (1 - p)``.

    Args:
        found: The statistics so far, each 0 to ``CEILING``.
        happened: Whether the outcome has the property, such as an error.
        rate: The baseline's ``share`` of outcomes with the property.
        claims: The factors by which the alternatives claim that it happens more often, each above 1.

    >>> oftener((1.0, 1.0, 1.0), True, 0.125, (2.0, 3.0, 5.0, 0.0))
    (4.0, 6.0, 9.0)
    >>> [round(r, 3) for r in oftener((1.0, 1.0, 1.0), False, 0.125, (2.0, 3.0, 5.0, 0.0))]
    [1.714, 1.429, 1.0]
    """
    r1, r2, r3 = found
    t1, t2, t3, _ = claims
    cap = (1.0 + rate) / 2.0
    w1, w2, w3 = rate * t1, rate * t2, rate * t3
    w1, w2, w3 = w1 if w1 < cap else cap, w2 if w2 < cap else cap, w3 if w3 < cap else cap
    if happened:
        return (r1 + 1.0) * w1 / rate, (r2 + 1.0) * w2 / rate, (r3 + 1.0) * w3 / rate
    rest = 1.0 - rate
    return (
        (r1 + 1.0) * (1.0 - w1) / rest,
        (r2 + 1.0) * (1.0 - w2) / rest,
        (r3 + 1.0) * (1.0 - w3) / rest,
    )


def lower(found: Triple, value: int, n: int, total: int, squares: int, claims: Claim) -> Triple:
    """Return the statistics of "the mean is lower now", after one more value.

    A claim is relative to the size of the mean, or to the last of ``claims`` if that is larger.  If it is 0, a mean of
    zero or less leaves the statistics unchanged, because a relative drop has no meaning there.

    Values are mapped to 0 ... 1 by ``x = (value + 1) / 2``.  With m for the baseline's mean of x, v for its variance
    and s for the shift of the mean under a claim, L is ``FADING + min(s / (v + s^2), .9 / (1 - m)) (m - x)``, or 0 if
    that is negative.  This is a bet on a bounded mean, sized as in aGRAPA (Waudby-Smith, Ramdas, arXiv 2010.09686).

    Args:
        found: The statistics so far, each 0 to ``CEILING``.
        value: The outcome's value in millionths, -1,000,000 to 1,000,000.
        n: How many outcomes the baseline has, at least 1.
        total: Sum of the values in the baseline, in millionths.
        squares: Sum of the squares of these values, in millionths.
        claims: The relative drops in the mean that the alternatives claim, from ``drops``.

    >>> before = {"n": 100, "total": 60_000_000, "squares": 40_000_000, "claims": (0.15, 0.3, 0.6, 0.0)}
    >>> [round(r, 3) for r in lower((0.0, 0.0, 0.0), -1_000_000, **before)]
    [3.993, 4.599, 4.395]
    >>> [round(r, 3) for r in lower((0.0, 0.0, 0.0), 1_000_000, **before)]
    [0.251, 0.099, 0.15]
    >>> lower((0.5, 0.5, 0.5), -1_000_000, n=10, total=0, squares=1, claims=(0.15, 0.3, 0.6, 0.0))
    (0.5, 0.5, 0.5)
    """
    mean = total / MICRO / n
    d1, d2, d3, least = claims
    if mean <= 0.0 and not least:
        return found
    r1, r2, r3 = found
    centre = (mean + 1.0) / 2.0
    spread = (squares / MICRO / n - mean * mean) / 4.0
    spread = spread if spread > 1e-4 else 1e-4
    gap = centre - (value / MICRO + 1.0) / 2.0
    most = 0.9 / (1.0 - centre) if centre < 1.0 else CEILING
    mean = -mean if mean < 0.0 else mean
    mean = mean if mean > least else least
    shift = d1 * mean / 2.0
    bet = shift / (spread + shift * shift)
    ratio = FADING + (bet if bet < most else most) * gap
    r1 = (r1 + 1.0) * ratio if ratio > 0.0 else 0.0
    shift = d2 * mean / 2.0
    bet = shift / (spread + shift * shift)
    ratio = FADING + (bet if bet < most else most) * gap
    r2 = (r2 + 1.0) * ratio if ratio > 0.0 else 0.0
    shift = d3 * mean / 2.0
    bet = shift / (spread + shift * shift)
    ratio = FADING + (bet if bet < most else most) * gap
    return r1, r2, (r3 + 1.0) * ratio if ratio > 0.0 else 0.0
