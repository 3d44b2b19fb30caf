"""The best of many, exactly, without keeping the many: a short list with a reserve, and a count of all.

What leaves the list is replaced from the reserve.  Only when that is used up must all be looked at again, once for
about a hundred that left.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import nsmallest
from typing import Final

import msgspec

SHOWN: Final = 100
"""Entries that the page shows of a list."""
RESERVE: Final = 200
"""Entries that are kept for it."""

Rank = tuple[float, float, str, str]
"""Two numbers, the lower the better, then the task and the entry's own name, which make a rank unique."""


class Ranking(msgspec.Struct, array_like=True):
    """The first of all ranks.  Those outside come after the last one inside."""

    total: int = 0
    best: list[Rank] = []

    def add(self, rank: Rank) -> None:
        """One more."""
        complete = len(self.best) == self.total
        self.total += 1
        if complete or (self.best and rank < self.best[-1]):
            insort(self.best, rank)
            del self.best[RESERVE:]

    def remove(self, rank: Rank) -> None:
        """One less; it must have been added."""
        self.total -= 1
        at = bisect_left(self.best, rank)
        if at < len(self.best) and self.best[at] == rank:
            del self.best[at]

    @property
    def is_short(self) -> bool:
        """Whether the page would show fewer than it should: ``refill`` is due."""
        return len(self.best) < min(SHOWN, self.total)

    def refill(self, ranks: Iterable[Rank]) -> None:
        """Start anew from all there are."""
        every = list(ranks)
        self.total, self.best = len(every), nsmallest(RESERVE, every)
