"""The rows of a partition that wait for time, the earliest first.

An index over what the rows themselves say (``TaskRow.wake``), so that a tick costs what the rows cost that are due, and
nothing for the others.  It is made from the rows at an assignment and kept in step with what every batch has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Final
from zlib import crc32

import msgspec

from crl_stream.core.row import row_marks
from crl_stream.topology.partition import PartitionRow, decode_partition
from crl_stream.wire.topics import PARTITION_ROW

_SLACK: Final = 64
"""Entries that are out of date and may stay, beside as many as there are rows."""


SLOTS: Final = 1_024
"""Groups of rows that are published one after the other when the hold of a fleet begins or ends."""


def fleet_slot(key: bytes) -> int:
    """The time, in milliseconds and long past, that a row waits for which is to be published with the fleet's hold.

    Rows are spread over ``SLOTS`` such times, so that ticks can take one group after the other.
    """
    return 1 + crc32(key) % SLOTS


def fleet_of(state: PartitionRow) -> int:
    """``since`` of the hold that every row of the partition is to be published with; 0 for none."""
    return 0 if state.fleet is None else state.fleet.since


def fleet_end(state: PartitionRow) -> int:
    """When the hold of the fleet ends by time, in milliseconds; 0: no hold, or none that ends."""
    return 0 if state.fleet is None else state.fleet.until or 0


class Waiting:
    """Rows by key, with the time of each; times in milliseconds, 0 for a row that waits for nothing.

    The partition row waits too, for the end of the fleet's hold.  ``fleet`` is ``fleet_of`` the partition: a row that
    was published with another hold is due at once.
    """

    __slots__ = ("_fleet", "_heap", "wakes")

    def __init__(self, fleet: int = 0) -> None:
        self._fleet = fleet
        self.wakes: dict[bytes, int] = {}
        """By key; a row that waits no more is kept with 0 only until ``settle``."""
        self._heap: list[tuple[int, bytes]] = []
        """May hold entries that ``wakes`` contradicts."""

    @classmethod
    def of(cls, rows: Mapping[bytes, bytes]) -> Waiting:
        """The index of a partition's rows by key, the partition row among them where there is one."""
        state = next((decode_partition(data) for key, data in rows.items() if key.startswith(PARTITION_ROW)), None)
        found = cls(0 if state is None else fleet_of(state))
        for key, data in rows.items():
            found.add(key, data)
        return found

    def add(self, key: bytes, data: bytes) -> None:
        """Take in a row as it stands in the changelog; one that cannot be read waits for nothing."""
        try:
            if key.startswith(PARTITION_ROW):
                wake = fleet_end(decode_partition(data))
            else:
                marks = row_marks(data)
                wake = marks.wake if marks.shown_fleet == self._fleet else fleet_slot(key)
        except (msgspec.MsgspecError, ValueError):
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

    def until(self, now: int, count: int) -> int | None:
        """The time of the ``count``-th of the rows that are due by ``now``, the earliest first; None when fewer are."""
        heap, wakes, seen = self._heap, self.wakes, set[bytes]()
        nodes = [(heap[0][0], 0)] if heap else []
        while nodes:
            wake, node = heappop(nodes)
            if wake > now:
                return None
            key = heap[node][1]
            if key not in seen and wakes.get(key) == wake:
                seen.add(key)
                if len(seen) == count:
                    return wake
            for child in (2 * node + 1, 2 * node + 2):
                if child < len(heap):
                    heappush(nodes, (heap[child][0], child))
        return None

    @property
    def next(self) -> int | None:
        """When the next row is due; exact after ``settle``, else perhaps too early.  None while none waits."""
        return self._heap[0][0] if self._heap else None
