"""The producer half of the transport: idempotent writes that are awaited and acknowledged by all replicas.

A write returns when all replicas have it. There is one future per record batch instead of one per record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from faust.transport.drivers import aiokafka as driver

from crl_stream.errors import Unsafe
from crl_stream.kafka.byte_names import ByteNamesBatch, has_byte_names
from crl_stream.kafka.connection import wait_through_outages
from crl_stream.wire.records import Headers, record_size

Item = tuple[bytes | None, bytes | None, Headers]


BATCH_BYTES: Final = 900_000
"""The largest size in bytes of a batch of several records, below the limit of every topic."""
LARGEST_RECORD: Final = 4_000_000
"""The largest record that any topic accepts, in bytes; also the producer's batch size."""


class Written(NamedTuple):
    """The offsets of the first and last record of a write."""

    first: int
    last: int


class Producer(driver.Producer):
    """Faust's aiokafka producer with an awaited batch write."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        wait_through_outages(producer)
        return producer

    async def flush(self) -> None:
        """Wait until Faust's own buffer is empty, because Faust's flush gives up after 0.1 s without progress."""
        while self.buffer.size:  # noqa: ASYNC110 - the buffer is Faust's and has no event
            await asyncio.sleep(0.01)
        await super().flush()

    async def write(self, topic: str, partition: int, items: Iterable[Item], *, limit: int = BATCH_BYTES) -> Written:
        """Append ``items`` in order to one partition and wait for the broker; raise if it does not accept them.

        Items that fit into ``limit`` bytes form one record batch, and so appear together or not at all.
        """
        producer = self._ensure_producer()
        builder = producer.create_batch()
        batches: list[tuple[Any, Any]] = []
        for key, value, headers in items:
            size, odd = record_size(key, value, headers), has_byte_names(headers)
            if builder.record_count() and (odd or builder.size() + size > limit):
                batches.append((builder, await producer.send_batch(builder, topic, partition=partition)))
                builder = producer.create_batch()
            if odd:
                lone = ByteNamesBatch(key, value, headers, LARGEST_RECORD)
                batches.append((lone, await producer.send_batch(lone, topic, partition=partition)))
                continue
            if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                raise Unsafe(
                    f"a record of {size} bytes for {topic} is larger than {LARGEST_RECORD} bytes",
                    hint="lower degradation.lookback_window or limits.variants for this task",
                )
        if builder.record_count():
            batches.append((builder, await producer.send_batch(builder, topic, partition=partition)))
        done = [(built, await future) for built, future in batches]
        return Written(done[0][1].offset, done[-1][1].offset + done[-1][0].record_count() - 1)
