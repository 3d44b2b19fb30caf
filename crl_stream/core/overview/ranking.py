"""Tracks the best of many entries exactly without keeping them all: a short list with a reserve, and a total count.

An entry that leaves the list is replaced from the reserve.  Only when the reserve is used up must all entries be
reread, about once for every hundred that leave.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from heapq import nsmallest
from typing import Final

import msgspec

SHOWN: Final = 100
"""How many entries of a list the page shows."""
RESERVE: Final = 200
"""How many entries are kept for a list."""

Rank = tuple[float, float, str, str]
"""Two numbers (lower is better), then the task and the entry's own name, which make the rank unique."""


class Ranking(msgspec.Struct, array_like=True):
    """The best of all ranks; every rank that is not in the list sorts after the last one in it."""

    total: int = 0
    best: list[Rank] = []

    def add(self, rank: Rank) -> None:
        """Add an entry."""
        complete = len(self.best) == self.total
        self.total += 1
        if complete or (self.best and rank < self.best[-1]):
            insort(self.best, rank)
            del self.best[RESERVE:]

    def remove(self, rank: Rank) -> None:
        """Remove an entry, which must have been added before."""
        self.total -= 1
        at = bisect_left(self.best, rank)
        if at < len(self.best) and self.best[at] == rank:
            del self.best[at]

    @property
    def is_short(self) -> bool:
        """Whether the page would show fewer entries than it should, so that ``refill`` is needed."""
        return len(self.best) < min(SHOWN, self.total)

    def refill(self, ranks: Iterable[Rank]) -> None:
        """Rebuild the list from all ranks."""
        every = list(ranks)
        self.total, self.best = len(every), nsmallest(RESERVE, every)
