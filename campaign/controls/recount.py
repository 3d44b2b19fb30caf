"""The result of a control: a recount of its input against its changelog and its outputs."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from crl_stream.kafka.connection import partitions_of


class Event(NamedTuple):
    """A record of the input."""

    id: str
    key: str


@dataclass
class Recount:
    """Figures of a recount.  All except ``events`` and ``outputs`` are zero if nothing went wrong."""

    events: int = 0
    outputs: int = 0
    lost: int = 0
    """Number of records that the table has not counted, net per key."""
    doubled: int = 0
    """Number of records that the table has counted more than once, net per key."""
    silent: int = 0
    """Number of records without an output."""
    repeated: int = 0
    """Repeated outputs: all outputs of a record after its first one, whatever count they contain."""
    lag: int = 0
    """Number of records beyond the committed offsets."""

    def add(self, other: Recount) -> None:
        """Add the figures of another recount to these."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def recount(events: list[Event], counted: dict[str, int], answered: list[str], lag: int) -> Recount:
    """Compare ``events`` with the table's count per key and with the ids of all outputs."""
    expected = Counter(event.key for event in events)
    differences = [counted.get(key, 0) - expected[key] for key in expected.keys() | counted.keys()]
    outputs = Counter(answered)
    return Recount(
        events=len(events),
        outputs=len(answered),
        lost=-sum(difference for difference in differences if difference < 0),
        doubled=sum(difference for difference in differences if difference > 0),
        silent=sum(not outputs[event.id] for event in events),
        repeated=sum(count - 1 for count in outputs.values()),
        lag=lag,
    )


async def read_all(servers: str, topic: str, *, committed_only: bool) -> list[Any]:
    """Return every record now on a topic; ``committed_only`` leaves out open and aborted transactions."""
    level = "read_committed" if committed_only else "read_uncommitted"
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=None, isolation_level=level)
    await consumer.start()
    try:
        numbers = (await partitions_of(consumer, [topic])).get(topic, [])
        places = [TopicPartition(topic, number) for number in numbers]
        first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        found: list[Any] = []
        for place in places:
            if end[place] <= first[place]:
                continue
            consumer.assign([place])
            consumer.seek(place, first[place])
            while await consumer.position(place) < end[place]:
                polled = await consumer.getmany(timeout_ms=500)
                found += polled.get(place, [])
        return found
    finally:
        await consumer.stop()


async def stable(servers: str, topic: str, seconds: float) -> bool:
    """Wait until no transaction is open on a topic, so that readers of committed records see all of it."""
    until = time.monotonic() + seconds
    readers = [
        AIOKafkaConsumer(bootstrap_servers=servers, group_id=None, isolation_level=f"read_{level}")
        for level in ("committed", "uncommitted")
    ]
    await asyncio.gather(*(reader.start() for reader in readers))
    try:
        numbers = (await partitions_of(readers[0], [topic])).get(topic, [])
        places = [TopicPartition(topic, number) for number in numbers]
        while True:
            committed, there = await asyncio.gather(*(reader.end_offsets(places) for reader in readers))
            if committed == there:
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(1.0)
    finally:
        await asyncio.gather(*(reader.stop() for reader in readers))


def last_values(records: list[Any], key_of: Callable[[bytes], str | None]) -> dict[str, int]:
    """Return the last count of each key in a changelog; ``key_of`` returns None for records that are not counts."""
    found: dict[str, int] = {}
    for record in records:
        key = key_of(record.key)
        if key is None:
            continue
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = json.loads(record.value)
    return found
