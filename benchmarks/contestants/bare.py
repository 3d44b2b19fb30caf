"""The product's own pure stages in the simplest loop over raw aiokafka, as an expert would write it without safeguards.

It does the same decoding and folding, and writes the same facts, rows and partition row, in the same order.  It has no
Faust, no lanes and no recovery.  It does not check for pauses of the process, rebalances or other writers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.contestants.meter import Course, Meter
from crl_stream.core.policy import PolicySet
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import PartitionRow, encode_partition, partition_key

BATCH_BYTES = 900_000


class Job:
    """Rows in memory, a consumer and a producer."""

    def __init__(self, course: Course, meter: Meter, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        self.course, self.meter, self.consumer, self.producer = course, meter, consumer, producer
        policies = PolicySet.parse(Path(course.folder, "policy.json").read_bytes())
        first = encode_partition(PartitionRow(policy=policies.canonical(), policy_hash=policies.digest()))
        self.rows: list[dict[bytes, bytes]] = [{partition_key(number): first} for number in range(course.partitions)]
        """Rows by partition; kept apart because a tick applies to every row that is passed to the fold."""

    async def write(self, topic: str, partition: int, items: Iterable[tuple[Any, Any, Any]]) -> None:
        """Append items to one partition, in batches, and wait until the broker has acknowledged all of them."""
        builder, waiting = self.producer.create_batch(), []
        for key, value, headers in items:
            if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                waiting.append(await self.producer.send_batch(builder, topic, partition=partition))
                builder = self.producer.create_batch()
                builder.append(timestamp=None, key=key, value=value, headers=list(headers))
        waiting.append(await self.producer.send_batch(builder, topic, partition=partition))
        await asyncio.gather(*waiting)

    async def work(self, place: TopicPartition, records: list[Any]) -> None:
        """Decode, fold, write outputs and rows, and update the rows in memory."""
        partition, key, stored = place.partition, partition_key(place.partition), self.rows[place.partition]
        entries = [entry for entry in decode_batch(records) if entry.record.key != b"!policy"]
        folded = fold_batch(partition, self.course.partitions, stored[key], stored, entries, {})
        groups: dict[tuple[str, int], list[Any]] = defaultdict(list)
        for output in folded.outputs:
            groups[output.topic, output.partition].append((output.key, output.value, output.headers))
        prefix = self.course.sink.removesuffix("crl.tasks")
        await asyncio.gather(*(self.write(prefix + topic, home, items) for (topic, home), items in groups.items()))
        rows = folded.rows | {key: folded.partition_row}
        await self.write(f"{self.course.name}-changelog", partition, [(k, v, ()) for k, v in rows.items()])
        stored |= rows
        self.meter.count += folded.counts.applied

    async def run(self) -> None:
        """Poll, process all partitions concurrently, and commit once a second."""
        loop = asyncio.get_running_loop()
        committed = loop.time()
        while True:
            polled = await self.consumer.getmany(timeout_ms=100)
            await asyncio.gather(*(self.work(place, records) for place, records in polled.items()))
            if polled and loop.time() - committed > 1.0:
                await self.consumer.commit()
                committed = loop.time()


async def main() -> None:
    """Run until SIGTERM."""
    course = Course()
    servers = course.servers
    consumer = AIOKafkaConsumer(
        course.source, bootstrap_servers=servers, group_id=course.name, auto_offset_reset="earliest",
        enable_auto_commit=False,
    )  # fmt: skip
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    await consumer.start()
    await Job(course, Meter(), consumer, producer).run()


if __name__ == "__main__":
    asyncio.run(main())
