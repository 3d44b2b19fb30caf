"""Single records by their position: the command that a reference names, the record that a state ends with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from crl_stream.connection import partitions_of
from crl_stream.errors import Unsafe

TIMEOUT_SECONDS: Final = 20.0
"""After which a record that exists and does not come is a broker that does not answer."""
CLOSE: Final = 100
"""Records that are rather read and left than asked past: a request costs a way to the broker and back."""


class PointReader:
    """Reads named records with a consumer of its own, outside any group; one question at a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def read(self, topic: str, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        """The records at (partition, offset), None where there is none; ``Unsafe`` when the broker does not answer."""
        wanted = sorted(set(places))
        if not wanted:
            return {}
        async with self._lock:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await self._read(topic, wanted)
            except (KafkaError, TimeoutError) as error:
                raise Unsafe(
                    f"{topic} cannot be read: {error!r}", hint="see whether the broker answers, then restart"
                ) from error

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
            records = (await consumer.getmany(place, timeout_ms=1_000)).get(place, [])
            if records:
                wanted = set(offsets)
                found += [record for record in records if record.offset in wanted]
                behind = records[-1].offset + 1
                offsets = [offset for offset in offsets if offset >= behind]
        return found

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(**self._options, group_id=None, enable_auto_commit=False)
            await consumer.start()
            self._consumer = consumer
        return self._consumer

    async def close(self) -> None:
        """Let the connection go."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
