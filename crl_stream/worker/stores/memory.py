"""Rows in memory: a dictionary for each partition, which is lost when the process ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from crl_stream.worker.stores.rows import Kept, Last

_NOTHING: Mapping[bytes, bytes] = {}


class MemoryRows:
    """The default store, which keeps rows in memory."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[bytes, bytes]] = {}

    def partitions(self) -> list[int]:
        """Return the open partitions, in order."""
        return sorted(self._rows)

    def is_open(self, partition: int) -> bool:
        """Return whether a partition is open."""
        return partition in self._rows

    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the rows of a partition; empty while it is not open."""
        return self._rows.get(partition, _NOTHING)

    def count(self, partition: int) -> int:
        """Return how many rows a partition has."""
        return len(self.rows(partition))

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a partition, in any order; rows added or removed meanwhile may or may not be included."""
        rows = self.rows(partition)
        for key in list(rows):
            if (row := rows.get(key)) is not None:
                yield key, row

    def open(self, partition: int) -> Kept | None:
        """Open a partition without rows; return None, because memory keeps nothing from before."""
        self._rows[partition] = {}
        return None

    def write(self, partition: int, rows: Mapping[bytes, bytes], last: Last, outdated: AbstractSet[bytes]) -> None:  # noqa: ARG002 - the position is lost together with the rows
        """Set rows."""
        self._rows.setdefault(partition, {}).update(rows)

    def discard(self, partition: int, reason: str) -> None:  # noqa: ARG002 - only rows on disk can be wrong
        """Drop the rows of a partition."""
        self._rows[partition] = {}

    def close(self, partition: int) -> None:
        """Forget a partition."""
        self._rows.pop(partition, None)

    def check(self) -> None:
        """Do nothing: there are no rows before a partition is opened."""

    def release(self) -> None:
        """Forget everything."""
        self._rows.clear()
