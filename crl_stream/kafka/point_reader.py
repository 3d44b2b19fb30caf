"""Reads records by position: the command a reference names, the last folded record, or those between two writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from crl_stream.errors import Unanswered
from crl_stream.kafka.log_consumer import LogConsumer, whole_ends
from crl_stream.kafka.positions import FETCH_WAIT_MS, records_at, some_between
from crl_stream.kafka.topic_ids import NO_ID, describe_cluster

TIMEOUT_SECONDS: Final = 20.0
"""How long to wait for an existing record before the broker is considered silent."""

T = TypeVar("T")


class PointReader:
    """Reads records at given positions with its own consumer, outside any group, one request at a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def read(self, topic: str, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        """Return the record at each (partition, offset), or None; raise ``Unanswered`` if no broker answers."""
        wanted = sorted(set(places))
        if not wanted:
            return {}
        return await self._ask(topic, self._read(topic, wanted))

    async def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the end offset of each (topic, partition) without open transactions; ask each broker only once."""
        wanted = [TopicPartition(*place) for place in places]
        if not wanted:
            return {}
        return await self._ask(wanted[0].topic, self._ends(wanted))

    async def whole_ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the end offsets as ``ends`` does, but including open transactions."""
        wanted = [TopicPartition(*place) for place in places]
        return await self._ask(wanted[0].topic, self._whole_ends(wanted)) if wanted else {}

    async def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Return the id of each topic that exists, in hexadecimal; empty if the broker reports none."""
        wanted = sorted(set(topics))
        return await self._ask(wanted[0], self._ids(wanted)) if wanted else {}

    async def between(self, topic: str, partition: int, first: int, end: int) -> AsyncIterator[Any]:
        """Yield the records from ``first`` up to but not including ``end``, which must not exceed the topic's end.

        Other requests may be answered in between.
        """
        while first < end:
            records, first = await self._ask(topic, self._some(TopicPartition(topic, partition), first, end))
            for record in records:
                yield record

    async def _ask(self, topic: str, answer: Awaitable[T]) -> T:
        async with self._lock:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await answer
            except (KafkaError, TimeoutError) as error:
                raise Unanswered(
                    f"{topic} cannot be read: {error!r}", hint="check that the broker answers, then restart"
                ) from error
            finally:
                # The consumer would keep fetching records that no one needs.  Pausing it is safer than unsubscribing,
                # which stops aiokafka's fetcher if it was about to start.
                if self._consumer is not None:
                    self._consumer.pause(*self._consumer.assignment())

    async def _ends(self, wanted: list[TopicPartition]) -> dict[tuple[str, int], int]:
        consumer = await self._started()
        found = await consumer.end_offsets(wanted)
        return {(place.topic, place.partition): end for place, end in found.items()}

    async def _whole_ends(self, wanted: list[TopicPartition]) -> dict[tuple[str, int], int]:
        found = await whole_ends(await self._started(), wanted)
        return {(place.topic, place.partition): end for place, end in found.items()}

    async def _ids(self, wanted: list[str]) -> dict[str, str]:
        consumer = await self._started()
        found = await describe_cluster(consumer._client, wanted)
        return {name: "" if state.id == NO_ID else state.id.hex() for name, state in found.topics.items()}

    async def _read(self, topic: str, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        return await records_at(await self._started(), topic, wanted)

    async def _some(self, place: TopicPartition, first: int, end: int) -> tuple[list[Any], int]:
        return await some_between(await self._started(), place, first, end)

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = LogConsumer(**self._options, fetch_max_wait_ms=FETCH_WAIT_MS)
            await consumer.start()
            self._consumer = consumer
        return self._consumer

    async def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
