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
    """What one simulated task contributes to a rate: its events, and the units they are counted over."""

    number: int
    units: float


def rate(tasks: Sequence[Events], groups: Sequence[Sequence[Events]]) -> Estimate:
    """Return events per unit in ``tasks``, with an interval that also covers the differences between ``groups``.

    Events are rare, so the interval is that of a gamma distribution with the estimated variance.  If the groups do not
    differ, it is the Bayesian interval of a Poisson rate under Jeffreys' prior.  The rate of resampled histories may
    be far from that of the history if it depends on which of two variants seems better; the interval contains both.
    """
    total, exposure = sum(task.number for task in tasks), sum(task.units for task in tasks)
    elsewhere, spread, likely = _of_groups(groups)
    within = [_gamma_interval(elsewhere, spread)] if elsewhere > 0.0 and spread > 0.0 else []
    if total == 0:
        highs = [gamma_quantile(0.5, 0.975) / exposure, *(high for _, high in within)]
        return Estimate(0.0, 0.0, max(highs), 1.0)
    found = total / exposure
    within.append(_gamma_interval(found, spread + 1.0 / total))
    return Estimate(
        found,
        min(low for low, _ in within),
        max(high for _, high in within),
        1.0 - likely / (spread + 1.0 / total),
    )


def _gamma_interval(value: float, relative: float) -> tuple[float, float]:
    """Return an interval for a positive figure whose variance, divided by its square, is ``relative``."""
    shape = 1.0 / relative
    low, high = (gamma_quantile(shape + 0.5, probability) * value / shape for probability in (0.025, 0.975))
    return low, high


def _of_groups(groups: Sequence[Sequence[Events]]) -> tuple[float, float, float]:
    """Return the mean rate of the groups, and the variance of their true rates relative to its square.

    There are two estimates of the variance: a cautious one and the most likely one.
    """
    events = [sum(task.number for task in group) for group in groups]
    units = [sum(task.units for task in group) for group in groups]
    total, count = sum(events), len(groups)
    if total == 0 or count < 2:
        return 0.0, 0.0, 0.0
    found = total / sum(units)
    squares = sum((e - found * u) ** 2 for e, u in zip(events, units, strict=True)) * count / (count - 1)
    scale = sum(u * u for u in units) * found**2
    return found, max(0.0, squares * _cautious(count) - total) / scale, max(0.0, squares - total) / scale


def _cautious(count: int) -> float:
    """Return the factor that makes a variance between ``count`` groups larger by its own standard error.

    A difference of two uncertain variances is too small half the time, and often 0; intervals would be too narrow.
    """
    return 1.0 + sqrt(2.0 / (count - 1))


def mean(tasks: Sequence[float], groups: Sequence[Sequence[float]], comparisons: int = 1) -> Estimate:
    """Return the mean of ``tasks``, with an interval that also covers the differences between ``groups``.

    All groups have the same size.  If the mean is one of several ``comparisons``, its interval is wider, so that all
    intervals hold together (Bonferroni).
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
