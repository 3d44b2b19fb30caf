"""Estimates with 95 % intervals, from tasks that were simulated with the history and with resampled histories.

Two things make an estimate uncertain: the history is finite, and so is the simulation.  The figure itself comes from
tasks that draw from the history.  How much it could differ with another history of the same length is seen from groups
of tasks, one group for each resampled history: tasks within a group differ by chance, groups also by their histories
(analysis of variance).  An interval covers both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance
from typing import Final, NamedTuple

from crl_stream.calibration.quantiles import gamma_quantile, normal_quantile

CONFIDENCE: Final = 0.95


class Estimate(NamedTuple):
    """A figure, and the interval that holds the true one with a probability of about 95 %."""

    value: float
    low: float
    high: float
    simulated: float
    """Share of the variance that more simulated tasks would remove, 0 to 1; only a longer history removes the rest."""


class Events(NamedTuple):
    """What one task contributes to a rate."""

    number: int
    units: float


def rate(tasks: Sequence[Events], groups: Sequence[Sequence[Events]]) -> Estimate:
    """Return events per unit in ``tasks``, with an interval that also covers the differences between ``groups``.

    Events are rare, so the interval is that of a gamma distribution with the estimated variance.  If the groups do not
    differ, it is the Bayesian interval of a Poisson rate under Jeffreys' prior.
    """
    total, exposure = sum(task.number for task in tasks), sum(task.units for task in tasks)
    spread, likely = _relative_spread(groups)
    if total == 0:
        # Half an event is what Jeffreys' prior adds; the groups may show that the rate is not as low everywhere.
        elsewhere = sum(t.number for g in groups for t in g) / sum(t.units for g in groups for t in g)
        high = max(gamma_quantile(0.5, 0.975) / exposure, elsewhere * (1.0 + 1.96 * sqrt(spread)))
        return Estimate(0.0, 0.0, high, 1.0)
    found = total / exposure
    relative = spread + 1.0 / total
    shape = 1.0 / relative
    low, high = (gamma_quantile(shape + 0.5, probability) * found / shape for probability in (0.025, 0.975))
    return Estimate(found, low, high, 1.0 - likely / relative)


def _relative_spread(groups: Sequence[Sequence[Events]]) -> tuple[float, float]:
    """Return the variance of the groups' true rates, relative to the square of their mean: cautiously, and likely."""
    events = [sum(task.number for task in group) for group in groups]
    units = [sum(task.units for task in group) for group in groups]
    total, count = sum(events), len(groups)
    if total == 0 or count < 2:
        return 0.0, 0.0
    found = total / sum(units)
    squares = sum((e - found * u) ** 2 for e, u in zip(events, units, strict=True)) * count / (count - 1)
    scale = sum(u * u for u in units) * found**2
    return max(0.0, squares * _cautious(count) - total) / scale, max(0.0, squares - total) / scale


def _cautious(count: int) -> float:
    """Return the factor that makes a variance between ``count`` groups larger by its own standard error.

    A difference of two uncertain variances is too small half the time, and 0 often; intervals would promise too much.
    """
    return 1.0 + sqrt(2.0 / (count - 1))


def mean(tasks: Sequence[float], groups: Sequence[Sequence[float]], comparisons: int = 1) -> Estimate:
    """Return the mean of ``tasks``, with an interval that also covers the differences between ``groups``.

    All groups have the same size.  If it is one of several ``comparisons``, the interval is wider, so that all of them
    hold together (Bonferroni).
    """
    found = fmean(tasks)
    chance = variance(tasks) / len(tasks) if len(tasks) > 1 else 0.0
    spread = likely = 0.0
    if (count := len(groups)) > 1:
        between = variance([fmean(group) for group in groups])
        within = fmean(variance(group) for group in groups) / len(groups[0]) if len(groups[0]) > 1 else 0.0
        spread, likely = max(0.0, between * _cautious(count) - within), max(0.0, between - within)
    half = _normal(comparisons) * sqrt(spread + chance)
    return Estimate(found, found - half, found + half, 1.0 - likely / (spread + chance) if half else 1.0)


def _normal(comparisons: int) -> float:
    return normal_quantile(1.0 - (1.0 - CONFIDENCE) / (2.0 * comparisons))
