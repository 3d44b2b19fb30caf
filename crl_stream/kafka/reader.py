"""Reads topics up to their end or as they grow, outside any consumer group, so that no other reader's offset moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from crl_stream.kafka.connection import reaching
from crl_stream.kafka.log_consumer import answered_at
from crl_stream.kafka.positions import bounds, places_of, records_at, records_between, records_of
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.kafka.topic_ids import describe_cluster
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.topics import Topics

_POLL_MS: Final = 500


class Received(NamedTuple):
    """A record and its decoded message; ``message`` is None if the record cannot be read."""

    topic: str
    """The topic's name in the catalog."""
    record: Any
    message: Any


class TopicReader:
    """Reads topics of one installation by their catalog names, or with ``full_names`` any topic by its broker name.

    Inside ``async with`` everything is read over one set of connections.
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
        """Return everything on a topic, or on one partition of it, up to its current end, partition by partition."""
        return sorted([one async for one in self.each(topic, partition)], key=lambda one: one.record.partition)

    async def each(self, topic: str, partition: int | None = None, since: int | None = None) -> AsyncIterator[Received]:
        """Yield what ``read`` returns one record at a time, so that the records need not be kept in memory.

        The records are in order only within a partition.  With ``since`` (milliseconds since the epoch), records that
        were stored earlier are left out.
        """
        async with self._session.reading() as consumer:
            places = await places_of(consumer, [self.names(topic)], partition)
            async for record in records_of(consumer, places, since):
                yield self._received(topic, record)

    async def extent(self, topic: str) -> int:
        """Return the number of offsets in all partitions, which is at least the number of records."""
        async with self._session.reading() as consumer:
            first, end = await bounds(consumer, await places_of(consumer, [self.names(topic)]))
            return sum(end[place] - first[place] for place in end)

    async def end(self, topic: str, partition: int) -> int:
        """Return the offset after the last committed record of one partition."""
        async with self._session.reading() as consumer:
            [place] = await places_of(consumer, [self.names(topic)], partition)
            _, end = await bounds(consumer, [place])
            return int(end[place])

    async def read_last(self, topic: str, partition: int, count: int = 1) -> list[Received]:
        """Return the last ``count`` records of one partition, oldest first, or fewer if it has fewer."""
        async with self._session.reading() as consumer:
            [place] = await places_of(consumer, [self.names(topic)], partition)
            first, end = await bounds(consumer, [place])
            start, found, back = end[place], list[Any](), count
            while len(found) < count and start > first[place]:
                # Offsets do not count records: some belong to control records or aborted transactions.
                start = max(first[place], end[place] - back)
                found = [record async for record in records_between(consumer, place, start, end[place])]
                back *= 8
            return [self._received(topic, record) for record in found[-count:]]

    async def read_at(self, topic: str, partition: int, offset: int) -> Received | None:
        """Return the record at this position, or None if there is none."""
        async with self._session.reading() as consumer:
            await places_of(consumer, [self.names(topic)])
            [record] = (await records_at(consumer, self.names(topic), [(partition, offset)])).values()
            return None if record is None else self._received(topic, record)

    async def read_each(self, topic: str, places: Iterable[tuple[int, int]]) -> list[Received]:
        """Return the records at these (partition, offset), without those that are no longer there."""
        async with self._session.reading() as consumer:
            await places_of(consumer, [self.names(topic)])
            found = await records_at(consumer, self.names(topic), places)
            return [self._received(topic, record) for record in found.values() if record is not None]

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has on the broker."""
        async with self._session.reading() as consumer:
            return len(await places_of(consumer, [self.names(topic)]))

    async def ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the id of each of the topics that exists, in hex; it changes when a topic is made again."""
        names = {self.names(topic): topic for topic in topics}
        async with self._session.reading() as consumer:
            there = (await describe_cluster(consumer._client, list(names))).topics  # noqa: SLF001 - our own request
        return {topic: there[name].id.hex() for name, topic in names.items() if name in there}

    async def cluster_id(self) -> str:
        """Return the cluster's id, which stays the same when its brokers move."""
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
        """Follow topics: new records only, or with ``from_beginning`` all existing ones first.

        The position is fixed when the block begins.  An error raised in the block itself, such as a broken pipe, is not
        treated as a Kafka error.  ``silence`` is called after every poll with the seconds of polling since Kafka last
        answered.  Without it, an unreachable broker would look like one with no new records.
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
                    # aiokafka asks for the position lazily; records that arrive before it does would be missed.
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
            # Only time spent polling counts: a pager may block the reader, and Kafka is not silent then.
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
