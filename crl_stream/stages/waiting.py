"""The rows of a partition that are due at a certain time, earliest first.

This is an index over ``TaskRow.wake``, so that the cost of a tick depends only on the rows that are due.  It is built
from the rows at an assignment and updated with the changes of every batch.  It also holds the number of tasks, so that
a command for the whole fleet need not count them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final
from zlib import crc32

import msgspec

from crl_stream.core.monitor.row import row_marks
from crl_stream.stages.partition import PartitionRow, decode_partition
from crl_stream.wire.topics import PARTITION_ROW

_SLACK: Final = 64
"""The heap may hold this many more out-of-date times than current ones."""


SLOTS: Final = 1_024
"""Number of groups in which rows are published, one after another, when a hold on the fleet begins or ends."""


def fleet_slot(key: bytes) -> int:
    """Return a time long past, in milliseconds, that makes a row due at once for publishing with the fleet's hold.

    Rows are spread over ``SLOTS`` such times, so that ticks can process one group after another.
    """
    return 1 + crc32(key) % SLOTS


def fleet_of(state: PartitionRow) -> int:
    """Return ``since`` of the hold that every row of the partition must be published with; 0 if there is no hold."""
    return 0 if state.fleet is None else state.fleet.since


def fleet_end(state: PartitionRow) -> int:
    """Return when the fleet's hold expires, in milliseconds; 0 if there is no hold, or if it does not expire."""
    return 0 if state.fleet is None else state.fleet.until or 0


class Waiting:
    """Rows by key, with the time at which each is due, in milliseconds; 0 for a row that waits for nothing.

    The partition row waits too, for the end of the fleet's hold.  ``state`` is the partition row; a task's row that
    was not published with the hold in ``state`` is due at once.  When the hold changes, the index is out of date and
    must be rebuilt.

    Rows that wait for the same time share a set, and only the times are in a heap.  So rebuilding the heap is cheap,
    even if a million rows wait.
    """

    __slots__ = ("_first", "_incarnation", "_keys", "_times", "fleet", "tasks", "unread", "wakes")

    def __init__(self, state: PartitionRow | None = None) -> None:
        self.fleet = 0 if state is None else fleet_of(state)
        """``fleet_of`` for the partition row that the index was built with."""
        self._first, self._incarnation = (0, 0) if state is None else (state.next_offset, state.incarnation)
        self.tasks = 0
        """Number of tasks that existed before the first unfolded record, including tasks with unreadable rows."""
        self.unread = 0
        """Number of tasks whose rows cannot be read."""
        self.wakes: dict[bytes, int] = {}
        """The time that each row waits for, by key; rows that wait for nothing are left out."""
        self._keys: dict[int, set[bytes]] = {}
        """The keys of the waiting rows, by time."""
        self._times: list[int] = []
        """A heap of times; it may contain duplicates, and times that no row waits for any more."""

    @classmethod
    def of(cls, rows: Mapping[bytes, bytes], state: PartitionRow | None = None) -> Waiting:
        """Build the index of a partition's rows; ``state`` is the partition row, by default the one in ``rows``."""
        if state is None:
            state = next((decode_partition(data) for key, data in rows.items() if key.startswith(PARTITION_ROW)), None)
        found = cls(state)
        for key, data in rows.items():
            found.add(key, data)
        return found

    def add(self, key: bytes, data: bytes) -> None:
        """Add a row as stored in the changelog; an unreadable row waits for nothing."""
        if key.startswith(PARTITION_ROW):
            try:
                self.put(key, fleet_end(decode_partition(data)))
            except (msgspec.MsgspecError, ValueError):
                return
            return
        try:
            marks = row_marks(data)
        except (msgspec.MsgspecError, ValueError):
            self.tasks += 1
            self.unread += 1
            return
        # A row may be ahead of the partition row: a row created by a later record is counted with that record.
        if marks.born < self._first or marks.incarnation < self._incarnation:
            self.tasks += 1
        self.put(key, marks.wake if marks.shown_fleet == self.fleet else fleet_slot(key))

    def put(self, key: bytes, wake: int) -> None:
        """Make a row wait until ``wake``; with 0 it waits for nothing."""
        wakes, keys = self.wakes, self._keys
        before = wakes.get(key, 0)
        if before == wake:
            return
        if before:
            others = keys[before]
            if len(others) == 1:
                del keys[before]
            else:
                others.discard(key)
        if not wake:
            del wakes[key]
            return
        wakes[key] = wake
        if (others := keys.get(wake, _NONE)) is not _NONE:
            others.add(key)
        else:
            keys[wake] = {key}
            heappush(self._times, wake)

    def settle(self, changed: Mapping[bytes, int], born: int = 0) -> None:
        """Apply the changes of a batch, including ``born`` new tasks, and drop out-of-date times."""
        self.tasks += born
        for key, wake in changed.items():
            self.put(key, wake)
        times, keys = self._times, self._keys
        if len(times) > 2 * len(keys) + _SLACK:
            times = self._times = list(keys)
            heapify(times)
        while times and times[0] not in keys:
            heappop(times)

    def _due_times(self, now: int) -> Iterator[int]:
        """Yield the times up to ``now`` that rows wait for, earliest first, without removing them."""
        times, keys, last = self._times, self._keys, 0
        nodes = [(times[0], 0)] if times else []
        while nodes:
            time, node = heappop(nodes)
            if time > now:
                return
            if time != last and time in keys:
                last = time
                yield time
            for child in (2 * node + 1, 2 * node + 2):
                if child < len(times):
                    heappush(nodes, (times[child], child))

    def due(self, now: int) -> Iterator[tuple[int, bytes]]:
        """Yield the time and key of each row that is due, sorted by both, without removing them."""
        for time in self._due_times(now):
            for key in sorted(self._keys[time]):
                yield time, key

    def until(self, now: int, count: int) -> int | None:
        """Return the time of the ``count``-th row due by ``now``, counted from the earliest; None if fewer are due."""
        seen = 0
        for time in self._due_times(now):
            seen += len(self._keys[time])
            if seen >= count:
                return time
        return None

    @property
    def next(self) -> int | None:
        """When the next row is due; exact after ``settle``, otherwise possibly too early; None if no row waits."""
        return self._times[0] if self._times else None


_NONE: Final[set[bytes]] = set()
