"""Records by position: the command a reference names, the record a state ends with, those between two writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from crl_stream.errors import Unanswered
from crl_stream.kafka.connection import partitions_of
from crl_stream.kafka.log_consumer import LogConsumer, whole_ends
from crl_stream.kafka.topic_ids import NO_ID, describe_cluster

TIMEOUT_SECONDS: Final = 20.0
"""After which a record that exists and does not come is a broker that does not answer."""
AT_ONCE: Final = 2_000
"""Records of one answer at most, where many are read."""
CLOSE: Final = 100
"""Records that are rather read and left than asked past: a request costs a way to the broker and back."""
FETCH_WAIT_MS: Final = 10
"""The broker answers one request of a connection after the other: what is asked next would wait behind a fetch that
waits for records to come."""

T = TypeVar("T")


class PointReader:
    """Reads named records with a consumer of its own, outside any group; one question at a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def read(self, topic: str, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        """The records at (partition, offset), None where there is none; ``Unanswered`` when no answer comes."""
        wanted = sorted(set(places))
        if not wanted:
            return {}
        return await self._ask(topic, self._read(topic, wanted))

    async def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Where each (topic, partition) ends, open transactions left out; one request for each broker."""
        wanted = [TopicPartition(*place) for place in places]
        if not wanted:
            return {}
        return await self._ask(wanted[0].topic, self._ends(wanted))

    async def whole_ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """As ``ends``, open transactions included."""
        wanted = [TopicPartition(*place) for place in places]
        return await self._ask(wanted[0].topic, self._whole_ends(wanted)) if wanted else {}

    async def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The id of each topic that exists, in hexadecimal digits; empty where the broker gives none."""
        wanted = sorted(set(topics))
        return await self._ask(wanted[0], self._ids(wanted)) if wanted else {}

    async def between(self, topic: str, partition: int, first: int, end: int) -> AsyncIterator[Any]:
        """The records from ``first`` up to ``end``, without it, which must not be behind the topic's end.

        Others may ask in between.
        """
        while first < end:
            records, first = await self._ask(topic, self._some(TopicPartition(topic, partition), first, end))
            for record in records:
                if record.offset < end:
                    yield record

    async def _ask(self, topic: str, answer: Awaitable[T]) -> T:
        async with self._lock:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await answer
            except (KafkaError, TimeoutError) as error:
                raise Unanswered(
                    f"{topic} cannot be read: {error!r}", hint="see whether the broker answers, then restart"
                ) from error
            finally:
                # It would go on fetching what nobody asks for.  Unsubscribing ends aiokafka's fetcher when it was about
                # to begin.
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

    async def _some(self, place: TopicPartition, first: int, end: int) -> tuple[list[Any], int]:
        """Records from ``first`` on, or from where the topic begins now, and the offset behind them."""
        consumer = await self._started()
        first = max(first, (await consumer.beginning_offsets([place]))[place])
        if first >= end:
            return [], end
        consumer.assign([place])
        consumer.seek(place, first)
        while not (found := await consumer.getmany(place, timeout_ms=1_000, max_records=AT_ONCE)):
            pass
        return found[place], found[place].end

    async def _read(self, topic: str, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        consumer = await self._started()
        there = (await partitions_of(consumer, [topic])).get(topic, [])
        places = {TopicPartition(topic, partition) for partition, _ in wanted if partition in there}
        first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        found: dict[tuple[int, int], Any] = dict.fromkeys(wanted)
        for place in sorted(places):
            offsets = [
                at for partition, at in wanted if partition == place.partition and first[place] <= at < end[place]
            ]
            for record in await self._pick(consumer, place, offsets):
                found[place.partition, record.offset] = record
        return found

    @staticmethod
    async def _pick(consumer: AIOKafkaConsumer, place: TopicPartition, offsets: list[int]) -> list[Any]:
        """The records at ascending ``offsets``: what lies close together comes in one answer of the broker."""
        found: list[Any] = []
        consumer.assign([place])
        behind: int | None = None
        while offsets:
            if behind is None or offsets[0] > behind + CLOSE:
                consumer.seek(place, offsets[0])
            stretch = (await consumer.getmany(place, timeout_ms=1_000)).get(place)
            if stretch:
                wanted = set(offsets)
                found += [record for record in stretch if record.offset in wanted]
                # A control record, or one of an aborted transaction, is passed by and is not there.
                behind = stretch.end
                offsets = [offset for offset in offsets if offset >= behind]
        return found

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = LogConsumer(**self._options, fetch_max_wait_ms=FETCH_WAIT_MS)
            await consumer.start()
            self._consumer = consumer
        return self._consumer

    async def close(self) -> None:
        """Let the connection go."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
