"""Reads topics up to their current end, partition by partition, in portions of bounded size."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from crl_stream.wire.records import Header
from crl_stream.wire.topics import Topics

PORTION: Final = 5_000
"""Approximate number of records in memory at once."""


class Request(Struct, kw_only=True, forbid_unknown_fields=True):
    """The installation to examine."""

    bootstrap_servers: str
    prefix: str
    app_id: str
    partitions: int
    services: bool = False
    ledger: str | None = None
    """The file that ``load.Load`` wrote; without it, only the folds are compared."""
    archive: str | None = None
    """The file that ``keep_records`` wrote: records of the log that were deleted on purpose."""
    gaps: list[tuple[int, int, int]] = []
    """(partition, first offset, end offset) of archived records that were deleted before they were folded."""


class Kept(NamedTuple):
    """A record of the archive; matches ``wire.records.Record``."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


class Topic(NamedTuple):
    """Reads the topics of one installation; ``__main__`` opens it."""

    consumer: Any
    names: Topics
    request: Request

    async def portions(self, topic: str, partition: int) -> AsyncIterator[list[Any]]:
        """Yield every record of a partition of a topic (the broker's name), in order."""
        consumer, place = self.consumer, TopicPartition(topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        first = (await consumer.beginning_offsets([place]))[place]
        consumer.seek(place, first)
        portion: list[Any] = []
        at = first
        while at < end:
            polled = await consumer.getmany(place, timeout_ms=1_000, max_records=PORTION)
            portion += [record for record in polled.get(place, []) if record.offset < end]
            at = await consumer.position(place)
            if len(portion) >= PORTION or at >= end:
                yield portion
                portion = []

    async def log(self, topic: str, partition: int) -> AsyncIterator[list[Any]]:
        """Yield every record of a partition of the log, including those deleted on purpose after they were folded."""
        gaps = [range(start, end) for p, start, end in self.request.gaps if p == partition]
        kept = [r for r in self._kept(partition) if not any(r.offset in gap for gap in gaps)]
        first = True
        async for portion in self.portions(topic, partition):
            if first:
                first = False
                kept = [record for record in kept if record.offset < portion[0].offset]
                if kept:
                    yield kept
            yield portion
        if first and kept:
            yield kept

    def _kept(self, partition: int) -> list[Kept]:
        if self.request.archive is None:
            return []
        found = {}
        for line in Path(self.request.archive).read_text(encoding="ascii").splitlines():
            place, offset, timestamp, key, value, headers = json.loads(line)
            if place == partition:
                pairs = tuple((name, _bytes(data)) for name, data in headers)
                found[offset] = Kept(offset, timestamp, _bytes(key), _bytes(value), pairs)
        return [found[offset] for offset in sorted(found)]

    async def all(self, topic: str, partition: int) -> list[Any]:
        """Return all records of a partition at once; only for small topics."""
        return [record async for portion in self.portions(topic, partition) for record in portion]


def open_consumer(request: Request) -> Any:
    """Open a consumer outside any group."""
    return AIOKafkaConsumer(
        bootstrap_servers=request.bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=20,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        check_crcs=False,
    )


async def keep_records(bootstrap_servers: str, topic: str, partitions: Iterable[int], archive: Path) -> None:
    """Append all records of the log (``topic`` is the broker's name for it) to ``archive``, before they are deleted."""
    request = Request(bootstrap_servers=bootstrap_servers, prefix="", app_id="", partitions=0)
    async with open_consumer(request) as consumer:
        reader = Topic(consumer, Topics(), request)
        with archive.open("a", encoding="ascii") as file:
            for partition in partitions:
                async for portion in reader.portions(topic, partition):
                    for r in portion:
                        headers = [(name, _text(data)) for name, data in r.headers]
                        entry = (partition, r.offset, r.timestamp, _text(r.key), _text(r.value), headers)
                        file.write(json.dumps(entry) + "\n")


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
