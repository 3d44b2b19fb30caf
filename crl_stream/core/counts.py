"""The noun that goes with a number: one outcome, two outcomes."""

from __future__ import annotations


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
