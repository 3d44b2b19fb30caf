"""Turns the score of an evaluator into a quality between 0 and 1."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Scale(NamedTuple):
    """The range of an evaluator's scores."""

    evaluator: str
    """Name of the evaluator whose scores count; empty for all."""
    least: float
    """The score that means quality 0."""
    most: float
    """The score that means quality 1."""

    def counts(self, name: str) -> bool:
        """Return whether scores of the evaluator ``name`` measure quality."""
        return not self.evaluator or name == self.evaluator

    def quality(self, score: float) -> float | None:
        """Return the quality of a score; None if the score lies outside the scale."""
        found = (score - self.least) / (self.most - self.least)
        return round(found, 6) if 0.0 <= found <= 1.0 else None


def number_in(value: Any) -> float | None:
    """Return ``value`` as a finite number; None for anything else, also for a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
