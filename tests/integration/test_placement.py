"""A record counts in the window of its task, whatever partition a client puts it in."""

from __future__ import annotations

import asyncio

import pytest
from builders import AGENT, TASK, an_invocation
from confluent_kafka import Producer
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.core.identity import TaskKey
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS

pytestmark = pytest.mark.integration


async def test_a_record_of_librdkafka_with_its_default_partitioner_counts_in_the_window_of_its_task(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    keys = [TaskKey(AGENT, f"{TASK}-{number}") for number in range(12)]
    placed: dict[TaskKey, int] = {}

    def produce() -> None:
        producer = Producer({"bootstrap.servers": installation.kafka.bootstrap_servers})
        for key in keys:
            message = an_invocation(task_type=key.task_type)
            producer.produce(
                installation.names(INVOCATIONS),
                key=key.encode(),
                value=encode(message),
                on_delivery=lambda error, record, key=key: placed.__setitem__(key, -1 if error else record.partition()),
            )
        producer.flush(30)

    await asyncio.to_thread(produce)
    misplaced = [k for k, p in placed.items() if p != partition_of(k.encode(), installation.kafka.partitions)]
    assert len(placed) == len(keys)
    assert misplaced, "librdkafka's CRC32 and Kafka's murmur2 never differed, so the test proves nothing"
    await installation.settled()
    for key in keys:
        status, page = await worker.get(f"/api/tasks/{key}")
        assert (status, page["n_outcomes"]) == (200, 1), key
        assert page["as_of"]["partition"] == partition_of(key.encode(), installation.kafka.partitions)
    await assert_topics_equal_the_fold(installation)


async def test_a_record_with_an_explicit_wrong_partition_counts_in_the_window_of_its_task(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    key = TaskKey(AGENT, TASK).encode()
    home = partition_of(key, installation.kafka.partitions)
    for number in range(6):
        await installation.send(encode(an_invocation()), key, partition=(home + number) % 4)
    await installation.settled()
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert page["n_outcomes"] == 6
    assert page["variants"][0]["window"]["size"] == 6
    _, figures = await worker.get("/api/worker")
    assert figures["counters"]["forwarded"] == 4
    await assert_topics_equal_the_fold(installation)
