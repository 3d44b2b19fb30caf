"""The rows of a partition that wait for time, the earliest first.

An index over what the rows themselves say (``TaskRow.wake``), so that a tick costs what the rows cost that are due, and
nothing for the others.  It is made from the rows at an assignment and kept in step with what every batch has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from crl_stream.core.row import row_wake
from crl_stream.wire.topics import PARTITION_ROW

_SLACK: Final = 64
"""Entries that are out of date and may stay, beside as many as there are rows."""


class Waiting:
    """Rows by key, with the time of each; times in milliseconds, 0 for a row that waits for nothing."""

    __slots__ = ("_heap", "wakes")

    def __init__(self) -> None:
        self.wakes: dict[bytes, int] = {}
        """By key; a row that waits no more is kept with 0 only until ``settle``."""
        self._heap: list[tuple[int, bytes]] = []
        """May hold entries that ``wakes`` contradicts."""

    @classmethod
    def of(cls, rows: Iterable[tuple[bytes, bytes]]) -> Waiting:
        """The index of these rows, by key; what is not the row of a task is passed over."""
        found = cls()
        for key, data in rows:
            found.add(key, data)
        return found

    def add(self, key: bytes, data: bytes) -> None:
        """Take in a row as it stands in the changelog; one that cannot be read waits for nothing."""
        if key.startswith(PARTITION_ROW):
            return
        try:
            wake = row_wake(data)
        except msgspec.MsgspecError:
            return
        if wake:
            self.put(key, wake)

    def put(self, key: bytes, wake: int) -> None:
        """A row waits from now on until ``wake``, or with 0 for nothing."""
        if self.wakes.get(key) == wake:
            return
        self.wakes[key] = wake
        if wake:
            heappush(self._heap, (wake, key))

    def settle(self, changed: Mapping[bytes, int]) -> None:
        """Take in what a batch has changed, and drop what is out of date."""
        for key, wake in changed.items():
            if wake:
                self.put(key, wake)
            else:
                self.wakes.pop(key, None)
        heap, wakes = self._heap, self.wakes
        if len(heap) > 2 * len(wakes) + _SLACK:
            self._heap = [(wake, key) for key, wake in wakes.items() if wake]
            heapify(self._heap)
            return
        while heap and wakes.get(heap[0][1]) != heap[0][0]:
            heappop(heap)

    def due(self, now: int) -> list[bytes]:
        """Keys of the rows whose time has come, in any order; nothing is taken out."""
        found, heap, wakes = set(), self._heap, self.wakes
        nodes = [0]
        while nodes:
            node = nodes.pop()
            if node >= len(heap) or heap[node][0] > now:
                continue  # what lies below is later still
            wake, key = heap[node]
            if wakes.get(key) == wake:
                found.add(key)
            nodes += (2 * node + 1, 2 * node + 2)
        return list(found)

    @property
    def next(self) -> int | None:
        """When the next row is due; exact after ``settle``, else perhaps too early.  None while none waits."""
        return self._heap[0][0] if self._heap else None
