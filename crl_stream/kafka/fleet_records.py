"""Follows the topics from which the dashboard knows the fleet: what is true now, and the newest of what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition

from crl_stream.kafka.connection import reaching
from crl_stream.kafka.log_consumer import answered_at
from crl_stream.kafka.positions import Offsets, bounds, places_of
from crl_stream.kafka.reader import Received
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.topics import Topics

EVENTS_READ: Final = 12_000
"""About how many of the newest records of a topic of events are read at the start, over all its partitions."""
LEAST_READ: Final = 300
"""How many of them are read from each partition, even if there are many partitions."""
POLL_MS: Final = 250
AT_ONCE: Final = 200
"""Records decoded at a time: the event loop may be that of a worker, which has other work."""


class Batch(NamedTuple):
    """What one poll brought."""

    received: list[Received]
    caught_up: bool
    """Whether everything that was on the topics at the start has been read."""
    silent: float
    """Seconds since Kafka last answered."""


async def follow_fleet(
    kafka: Kafka, states: Sequence[str], events: Sequence[str], positions: Offsets
) -> AsyncGenerator[Batch, None]:
    """Follow the topics of ``states`` from their beginning and those of ``events`` from their newest records.

    ``positions`` says how far each partition was read before, and is kept up to date; so the next call continues there.
    Raises ``Unavailable`` if Kafka cannot be reached, and ``ContractError`` if a topic is missing.
    """
    names = Topics(kafka.topic_prefix)
    topics = {names(topic): topic for topic in (*states, *events)}
    consumer = KafkaSession(kafka).consumer(follows=True, auto_offset_reset="earliest")
    try:
        with reaching(kafka):
            await consumer.start()
            places = await places_of(consumer, list(topics))
            first, end = await bounds(consumer, places)
            consumer.assign(places)
            partitions = {name: sum(place.topic == name for place in places) for name in topics}
            for place in places:
                back = max(LEAST_READ, EVENTS_READ // partitions[place.topic])
                newest = first[place] if topics[place.topic] in states else end[place] - back
                at = positions.get(place, newest)
                # A position after the end belongs to a topic that was deleted and created again.
                consumer.seek(place, first[place] if at > end[place] else max(first[place], at))
        left = {place for place in places if end[place] > first[place]}
        answered, silent = 0, 0.0
        while True:
            began = time.monotonic()
            with reaching(kafka):
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
                left = {place for place in left if await consumer.position(place) < end[place]} if left else left
            silent += time.monotonic() - began
            if (latest := answered_at(consumer, places)) != answered:
                answered, silent = latest, 0.0
            yield Batch(_received(polled, topics), not left, silent)
            positions |= {place: stretch.end for place, stretch in polled.items()}
            await asyncio.sleep(0)
    finally:
        await asyncio.shield(consumer.stop())


def _received(polled: dict[TopicPartition, Any], topics: dict[str, str]) -> list[Received]:
    records = sorted((record for found in polled.values() for record in found), key=lambda record: record.timestamp)
    found = []
    for record in records:
        topic = topics[record.topic]
        decoded = decode_record(topic, record)
        found.append(Received(topic, record, None if isinstance(decoded, Rejected) else decoded.message))
    return found
