"""Figures in a few digits, for people: the same in terminals, on pages and in the answers of the engine."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Return a number of any size in a few digits; ``-`` for what is no number.

    >>> number(6720), number(7.3), number(6.666e32)
    ('6,720', '7.3', '6.7e+32')
    """
    if not math.isfinite(value):
        return "-"
    if abs(value) >= 1e9:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
