"""Figures for people, in a few digits and with the noun that goes with them; the same on every surface."""

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


def noun(number: float, one: str, many: str = "") -> str:
    """Return ``one`` for exactly 1, otherwise ``many``, by default ``one`` with an s.

    >>> noun(1, "outcome"), noun(0, "outcome"), noun(1.5, "loss", "losses")
    ('outcome', 'outcomes', 'losses')
    """
    return one if number == 1 else many or f"{one}s"


def counted(number: float, one: str, many: str = "") -> str:
    """Return the number with its noun: ``1 outcome``, ``0 outcomes``.

    >>> counted(1, "outcome"), counted(2, "runtime has", "runtimes have")
    ('1 outcome', '2 runtimes have')
    """
    return f"{number} {noun(number, one, many)}"
