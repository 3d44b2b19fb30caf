"""Records as the pure layers see them: what a consumer hands in and what is to be produced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """One consumed record; aiokafka's ``ConsumerRecord`` fits as it is."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """Append time in milliseconds since the epoch."""

    @property
    def key(self) -> bytes | None:
        """What the partitioner hashed, if anything."""

    @property
    def value(self) -> bytes | None:
        """The message's bytes; None is a tombstone."""

    @property
    def headers(self) -> Headers:
        """Names and bytes, in the order of the producer; names may repeat."""


class Output(NamedTuple):
    """One record to produce.  ``topic`` is the catalog's name; the shell adds the prefix."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
