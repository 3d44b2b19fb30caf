"""Records by their place: what is asked for comes, and many of them do not cost a journey each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from campaign.live.brokers import Broker
from crl_stream.worker.point_reader import PointReader

pytestmark = pytest.mark.integration

TOPIC = "orders"
RECORDS = 400


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker(tmp_path / "kafka") as started:
        admin = AIOKafkaAdminClient(bootstrap_servers=started.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic(TOPIC, 2, 1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=started.bootstrap_servers)
        await producer.start()
        for number in range(RECORDS):
            await producer.send(TOPIC, b"%d" % number, partition=0)
        await producer.stop()
        yield started


async def test_a_slow_way_to_the_broker_does_not_stop_a_partition_with_many_commands(broker: Broker) -> None:
    reader = PointReader({"bootstrap_servers": broker.address_of(0)})
    broker.routes[0].slow(0.1)
    try:
        found = await reader.read(TOPIC, [(0, offset) for offset in range(RECORDS)])
    finally:
        await reader.close()
    assert {offset: record.value for (_, offset), record in found.items()} == {n: b"%d" % n for n in range(RECORDS)}


async def test_what_is_not_there_is_none_and_the_rest_comes(broker: Broker) -> None:
    reader = PointReader({"bootstrap_servers": broker.bootstrap_servers})
    wanted = [(0, 0), (0, 3), (0, 250), (0, RECORDS - 1), (0, RECORDS), (1, 0), (7, 2)]
    try:
        found = await reader.read(TOPIC, wanted)
    finally:
        await reader.close()
    there = {place: None if record is None else record.value for place, record in found.items()}
    assert there == {
        (0, 0): b"0",
        (0, 3): b"3",
        (0, 250): b"250",
        (0, RECORDS - 1): b"%d" % (RECORDS - 1),
        (0, RECORDS): None,
        (1, 0): None,
        (7, 2): None,
    }


async def test_a_question_without_an_answer_is_followed_by_one_that_has_one(broker: Broker) -> None:
    reader = PointReader({"bootstrap_servers": broker.bootstrap_servers})
    try:
        assert await reader.read(TOPIC, [(1, 0)]) == {(1, 0): None}
        async with asyncio.timeout(10):
            assert (await reader.read(TOPIC, [(0, 5)]))[0, 5].value == b"5"
    finally:
        await reader.close()
