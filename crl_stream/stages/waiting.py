"""The rows of a partition that wait for time, the earliest first.

An index over what the rows themselves say (``TaskRow.wake``), so that a tick costs what the rows cost that are due, and
nothing for the others.  It is made from the rows at an assignment and kept in step with what every batch has changed.
It also knows how many tasks there are, so that an order for the whole fleet need not count them.
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
"""Times that are out of date and may stay, beside as many as there are times."""


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

    The partition row waits too, for the end of the fleet's hold.  ``state`` is the partition row: a row that was
    published with another hold of the fleet than the one in there is due at once.  When the hold changes, the index is
    out of date and has to be made again.

    Rows that wait for the same time share a set, and only the times are in a heap: making that again costs little even
    where a million rows wait.
    """

    __slots__ = ("_first", "_incarnation", "_keys", "_times", "fleet", "tasks", "unread", "wakes")

    def __init__(self, state: PartitionRow | None = None) -> None:
        self.fleet = 0 if state is None else fleet_of(state)
        """``fleet_of`` the partition."""
        self._first, self._incarnation = (0, 0) if state is None else (state.next_offset, state.incarnation)
        self.tasks = 0
        """Tasks that were there before the first record that is not folded yet, unreadable ones among them."""
        self.unread = 0
        """Tasks whose rows cannot be read."""
        self.wakes: dict[bytes, int] = {}
        """By key; a row that waits for nothing is not in it."""
        self._keys: dict[int, set[bytes]] = {}
        """The same by time."""
        self._times: list[int] = []
        """A heap; it may hold times for which no row waits any more, and a time twice."""

    @classmethod
    def of(cls, rows: Mapping[bytes, bytes], state: PartitionRow | None = None) -> Waiting:
        """The index of a partition's rows by key; ``state`` is the partition row, if need be the one among them."""
        if state is None:
            state = next((decode_partition(data) for key, data in rows.items() if key.startswith(PARTITION_ROW)), None)
        found = cls(state)
        for key, data in rows.items():
            found.add(key, data)
        return found

    def add(self, key: bytes, data: bytes) -> None:
        """Take in a row as it stands in the changelog; one that cannot be read waits for nothing."""
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
        # A row may be ahead of the partition row: one that was born by a later record is counted with that record.
        if marks.born < self._first or marks.incarnation < self._incarnation:
            self.tasks += 1
        self.put(key, marks.wake if marks.shown_fleet == self.fleet else fleet_slot(key))

    def put(self, key: bytes, wake: int) -> None:
        """A row waits from now on until ``wake``, or with 0 for nothing."""
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
        """Take in what a batch has changed, ``born`` new tasks among it, and drop what is out of date."""
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
        """The times for which rows wait, up to ``now``, the earliest first; nothing is taken out."""
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
        """Time and key of each row whose time has come, in that order; nothing is taken out."""
        for time in self._due_times(now):
            for key in sorted(self._keys[time]):
                yield time, key

    def until(self, now: int, count: int) -> int | None:
        """The time of the ``count``-th of the rows that are due by ``now``, the earliest first; None when fewer are."""
        seen = 0
        for time in self._due_times(now):
            seen += len(self._keys[time])
            if seen >= count:
                return time
        return None

    @property
    def next(self) -> int | None:
        """When the next row is due; exact after ``settle``, else perhaps too early.  None while none waits."""
        return self._times[0] if self._times else None


_NONE: Final[set[bytes]] = set()
