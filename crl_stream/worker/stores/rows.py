"""What a store of rows does, and in which words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol


class Last(NamedTuple):
    """The record of the changelog partition that rows are true up to."""

    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def digest(self) -> bytes:
        """Eight bytes that tell this record from another one at the same offset."""
        digest = hashlib.blake2b(b"%d " % self.offset, digest_size=8)
        digest.update(self.key or b"")
        digest.update(b"\0")
        digest.update(self.value or b"")
        return digest.digest()


class Kept(NamedTuple):
    """What is known of rows that an earlier process or assignment has left."""

    offset: int
    """Of the last changelog record that is in them."""
    digest: bytes
    """Of that record; another changelog has another one there."""
    outdated: AbstractSet[bytes]
    """Keys whose last changelog record is older than the row."""


class RowStore(Protocol):
    """Rows by partition and key, the partition row among them.

    A change is there at once and whole, with the place in the changelog up to which it is true, or not at all.
    """

    def partitions(self) -> list[int]:
        """The open ones, in order."""

    def is_open(self, partition: int) -> bool:
        """Whether it has a partition."""

    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """The rows of a partition as they stand whenever they are read; none while it is not open."""

    def count(self, partition: int) -> int:
        """About how many rows a partition has."""

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a partition, in any order; those that come or go meanwhile may be among them or not."""

    def open(self, partition: int) -> Kept | None:
        """Begin with a partition: what is there of it already, None when nothing that can be used."""

    def write(self, partition: int, rows: Mapping[bytes, bytes], last: Last, outdated: AbstractSet[bytes]) -> None:
        """Set rows, which are then true up to ``last``; ``outdated`` as in ``Kept``, all of them."""

    def discard(self, partition: int, reason: str) -> None:
        """Drop what is there of an open partition, which stays open; the changelog has it all."""

    def close(self, partition: int) -> None:
        """The partition is not ours any more."""

    def check(self) -> None:
        """Read everything that is there once, before any partition is opened, and drop what is damaged."""

    def release(self) -> None:
        """Close everything and let go of the folder."""
