"""Reading topics as they stand or as they grow, outside any group: nothing that others read is moved by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from crl_stream.errors import ContractError
from crl_stream.kafka.connection import connection_options, partitions_of, reaching
from crl_stream.kafka.log_consumer import LogConsumer, answered_at
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.topics import Topics

_POLL_MS: Final = 500


class Received(NamedTuple):
    """A record and what it says; ``message`` is None where it says nothing readable."""

    topic: str
    """The catalog's name."""
    record: Any
    message: Any


class TopicReader:
    """Reads topics of one installation by their catalog names."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.names = Topics(kafka.topic_prefix)

    async def read(self, topic: str, partition: int | None = None) -> list[Received]:
        """Everything on a topic, or on one partition of it, up to its end as it is now; partition by partition."""
        async with self._consumer() as consumer:
            places = await self._places(consumer, [topic], partition)
            first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            left = {place for place in places if end[place] > first[place]}
            found: dict[TopicPartition, list[Any]] = {place: [] for place in places}
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            while left:
                for place, stretch in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                    found[place] += [record for record in stretch if record.offset < end[place]]
                # A topic may end with a control record, so that only the position tells.
                left = {place for place in left if await consumer.position(place) < end[place]}
            return [self._received(topic, record) for place in places for record in found[place]]

    async def extent(self, topic: str) -> int:
        """How many offsets lie between the beginnings of a topic's partitions and their ends; no fewer than records."""
        async with self._consumer() as consumer:
            places = await self._places(consumer, [topic], None)
            first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            return sum(end[place] - first[place] for place in places)

    async def each(self, topic: str, partition: int | None = None) -> AsyncIterator[Received]:
        """Like ``read``, one record after the other as they come: what is not kept takes no memory.

        In order within a partition only.
        """
        async with self._consumer() as consumer:
            places = await self._places(consumer, [topic], partition)
            first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            left = {place for place in places if end[place] > first[place]}
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            while left:
                for place, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                    for record in records:
                        if record.offset < end[place]:
                            yield self._received(topic, record)
                left = {place for place in left if await consumer.position(place) < end[place]}

    async def read_last(self, topic: str, partition: int, count: int = 1) -> list[Received]:
        """The last ``count`` records of one partition, oldest first; fewer where there are fewer."""
        async with self._consumer() as consumer:
            [place] = await self._places(consumer, [topic], partition)
            first, end = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
            consumer.assign([place])
            start, found, back = end[place], list[Any](), count
            while len(found) < count and start > first[place]:
                # Offsets are no count: some have a control record, or one of an aborted transaction.
                start = max(first[place], end[place] - back)
                found = await self._between(consumer, place, start, end[place])
                back *= 8
            return [self._received(topic, record) for record in found[-count:]]

    async def cluster_id(self) -> str:
        """What the cluster calls itself: the same wherever its brokers move."""
        admin = AIOKafkaAdminClient(**connection_options(self.kafka))
        with reaching(self.kafka):
            try:
                await admin.start()
                return str((await admin.describe_cluster()).get("cluster_id") or "")
            finally:
                await admin.close()

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has on the broker."""
        async with self._consumer() as consumer:
            return len(await self._places(consumer, [topic], None))

    async def read_at(self, topic: str, partition: int, offset: int) -> Received | None:
        """One record, or None where there is none."""
        async with self._consumer() as consumer:
            place = TopicPartition(self.names(topic), partition)
            if place not in await self._places(consumer, [topic], None):
                return None
            first, end = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
            if not first[place] <= offset < end[place]:
                return None
            consumer.assign([place])
            for record in await self._between(consumer, place, offset, offset + 1):
                return self._received(topic, record)
            return None

    @staticmethod
    async def _between(consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int) -> list[Any]:
        """The records of a partition from ``start`` on and before ``end``, which must not be behind its end."""
        found: list[Any] = []
        if start < end:
            consumer.seek(place, start)
            while await consumer.position(place) < end:
                found += (await consumer.getmany(place, timeout_ms=_POLL_MS)).get(place, [])
        return [record for record in found if record.offset < end]

    @asynccontextmanager
    async def following(
        self,
        topics: Sequence[str],
        partition: int | None = None,
        *,
        from_beginning: bool = False,
        silence: Callable[[float], None] | None = None,
    ) -> AsyncIterator[AsyncIterator[Received]]:
        """What comes from now on, or all there is and then what comes; positioned when the block begins.

        What the block itself raises, such as a broken pipe, is not taken for an error of Kafka.  ``silence`` is called
        after every poll, with the seconds of polls since Kafka last answered: a broker that is away looks like one
        that has nothing new.
        """
        consumer = LogConsumer(**connection_options(self.kafka))
        try:
            with reaching(self.kafka):
                await consumer.start()
                places = await self._places(consumer, topics, partition)
                consumer.assign(places)
                if from_beginning:
                    await consumer.seek_to_beginning(*places)
                else:
                    await consumer.seek_to_end(*places)
                    # The position is asked for lazily; what comes between now and then would be missed.
                    for place in places:
                        await consumer.position(place)
            yield self._follow(consumer, {self.names(topic): topic for topic in topics}, places, silence)
        finally:
            with reaching(self.kafka):
                await asyncio.shield(consumer.stop())

    async def _follow(
        self,
        consumer: AIOKafkaConsumer,
        topics: dict[str, str],
        places: Sequence[TopicPartition],
        silence: Callable[[float], None] | None,
    ) -> AsyncIterator[Received]:
        answered, silent = 0, 0.0
        while True:
            began = time.monotonic()
            with reaching(self.kafka):
                polled = await consumer.getmany(timeout_ms=_POLL_MS)
            # Only the time of polls counts: who reads may be held up by a pager, and that is not Kafka's silence.
            silent += time.monotonic() - began
            if (latest := answered_at(consumer, places)) != answered:
                answered, silent = latest, 0.0
            if silence is not None:
                silence(silent)
            records = [record for found in polled.values() for record in found]
            for record in sorted(records, key=lambda r: r.timestamp):
                yield self._received(topics[record.topic], record)

    @staticmethod
    def _received(topic: str, record: Any) -> Received:
        decoded = decode_record(topic, record)
        return Received(topic, record, None if isinstance(decoded, Rejected) else decoded.message)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = LogConsumer(**connection_options(self.kafka))
        with reaching(self.kafka):
            try:
                await consumer.start()
                yield consumer
            finally:
                await asyncio.shield(consumer.stop())

    async def _places(
        self, consumer: AIOKafkaConsumer, topics: Iterable[str], partition: int | None
    ) -> list[TopicPartition]:
        names = [self.names(topic) for topic in topics]
        there = await partitions_of(consumer, names)
        if missing := [name for name in names if name not in there]:
            raise ContractError(f"The topic {missing[0]} does not exist.", hint="run `crl topics apply`")
        return [TopicPartition(name, p) for name in names for p in there[name] if partition in {None, p}]
