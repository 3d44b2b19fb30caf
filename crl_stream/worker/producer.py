"""The producer half of the transport: idempotent, acknowledged by all replicas, awaited.

A write returns when the broker has it.  One future per record batch instead of one per record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from faust.transport.drivers import aiokafka as driver

from crl_stream.errors import Unsafe

Item = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]


class Written(NamedTuple):
    """Offsets of the first and last record of a write."""

    first: int
    last: int


class Producer(driver.Producer):
    """Faust's aiokafka producer with an awaited batch write."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def flush(self) -> None:
        """Wait until Faust's own buffer is empty: its flush gives up after 0.1 s without progress."""
        while self.buffer.size:  # noqa: ASYNC110 - the buffer is Faust's and has no event
            await asyncio.sleep(0.01)
        await super().flush()

    async def write(self, topic: str, partition: int, items: Iterable[Item]) -> Written:
        """Append ``items`` in order to one partition and wait for the broker; raises when it does not take them.

        What fits into one record batch is written atomically.
        """
        producer = self._ensure_producer()
        builder = producer.create_batch()
        batches: list[tuple[Any, Any]] = []
        for key, value, headers in items:
            if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                if builder.record_count():
                    batches.append((builder, await producer.send_batch(builder, topic, partition=partition)))
                builder = producer.create_batch()
                if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                    raise Unsafe(
                        f"a record of {len(value or b'')} bytes for {topic} does not fit into a batch",
                        hint="raise max.message.bytes of the topic and the worker's batch size together",
                    )
        batches.append((builder, await producer.send_batch(builder, topic, partition=partition)))
        done = [(built, await future) for built, future in batches]
        return Written(done[0][1].offset, done[-1][1].offset + done[-1][0].record_count() - 1)
