"""Records as the pure layers see them: consumed records and outputs to produce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

Header = tuple[str, bytes | None]
"""Name and value; Kafka allows any bytes. In a name that is not UTF-8, invalid bytes appear as lone surrogates."""
Headers = Sequence[Header]

_AROUND: Final = 40
"""Bytes of a record apart from key, value and headers: lengths, time and offset."""


class Record(Protocol):
    """One consumed record; aiokafka's ``ConsumerRecord`` matches this protocol."""

    @property
    def offset(self) -> int:
        """The record's offset in its partition."""

    @property
    def timestamp(self) -> int:
        """Append time in milliseconds since the epoch."""

    @property
    def key(self) -> bytes | None:
        """The key that the partitioner hashed, if any."""

    @property
    def value(self) -> bytes | None:
        """The message's bytes; None for a tombstone."""

    @property
    def headers(self) -> Headers:
        """Names and values, in the order the producer gave them; names may repeat."""


class Output(NamedTuple):
    """One record to produce.  ``topic`` is the catalog's name; the code that sends the record adds the prefix."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class UnreadBatch(NamedTuple):
    """Replaces the records of a batch that is too large or too damaged to read.

    It is a ``Record`` whose value is the batch as the broker keeps it.
    """

    offset: int
    """Offset of the last replaced record."""
    timestamp: int
    value: bytes
    first: int
    """Offset of the first replaced record."""
    records: int
    """Number of records according to the batch; 0 means unknown."""
    codec: str
    reason: str
    detail: str
    key: None = None
    headers: tuple[()] = ()
    timestamp_type: int = 0
    topic: str = ""
    partition: int = -1


def record_size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return the maximum size of a record in an uncompressed batch, in bytes."""
    size = _AROUND + len(key or b"") + len(value or b"")
    for name, content in headers:
        length = len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))
        size += length + _prefix(length)
        size += 1 if content is None else len(content) + _prefix(len(content))
    return size


def _prefix(length: int) -> int:
    """Return the size of a length prefix in bytes."""
    return 1 if length < 64 else 2 if length < 8_192 else 3 if length < 1_048_576 else 5
