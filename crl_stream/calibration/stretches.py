"""The longest stretch of a history without a detectable change: what a variant delivers while it is stable.

A history may contain a real collapse, and what follows a collapse says nothing about false alarms.  So the outcomes are
searched for changes of the success rate, the error rate and the mean reward.  For each of many intervals (seeded binary
segmentation: Kovács, Bühlmann, Li, Munk 2023), the likelihood ratio of the best split is compared with its distribution
without a change (Csörgő and Horváth 1997, formula 1.3.26).  Failures in runs raise the ratio without any change, so it
is divided by the long-run variance of the outcomes relative to that of independent ones: in the interval, and in a
second search also in the whole history, once the changes that the first search found are taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import exp, log, pi, sqrt
from typing import Final, NamedTuple

LEVEL: Final = 0.05
"""Approximate probability that a stable history is cut at all."""
SHORTEST: Final = 10
"""Minimum number of outcomes on each side of a change."""
_INTERVAL: Final = 30
"""Minimum number of outcomes in an interval that is searched."""
_OVERLAP: Final = 4
"""Intervals of a layer overlap: each begins a quarter of its length after the previous one."""
_SHRINK: Final = sqrt(0.5)
"""Length of the intervals of a layer, relative to those of the previous layer."""
_UNREMARKABLE: Final = 9.0
"""A likelihood ratio below this never counts as a change."""
_SMALL: Final = 1e-12


class Change(NamedTuple):
    """A detected change."""

    at: int
    """Number of outcomes before the change."""
    what: str
    """The series that changes: ``success``, ``errors`` or ``reward``."""
    before: float
    """The mean from the previous change, or the beginning, to this change."""
    after: float
    """The mean from this change to the next one, or to the end."""


class Stretch(NamedTuple):
    """The outcomes from ``first`` up to but not including ``end``, and every change in the whole history."""

    first: int
    end: int
    changes: tuple[Change, ...]


class _Split(NamedTuple):
    first: int
    end: int
    at: int
    what: str
    probability: float
    """Probability of a ratio this large without a change, corrected for the number of intervals and series."""


def longest_stable_stretch(series: dict[str, Sequence[float]]) -> Stretch:
    """Return the longest stretch in which none of the series changes; the latest one if several are equally long.

    All series have the same length.  A series that is constant, or a linear function of an earlier one, is left out,
    because it adds no information.
    """
    size = len(next(iter(series.values())))
    kept = _different(series)
    cuts = _search(kept, size, dict.fromkeys(kept, 1.0))
    if cuts:
        edges = [0, *(cut.at for cut in cuts), size]
        cuts = _search(kept, size, {what: _dispersion(_residuals(values, edges)) for what, values in kept.items()})
    edges = [0, *(split.at for split in cuts), size]
    pieces = list(pairwise(edges))
    first, end = max(pieces, key=lambda piece: (piece[1] - piece[0], piece[0]))
    changes = tuple(
        Change(cut.at, cut.what, _mean(series[cut.what], *before), _mean(series[cut.what], *after))
        for cut, before, after in zip(cuts, pieces, pieces[1:], strict=False)
    )
    return Stretch(first, end, changes)


def _search(series: dict[str, Sequence[float]], size: int, dispersions: dict[str, float]) -> list[_Split]:
    """Return the changes, in order; ``dispersions`` gives the smallest dispersion to assume for each series."""
    intervals = list(_intervals(size))
    layers = 1 + max((layer for *_, layer in intervals), default=0)
    splits = []
    for what, values in series.items():
        sums, squares = _sums(values)
        for first, end, number, _ in intervals:
            found = _best_split(values, sums, squares, (first, end), dispersions[what], binary=what != "reward")
            if found is not None:
                probability = found[1] * len(series) * layers * number
                if probability < LEVEL:
                    splits.append(_Split(first, end, found[0], what, probability))
    return sorted(_chosen(splits, 0, size), key=lambda split: split.at)


def _chosen(splits: list[_Split], first: int, end: int) -> Iterator[_Split]:
    """Yield the clearest split, then the splits of the parts before and after it."""
    inside = [split for split in splits if first <= split.first and split.end <= end]
    if inside:
        best = min(inside, key=lambda split: (split.probability, split.end - split.first, split.at))
        yield best
        yield from _chosen(inside, first, best.at)
        yield from _chosen(inside, best.at, end)


def _intervals(size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield overlapping intervals in layers, longest first: first, end, number of intervals in the layer, layer."""
    length, layer = size, 0
    while length >= min(_INTERVAL, size) and length >= 2 * SHORTEST:
        starts = sorted({*range(0, size - length + 1, max(1, length // _OVERLAP)), size - length})
        for start in starts:
            yield start, start + length, len(starts), layer
        length, layer = int(length * _SHRINK), layer + 1


def _different(series: dict[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    kept: dict[str, Sequence[float]] = {}
    for what, values in series.items():
        if min(values) < max(values) and not any(_is_linear(values, other) for other in kept.values()):
            kept[what] = values
    return kept


def _is_linear(values: Sequence[float], other: Sequence[float]) -> bool:
    low, high = min(range(len(other)), key=other.__getitem__), max(range(len(other)), key=other.__getitem__)
    slope = (values[high] - values[low]) / (other[high] - other[low])
    return all(abs(y - values[low] - slope * (x - other[low])) < 1e-9 for x, y in zip(other, values, strict=True))


def _sums(values: Sequence[float]) -> tuple[list[float], list[float]]:
    return [0.0, *accumulate(values)], [0.0, *accumulate(value * value for value in values)]


def _best_split(
    values: Sequence[float],
    sums: list[float],
    squares: list[float],
    interval: tuple[int, int],
    least: float,
    *,
    binary: bool,
) -> tuple[int, float] | None:
    """Return where the interval splits best, and how probable such a split is without a change."""
    first, end = interval
    size = end - first
    whole = _misfit(size, sums[end] - sums[first], squares[end] - squares[first], binary=binary)
    ratio, at = 0.0, -1
    for place in range(first + SHORTEST, end - SHORTEST + 1):
        left = _misfit(place - first, sums[place] - sums[first], squares[place] - squares[first], binary=binary)
        right = _misfit(end - place, sums[end] - sums[place], squares[end] - squares[place], binary=binary)
        found = whole - left - right if binary else size * log((whole + _SMALL) / (left + right + _SMALL))
        if found > ratio:
            ratio, at = found, place
    if ratio < _UNREMARKABLE * least:
        return None
    dispersion = max(least, _dispersion(_residuals(values, (first, at, end))))
    return at, _probability(ratio / dispersion, SHORTEST / size)


def _residuals(values: Sequence[float], edges: Sequence[int]) -> list[float]:
    """Cut the values at the edges, and return by how much each differs from the mean of its piece."""
    found: list[float] = []
    for first, end in pairwise(edges):
        mean = sum(values[first:end]) / (end - first)
        found += [value - mean for value in values[first:end]]
    return found


def _misfit(n: int, total: float, squares: float, *, binary: bool) -> float:
    """Return minus twice the largest log-likelihood of 0s and 1s, or the sum of squares about the mean."""
    if not binary:
        return max(0.0, squares - total * total / n)
    rest = n - total
    return -2.0 * ((total * log(total / n) if total > 0 else 0.0) + (rest * log(rest / n) if rest > 0 else 0.0))


def _dispersion(residuals: Sequence[float]) -> float:
    """Return the long-run variance relative to the variance, at least 1, with Bartlett's weights."""
    size = len(residuals)
    variance = sum(x * x for x in residuals)
    if variance <= _SMALL:
        return 1.0
    lags, total = max(1, round(size ** (1 / 3))), 1.0
    for lag in range(1, lags + 1):
        both = sum(x * y for x, y in zip(residuals, residuals[lag:], strict=False))
        total += 2.0 * (1.0 - lag / (lags + 1)) * both / variance
    return max(1.0, total)


def _probability(ratio: float, share: float) -> float:
    """Return the probability that the largest ratio is at least this large although nothing has changed.

    Only splits that are at least a ``share`` of the length away from both ends count.

    >>> round(_probability(4.1**2, 0.01), 3)
    0.003
    """
    if ratio < _UNREMARKABLE:
        return 1.0
    spread = 2.0 * log((1.0 - share) / share) if share < 0.5 else 0.0
    return sqrt(ratio) * exp(-ratio / 2.0) / sqrt(2.0 * pi) * (spread * (1.0 - 1.0 / ratio) + 4.0 / ratio)


def _mean(values: Sequence[float], first: int, end: int) -> float:
    return sum(values[first:end]) / (end - first)
