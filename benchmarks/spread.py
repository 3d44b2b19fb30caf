"""Figures of several rounds: their median and range, and ratios between results of the same round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """The median of some figures, the smallest and the largest."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, figures: Iterable[float]) -> Spread | None:
        """Return None if there is no figure; values that are not numbers are left out."""
        known = [figure for figure in figures if not math.isnan(figure)]
        return cls(statistics.median(known), min(known), max(known), len(known)) if known else None


def is_right(result: dict[str, Any]) -> bool:
    """Return whether a run took place and its output was correct, so that its figures count."""
    return not result.keys() & {"missing", "failed", "wrong"}


def spread(results: Sequence[dict[str, Any]], figure: str) -> Spread | None:
    """Return the spread of a figure over the correct rounds."""
    return Spread.of(result[figure] for result in results if is_right(result))


def ratio(ours: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], figure: str) -> Spread | None:
    """Return the ratio of our figures to another contestant's; in a round, both ran within minutes of each other."""
    pairs = zip(ours, others, strict=False)
    return Spread.of(a[figure] / b[figure] for a, b in pairs if is_right(a) and is_right(b) and b[figure] > 0)
