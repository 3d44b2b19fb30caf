"""Reads records by position with a started consumer; both readers build on it.

Callers pass an end that does not exceed the partition's end, so nothing waits for records that do not exist.  Offsets
have gaps where a transaction ended or was aborted, or where a topic was compacted, so only the position shows how far
the consumer has read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from crl_stream.errors import ContractError
from crl_stream.kafka.connection import partitions_of

POLL_MS: Final = 1_000
FETCH_WAIT_MS: Final = 10
"""How long the broker may wait for records, in milliseconds.  It answers requests on a connection one by one, so a
fetch delays the next request."""
_AT_ONCE: Final = 2_000
"""The largest number of records in one response when many are read."""
_CLOSE: Final = 100
"""A gap of up to this many records is read and ignored, because another request costs a round trip to the broker."""

Offsets = dict[TopicPartition, int]


async def places_of(
    consumer: AIOKafkaConsumer, names: Sequence[str], partition: int | None = None
) -> list[TopicPartition]:
    """Return the partitions of topics, or only ``partition`` of each; raise ``ContractError`` if a topic is missing."""
    there = await partitions_of(consumer, names)
    if missing := [name for name in names if name not in there]:
        raise ContractError(f"The topic {missing[0]} does not exist.", hint="run `crl topics apply`")
    return [TopicPartition(name, p) for name in names for p in there[name] if partition in {None, p}]


async def bounds(consumer: AIOKafkaConsumer, places: Collection[TopicPartition]) -> tuple[Offsets, Offsets]:
    """Return the beginning of each partition, and its end for readers of committed records."""
    return await consumer.beginning_offsets(places), await consumer.end_offsets(places)


async def records_of(
    consumer: AIOKafkaConsumer, places: Collection[TopicPartition], since: int | None = None
) -> AsyncIterator[Any]:
    """Yield all records of the partitions up to their current ends, in order only within a partition.

    With ``since`` (milliseconds since the epoch), records that the broker stored earlier are left out.
    """
    first, end = await bounds(consumer, places)
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    if since is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(places, since))
        for place in places:
            # No offset means that every record is older.
            first[place] = end[place] if found.get(place) is None else found[place].offset
            consumer.seek(place, first[place])
    left = {place for place in places if end[place] > first[place]}
    while left:
        for place, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            for record in records:
                if record.offset < end[place]:
                    yield record
        # A topic may end with a control record, so only the position shows whether the end was reached.
        left = {place for place in left if await consumer.position(place) < end[place]}


async def some_between(
    consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> tuple[list[Any], int]:
    """Return some records from ``start``, or from the beginning if that is later, and the position after them."""
    start = max(start, (await consumer.beginning_offsets([place]))[place])
    if start >= end:
        return [], end
    consumer.assign([place])
    consumer.seek(place, start)
    while not (found := await consumer.getmany(place, timeout_ms=POLL_MS, max_records=_AT_ONCE)):
        pass
    return [record for record in found[place] if record.offset < end], found[place].end


async def records_between(
    consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> AsyncIterator[Any]:
    """Yield all records of a partition from ``start`` up to but not including ``end``."""
    while start < end:
        records, start = await some_between(consumer, place, start, end)
        for record in records:
            yield record


async def records_at(
    consumer: AIOKafkaConsumer, topic: str, wanted: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], Any]:
    """Return the record of a topic at each (partition, offset), or None if there is none."""
    found: dict[tuple[int, int], Any] = dict.fromkeys(sorted(wanted))
    there = (await partitions_of(consumer, [topic])).get(topic, [])
    places = {TopicPartition(topic, partition) for partition, _ in found if partition in there}
    first, end = await bounds(consumer, places)
    for place in sorted(places):
        offsets = [at for partition, at in found if partition == place.partition and first[place] <= at < end[place]]
        for record in await _pick(consumer, place, offsets):
            found[place.partition, record.offset] = record
    return found


async def _pick(consumer: AIOKafkaConsumer, place: TopicPartition, offsets: list[int]) -> list[Any]:
    """Return the records at ascending ``offsets``; records close to each other come in one response from the broker."""
    found: list[Any] = []
    consumer.assign([place])
    behind: int | None = None
    while offsets:
        if behind is None or offsets[0] > behind + _CLOSE:
            consumer.seek(place, offsets[0])
        stretch = (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place)
        if stretch:
            wanted = set(offsets)
            found += [record for record in stretch if record.offset in wanted]
            # Control records and records of aborted transactions are skipped and count as missing.
            behind = stretch.end
            offsets = [offset for offset in offsets if offset >= behind]
    return found
