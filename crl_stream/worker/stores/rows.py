"""The interface of a row store, and the types it uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol


class Last(NamedTuple):
    """The changelog record up to which rows are valid."""

    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def digest(self) -> bytes:
        """Return eight bytes that distinguish this record from a different one at the same offset."""
        digest = hashlib.blake2b(b"%d " % self.offset, digest_size=8)
        digest.update(self.key or b"")
        digest.update(b"\0")
        digest.update(self.value or b"")
        return digest.digest()


class Kept(NamedTuple):
    """What is known about the rows left by an earlier process or assignment."""

    offset: int
    """The offset of the last changelog record that the rows include."""
    digest: bytes
    """The digest of the changelog record at ``offset``, which differs in another changelog."""
    outdated: AbstractSet[bytes]
    """Keys whose last changelog record is older than the row."""


class RowStore(Protocol):
    """Rows by partition and key, including the partition row.

    Each change is atomic, together with the changelog position up to which the rows are valid.
    """

    def partitions(self) -> list[int]:
        """Return the open partitions, in order."""

    def is_open(self, partition: int) -> bool:
        """Return whether a partition is open."""

    def rows(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the rows of a partition, always current; empty while it is not open."""

    def count(self, partition: int) -> int:
        """Return roughly how many rows a partition has."""

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of a partition, in any order; rows added or removed meanwhile may or may not be included."""

    def open(self, partition: int) -> Kept | None:
        """Open a partition; return what is known about the rows kept for it, or None if there are no usable ones."""

    def write(self, partition: int, rows: Mapping[bytes, bytes], last: Last, outdated: AbstractSet[bytes]) -> None:
        """Store ``rows``, which are then valid up to ``last``; ``outdated`` replaces the set in ``Kept``."""

    def discard(self, partition: int, reason: str) -> None:
        """Drop the rows of an open partition, which stays open; the changelog still has them all."""

    def close(self, partition: int) -> None:
        """Close a partition that is no longer ours."""

    def check(self) -> None:
        """Read everything in the store once, before any partition is opened, and drop what is damaged."""

    def release(self) -> None:
        """Close everything and release the folder."""
