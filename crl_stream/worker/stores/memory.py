"""Rows in memory: a dictionary for each partition, gone with the process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from crl_stream.worker.stores.rows import Kept, Last

_NOTHING: Mapping[bytes, bytes] = {}


class MemoryRows:
    """The default store."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[bytes, bytes]] = {}

    def partitions(self) -> list[int]:
        """The open ones, in order."""
        return sorted(self._rows)

    def is_open(self, partition: int) -> bool:
        """Whether it has a partition."""
        return partition in self._rows

    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """The rows of a partition; none while it is not open."""
        return self._rows.get(partition, _NOTHING)

    def count(self, partition: int) -> int:
        """How many rows a partition has."""
        return len(self.rows(partition))

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a partition, in any order; those that come or go meanwhile may be among them or not."""
        rows = self.rows(partition)
        for key in list(rows):
            if (row := rows.get(key)) is not None:
                yield key, row

    def open(self, partition: int) -> Kept | None:
        """Begin with a partition, of which nothing is there."""
        self._rows[partition] = {}
        return None

    def write(self, partition: int, rows: Mapping[bytes, bytes], last: Last, outdated: AbstractSet[bytes]) -> None:  # noqa: ARG002 - the process that forgets it forgets the rows as well
        """Set rows."""
        self._rows.setdefault(partition, {}).update(rows)

    def discard(self, partition: int, reason: str) -> None:  # noqa: ARG002 - nothing was kept that could be wrong
        """Drop the rows of a partition."""
        self._rows[partition] = {}

    def close(self, partition: int) -> None:
        """Forget a partition."""
        self._rows.pop(partition, None)

    def check(self) -> None:
        """Nothing is there before a partition is opened."""

    def release(self) -> None:
        """Forget everything."""
        self._rows.clear()
