"""Estimates how many bad invocations a policy would have saved or lost.

The runtimes followed the decisions that were made at the time, not those of a trial, and a trial cannot change the
recorded outcomes. While two folds have different active variants, one of them has the variant that the runtimes used,
and its outcomes are known. What the other variant would have delivered is estimated from its own latest outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Final, Literal, NamedTuple

from crl_stream.trial.run import Activated
from crl_stream.trial.traffic import SUCCESS, Traffic

LATEST: Final = 200
"""Number of a variant's latest outcomes from which its rate of bad outcomes is estimated."""
ASSUMPTION: Final = (
    "This is an estimate. The log holds what the runtimes did at the time. Wherever the two policies have different "
    f"active variants, it assumes that the variant without the traffic fails as often as in its latest {LATEST} "
    "outcomes. After the first difference, a real fleet would have produced other outcomes, and so other decisions."
)
_Z: Final = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""


class Stretch(NamedTuple):
    """Consecutive outcomes of a task during which the two folds have different active variants."""

    first: int
    """Number of the first outcome of the stretch."""
    last: int
    """Number of the last outcome of the stretch."""
    against: str
    """The variant that is active under the policy of ``--against``."""
    policy: str
    """The variant that is active under the policy that is tried."""
    used: Literal["against", "policy"]
    """The policy whose active variant the runtimes used, which is the variant with more of the outcomes."""
    outcomes: int
    """Number of outcomes of the variant in use, without exploration."""
    bad: int
    """Number of the counted ``outcomes`` that failed or ended with an error."""
    sample: int
    """Number of the other variant's outcomes from which its rate is estimated; if 0, nothing is estimated."""
    rate: float | None
    """The share of bad outcomes in ``sample``."""
    saved: float | None
    """Bad invocations that the policy saves (positive) or adds (negative), compared with ``--against``."""
    low: float | None
    """Lower limit of ``saved``, from a 95 % interval of the rate."""
    high: float | None
    """Upper limit of ``saved``."""


class Estimate(NamedTuple):
    """The sum of the estimates of several stretches."""

    saved: float
    low: float
    """Lower limit of ``saved``, at 95 %."""
    high: float
    """Upper limit of ``saved``."""
    outcomes: int
    """Number of outcomes in the stretches for which there is an estimate."""
    unknown: int
    """Number of outcomes in stretches without an estimate, because the unused variant has no outcomes."""


def stretches_of(traffic: Traffic, against: Sequence[Activated], policy: Sequence[Activated]) -> list[Stretch]:
    """Return the stretches of a task, given the active variants of both folds."""
    one, other = dict(spans_of(traffic, against)), dict(spans_of(traffic, policy))
    pair: tuple[str, str] | None = None
    pairs: list[tuple[int, tuple[str, str]]] = []
    for start in sorted(one.keys() | other.keys()):
        now = one.get(start, pair[0] if pair else ""), other.get(start, pair[1] if pair else "")
        if now != pair:
            pairs.append((start, now))
        pair = now
    found: list[Stretch] = []
    for place, (start, now) in enumerate(pairs):
        end = min(pairs[place + 1][0] - 1 if place + 1 < len(pairs) else len(traffic), len(traffic))
        if all(now) and now[0] != now[1] and start <= end:
            found.append(_stretch(traffic, start, end, *now))
    return found


def spans_of(traffic: Traffic, active: Sequence[Activated]) -> list[tuple[int, str]]:
    """Return the number of the first outcome that each active variant is used for, with the variant, in order.

    A change takes effect after the outcome that it came with; the first outcome of all makes its own variant active.
    """
    spans: list[tuple[int, str]] = []
    for at, variant in active:
        start = max(1, traffic.number_at(at) + (1 if spans else 0))
        if spans and spans[-1][0] == start:
            spans.pop()
        spans.append((start, variant))
    return spans


def _stretch(traffic: Traffic, first: int, last: int, against: str, policy: str) -> Stretch:
    counted = dict.fromkeys((against, policy), 0)
    bad = dict.fromkeys((against, policy), 0)
    for number in range(first, last + 1):
        variant = traffic.variant(number)
        if variant in counted and not traffic.is_explored(number):
            counted[variant] += 1
            bad[variant] += traffic.status(number) != SUCCESS
    # If both have equally many, the choice must not depend on the order of the policies.
    used = max((against, policy), key=lambda variant: (counted[variant], variant))
    other = policy if used == against else against
    n, failed = counted[used], bad[used]
    sample, bad_of_other = traffic.latest(other, last, LATEST)
    side: Literal["against", "policy"] = "against" if used == against else "policy"
    if not sample or not n:
        return Stretch(first, last, against, policy, side, n, failed, sample, None, None, None, None)
    rate = bad_of_other / sample
    least, most = wilson(bad_of_other, sample)
    saved, low, high = failed - n * rate, failed - n * most, failed - n * least
    if side == "policy":
        saved, low, high = -saved, -high, -low
    return Stretch(first, last, against, policy, side, n, failed, sample, rate, saved, low, high)


def wilson(bad: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for a rate of ``bad`` of ``n``, with ``n`` at least 1 (Wilson 1927)."""
    rate, z2 = bad / n, _Z * _Z
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # Rounding may leave a limit just outside the possible range.
    return (0.0 if bad == 0 else max(0.0, middle - half)), (1.0 if bad == n else min(1.0, middle + half))


def total(tasks: Iterable[Sequence[Stretch]]) -> Estimate:
    """Add up the stretches of any number of tasks.

    The stretches of one task share the outcomes that their rates come from, so their errors are added. The errors of
    different tasks are independent, so their squares are added (Zou and Donner 2008, the MOVER method).
    """
    saved = below = above = 0.0
    outcomes = unknown = 0
    for stretches in tasks:
        under = over = 0.0
        for one in stretches:
            if one.saved is None or one.low is None or one.high is None:
                unknown += one.last - one.first + 1
                continue
            saved += one.saved
            under += one.saved - one.low
            over += one.high - one.saved
            outcomes += one.outcomes
        below += under * under
        above += over * over
    return Estimate(saved, saved - sqrt(below), saved + sqrt(above), outcomes, unknown)
