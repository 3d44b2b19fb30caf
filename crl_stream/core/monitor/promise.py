"""What a variant can be expected to deliver, and whether one variant promises more than another.

A mean over few outcomes says little, so a promise also counts the outcomes it rests on.  Three means are compared,
each from 0 to 1: of the reward, of the success rate, and of the share of outcomes without an error.  The difference of
two means is that of their raw values, each pulled towards the mean of both by one outcome; so equal means differ by
nothing, however many outcomes they rest on.  Its variance is the largest that a mean of values from 0 to 1 can have,
after half a good and half a bad outcome are added (Laplace's rule with weight 1/2), so that no estimate is certain.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

from crl_stream.core.messages.parts import Delivered
from crl_stream.core.monitor.baseline import less
from crl_stream.core.monitor.row import MICRO, Sums, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.verdict import baseline_of, includes_window

_WIDTH: Final = 1.6448536269514722
"""Half the width of a 90 % interval, in standard errors."""
_CLEAR: Final = 1.0
"""Square of the number of standard errors beyond which a loss is never considered chance."""


class Promise(NamedTuple):
    """The sums of ``n`` outcomes that predict the next ones."""

    n: int
    value: int
    """Sum of the rewards, each mapped to 0 to 1 by (reward + 1) / 2, in millionths."""
    successes: int
    """Sum of successes, in millionths: a success from the baseline may count in part."""
    flawless: int
    """Sum of outcomes without an error, in millionths."""

    @property
    def reward(self) -> float:
        """The mean reward, -1 to 1; 0 without outcomes."""
        return 2.0 * self.value / MICRO / self.n - 1.0 if self.n else 0.0

    @property
    def success_rate(self) -> float:
        """The success rate, 0 to 1; 0 without outcomes."""
        return self.successes / MICRO / self.n if self.n else 0.0

    @property
    def error_rate(self) -> float:
        """The share of outcomes with an error, 0 to 1; 0 without outcomes."""
        return 1.0 - self.flawless / MICRO / self.n if self.n else 0.0


def promise_of(sums: Sums) -> Promise:
    """Return what these outcomes promise.

    >>> round(promise_of(Sums(20, 18, 0, 16_000_000, 20_000_000)).success_rate, 3)
    0.9
    """
    return Promise(sums.n, (sums.reward + sums.n * MICRO) >> 1, sums.successes * MICRO, (sums.n - sums.errors) * MICRO)


def delivered_as(promise: Promise) -> Delivered:
    """Return what was delivered, as facts and snapshots state it."""
    return Delivered(promise.n, promise.success_rate, promise.reward, promise.error_rate)


def delivered(variant: Variant, rules: Rules, *, certain: bool = False, without: Sums | None = None) -> Promise:
    """Return what a degraded variant delivers now: its judged window, and ``rollback.doubt`` outcomes of its baseline.

    A window that raised an alarm was selected for being bad, so outcomes of the baseline are added to it.  With
    ``certain``, none are added to a full window without a success: no target can deliver less than that.  ``without``
    is one of the judged outcomes, to be left out of everything.
    """
    judged, baseline = promise_of(variant.judged), baseline_of(variant, rules)
    if without is not None:
        judged = promise_of(less(variant.judged, without))
        if includes_window(variant, rules):
            baseline = less(baseline, without)
    if not baseline.n or (certain and not variant.judged.successes and variant.judged.n >= rules.size):
        return judged
    doubt, before = rules.doubt, promise_of(baseline)
    return Promise(
        judged.n + doubt,
        judged.value + before.value * doubt // before.n,
        judged.successes + before.successes * doubt // before.n,
        judged.flawless + before.flawless * doubt // before.n,
    )


def is_better(one: Promise, other: Promise, errors: float) -> bool:
    """Return whether ``one`` promises more than ``other`` in one of the three means, and not clearly less in another.

    ``errors`` is the distance in standard errors of the difference (0 to 5); with 0, any lead counts.  A target that
    leads in one mean and trails in another is chosen only if the loss may be chance and is smaller than the lead.

    >>> good, bad = promise_of(Sums(100, 90, 0, 80_000_000, 0)), promise_of(Sums(20, 12, 0, 4_000_000, 0))
    >>> is_better(good, bad, 0.84), is_better(bad, good, 0.0), is_better(good, good, 0.0)
    (True, False, False)
    """
    reward = _distance(one.n, one.value, other.n, other.value)
    success = _distance(one.n, one.successes, other.n, other.successes)
    flawless = _distance(one.n, one.flawless, other.n, other.flawless)
    lead, loss = max(reward, success, flawless), -min(reward, success, flawless)
    return lead > 0.0 and lead >= errors * errors and lead > loss and loss < _CLEAR


def leads(one: Promise, other: Promise, errors: float) -> bool:
    """Return whether ``one`` promises more in any of the three means, by ``errors`` standard errors (above 0).

    >>> fails, errs = promise_of(Sums(20, 0, 0, -20_000_000, 0)), promise_of(Sums(40, 40, 8, 40_000_000, 0))
    >>> leads(errs, fails, 2.0), leads(fails, errs, 2.0), is_better(errs, fails, 0.0)
    (True, True, False)
    """
    most = max(
        _distance(one.n, one.value, other.n, other.value),
        _distance(one.n, one.successes, other.n, other.successes),
        _distance(one.n, one.flawless, other.n, other.flawless),
    )
    return most >= errors * errors


def gain(one: float, n: int, other: float, other_n: int) -> tuple[float, float, float]:
    """Return the difference of two means of values from 0 to 1 over ``n`` outcomes each, and its 90 % interval.

    The variance of a mean is the one that ``is_better`` uses, so an interval is never too narrow for few outcomes.

    >>> [round(figure, 2) for figure in gain(0.9, 20, 0.5, 20)]
    [0.4, 0.19, 0.61]
    """
    both = _variance(n, round(min(max(one, 0.0), 1.0) * n * MICRO))
    both += _variance(other_n, round(min(max(other, 0.0), 1.0) * other_n * MICRO))
    spread = _WIDTH * sqrt(both)
    return one - other, one - other - spread, one - other + spread


def describe(one: Promise) -> str:
    """Return a promise in words: ``reward 0.286, success 64.3%``, and the errors if there are any."""
    words = f"reward {one.reward:.3f}, success {one.success_rate:.1%}"
    return f"{words}, errors {one.error_rate:.1%}" if one.error_rate else words


def compare(one: Promise, other: Promise) -> str:
    """Return both promises in words: ``reward 0.286 against 0.661, success 97.6% against 98.4%``, errors if any."""
    words = (
        f"reward {one.reward:.3f} against {other.reward:.3f}, "
        f"success {one.success_rate:.1%} against {other.success_rate:.1%}"
    )
    if one.error_rate or other.error_rate:
        words += f", errors {one.error_rate:.1%} against {other.error_rate:.1%}"
    return words


def _distance(n: int, total: int, other_n: int, other_total: int) -> float:
    """Return the square of the distance in standard errors; negative if the other mean is higher."""
    ahead = total * other_n - other_total * n
    if not ahead:
        return 0.0
    both = (total + other_total) / (n + other_n)
    lead = ((total + both) / (n + 1) - (other_total + both) / (other_n + 1)) / MICRO
    # Avoid square roots, so that every machine reaches the same decision.
    square = lead * lead / (_variance(n, total) + _variance(other_n, other_total))
    return square if ahead > 0 else -square


def _variance(n: int, total: int) -> float:
    mean = (total / MICRO + 0.5) / (n + 1)
    return mean * (1.0 - mean) / (n + 2)
