"""What a variant can be expected to deliver, and whether that is more than another one.

A mean over few outcomes says little, so a promise also knows how many outcomes it rests on.  Two means are compared: of
the reward, scaled to 0 to 1, and of the success rate.  Half a good and half a bad outcome are added to each (Laplace's
rule with weight 1/2), so that no estimate is certain, and the variance is the largest that a mean of values from 0 to 1
can have.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from crl_stream.core.monitor.row import MICRO, Sums, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.verdict import baseline_of

_CLEAR: Final = 1.0
"""Square of the distance, in standard errors, beyond which a loss is never taken for chance."""


class Promise(NamedTuple):
    """The sums of ``n`` outcomes that predict the next ones."""

    n: int
    value: int
    """Sum of (reward + 1) / 2, in millionths."""
    successes: int
    """Sum of successes, in millionths: a success from the baseline may count in part."""

    @property
    def reward(self) -> float:
        """The expected reward, -1 to 1."""
        return 2.0 * _mean(self.n, self.value) - 1.0

    @property
    def success_rate(self) -> float:
        """The expected success rate, 0 to 1."""
        return _mean(self.n, self.successes)


def promise_of(sums: Sums) -> Promise:
    """Return what these outcomes promise.

    >>> round(promise_of(Sums(20, 18, 0, 16_000_000, 20_000_000)).success_rate, 3)
    0.881
    """
    return Promise(sums.n, (sums.reward + sums.n * MICRO) >> 1, sums.successes * MICRO)


def delivered(variant: Variant, rules: Rules) -> Promise:
    """Return what a degraded variant delivers now: its judged window, and ``rollback.doubt`` outcomes of its baseline.

    A window that raised an alarm was selected for being bad, so it is not believed without those.
    """
    judged, baseline = promise_of(variant.judged), baseline_of(variant, rules)
    if not baseline.n:
        return judged
    doubt, before = rules.doubt, promise_of(baseline)
    return Promise(
        judged.n + doubt,
        judged.value + before.value * doubt // before.n,
        judged.successes + before.successes * doubt // before.n,
    )


def is_better(one: Promise, other: Promise, errors: float) -> bool:
    """Return whether ``one`` promises more than ``other`` in reward or success, and not clearly less in the other one.

    ``errors`` is the distance in standard errors of the difference (0 to 5); with 0, any lead counts.  A target whose
    rewards are better although it succeeds less often, or the reverse, is chosen only if its loss may be chance and is
    the smaller of the two distances.

    >>> good, bad = promise_of(Sums(100, 90, 0, 80_000_000, 0)), promise_of(Sums(20, 12, 0, 4_000_000, 0))
    >>> is_better(good, bad, 0.84), is_better(bad, good, 0.0), is_better(good, good, 0.0)
    (True, False, False)
    """
    reward = _distance(one.n, one.value, other.n, other.value)
    success = _distance(one.n, one.successes, other.n, other.successes)
    lead, loss = (reward, -success) if reward > success else (success, -reward)
    return lead > 0.0 and lead >= errors * errors and lead > loss and loss < _CLEAR


def describe(one: Promise) -> str:
    """Return a promise in words: ``reward 0.286, success 64.3%``."""
    return f"reward {one.reward:.3f}, success {one.success_rate:.1%}"


def compare(one: Promise, other: Promise) -> str:
    """Return both promises in words: ``reward 0.286 against 0.661, success 97.6% against 98.4%``."""
    return (
        f"reward {one.reward:.3f} against {other.reward:.3f}, "
        f"success {one.success_rate:.1%} against {other.success_rate:.1%}"
    )


def _distance(n: int, total: int, other_n: int, other_total: int) -> float:
    """Return the square of the distance in standard errors; negative if the other mean is higher."""
    mean, other = _mean(n, total), _mean(other_n, other_total)
    lead = mean - other
    # Without a square root, so that every machine decides alike.
    return lead * abs(lead) / (_variance(n, mean) + _variance(other_n, other))


def _mean(n: int, total: int) -> float:
    return (total / MICRO + 0.5) / (n + 1)


def _variance(n: int, mean: float) -> float:
    return mean * (1.0 - mean) / (n + 2)
