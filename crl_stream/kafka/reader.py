"""Reading topics as they stand or as they grow, outside any group: nothing that others read is moved by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from crl_stream.kafka.connection import reaching
from crl_stream.kafka.log_consumer import answered_at
from crl_stream.kafka.positions import bounds, places_of, records_at, records_between, records_of
from crl_stream.kafka.session import Access, KafkaSession
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
    """Reads topics of one installation by their catalog names; ``full_names`` any topics, by the broker's names.

    Inside ``async with`` all that it reads comes over one set of connections.
    """

    def __init__(self, access: Access, *, full_names: bool = False) -> None:
        self._session = KafkaSession.of(access)
        self.kafka = self._session.kafka
        self.names = Topics("" if full_names else self.kafka.topic_prefix)

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._session.__aexit__(*raised)

    async def read(self, topic: str, partition: int | None = None) -> list[Received]:
        """Everything on a topic, or on one partition of it, up to its end as it is now; partition by partition."""
        return sorted([one async for one in self.each(topic, partition)], key=lambda one: one.record.partition)

    async def each(self, topic: str, partition: int | None = None) -> AsyncIterator[Received]:
        """Like ``read``, one record after the other as they come: what is not kept takes no memory.

        In order within a partition only.
        """
        async with self._session.reading() as consumer:
            async for record in records_of(consumer, await places_of(consumer, [self.names(topic)], partition)):
                yield self._received(topic, record)

    async def extent(self, topic: str) -> int:
        """How many offsets lie between the beginnings of a topic's partitions and their ends; no fewer than records."""
        async with self._session.reading() as consumer:
            first, end = await bounds(consumer, await places_of(consumer, [self.names(topic)]))
            return sum(end[place] - first[place] for place in end)

    async def read_last(self, topic: str, partition: int, count: int = 1) -> list[Received]:
        """The last ``count`` records of one partition, oldest first; fewer where there are fewer."""
        async with self._session.reading() as consumer:
            [place] = await places_of(consumer, [self.names(topic)], partition)
            first, end = await bounds(consumer, [place])
            start, found, back = end[place], list[Any](), count
            while len(found) < count and start > first[place]:
                # Offsets are no count: some have a control record, or one of an aborted transaction.
                start = max(first[place], end[place] - back)
                found = [record async for record in records_between(consumer, place, start, end[place])]
                back *= 8
            return [self._received(topic, record) for record in found[-count:]]

    async def read_at(self, topic: str, partition: int, offset: int) -> Received | None:
        """One record, or None where there is none."""
        async with self._session.reading() as consumer:
            await places_of(consumer, [self.names(topic)])
            [record] = (await records_at(consumer, self.names(topic), [(partition, offset)])).values()
            return None if record is None else self._received(topic, record)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has on the broker."""
        async with self._session.reading() as consumer:
            return len(await places_of(consumer, [self.names(topic)]))

    async def cluster_id(self) -> str:
        """What the cluster calls itself: the same wherever its brokers move."""
        async with self._session.administering() as admin:
            return str((await admin.describe_cluster()).get("cluster_id") or "")

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
        consumer = self._session.consumer(follows=True)
        try:
            with reaching(self.kafka):
                await consumer.start()
                places = await places_of(consumer, [*map(self.names, topics)], partition)
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
