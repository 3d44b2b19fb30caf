"""Tracks how far the group has folded the log, from its changelog."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from crl_stream.stages.partition import PartitionRow, decode_partition, partition_key
from crl_stream.wire.topics import PARTITION_ROW


class Progress:
    """Follows the partition rows of the monitor's changelog from its beginning."""

    def __init__(self, bootstrap_servers: str, changelog: str, partitions: int) -> None:
        self._changelog, self.partitions = changelog, range(partitions)
        self._consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        self.rows: dict[int, PartitionRow] = {partition: PartitionRow() for partition in self.partitions}
        self.since: dict[int, float] = dict.fromkeys(self.partitions, 0.0)
        """The time at which each partition last made progress (``time.monotonic``)."""
        self._moved = asyncio.Condition()
        self._read = dict.fromkeys(self.partitions, 0)
        """The changelog offset after the last record that was read."""
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def start(self) -> None:
        """Start following the changelog."""
        await self._consumer.start()
        self._consumer.assign([TopicPartition(self._changelog, p) for p in self.partitions])
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following the changelog."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    async def ends(self, topic: str, partitions: Collection[int] | None = None) -> dict[int, int]:
        """Return the end offset of each partition of a topic (the broker's name)."""
        places = [TopicPartition(topic, p) for p in (self.partitions if partitions is None else partitions)]
        return {place.partition: end for place, end in (await self._consumer.end_offsets(places)).items()}

    def marks(self, partitions: Collection[int] | None = None) -> dict[int, int]:
        """Return the first offset that is not folded yet, by partition."""
        return {p: self.rows[p].next_offset for p in (self.partitions if partitions is None else partitions)}

    async def caught_up(self, seconds: float = 10.0) -> None:
        """Wait until the changelog has been read up to its current end, so that any later record is new."""
        ends = await self.ends(self._changelog)
        async with asyncio.timeout(seconds), self._moved:
            await self._moved.wait_for(lambda: self._check() and all(self._read[p] >= end for p, end in ends.items()))

    async def beyond(self, marks: Mapping[int, int], seconds: float, *, every: bool = True) -> float:
        """Wait until every partition (or, without ``every``, any one of them) is folded beyond its mark.

        Returns the time at which that happened (``time.monotonic``).  Raises ``TimeoutError`` after ``seconds``.
        """
        enough = all if every else any
        async with asyncio.timeout(seconds), self._moved:
            await self._moved.wait_for(
                lambda: self._check() and enough(self.rows[p].next_offset > mark for p, mark in marks.items())
            )
        return time.monotonic()

    async def _follow(self) -> None:
        try:
            await self._read_on()
        except Exception as error:
            self._failure = error
            async with self._moved:
                self._moved.notify_all()

    def _check(self) -> bool:
        if self._failure is not None:
            raise RuntimeError(f"the changelog is no longer followed: {self._failure!r}") from self._failure
        return True

    async def _read_on(self) -> None:
        own = {partition_key(p): p for p in self.partitions}
        while True:
            polled: dict[Any, list[Any]] = {}
            with suppress(KafkaError, OSError):
                polled = await self._consumer.getmany(timeout_ms=200)
            if not any(polled.values()):
                continue
            found = {
                own[record.key]: record.value
                for records in polled.values()
                for record in records
                if record.key.startswith(PARTITION_ROW) and record.value is not None
            }
            async with self._moved:
                for place, records in polled.items():
                    if records:
                        self._read[place.partition] = records[-1].offset + 1
                for partition, value in found.items():
                    row = decode_partition(value)
                    if row.next_offset > self.rows[partition].next_offset:
                        self.since[partition] = time.monotonic()
                    self.rows[partition] = row
                self._moved.notify_all()
