"""The broker that the campaign breaks: each fault really takes effect, and the data survives them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from campaign.live.administration import administering
from campaign.live.brokers import Broker
from campaign.live.listeners import PASSWORD, USER

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TOPIC = "kept"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker(tmp_path / "kafka") as started:
        admin = AIOKafkaAdminClient(bootstrap_servers=started.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
        await admin.close()
        yield started


async def write(address: str, value: bytes, seconds: float = 30.0, **options) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", request_timeout_ms=2_000, **options)
    try:
        async with asyncio.timeout(seconds):
            await producer.start()
            return (await producer.send_and_wait(TOPIC, value)).offset
    finally:
        async with asyncio.timeout(seconds):
            await producer.stop()


async def everything(broker: Broker) -> list[bytes]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        found = await consumer.getmany(timeout_ms=5_000)
        return [record.value for records in found.values() for record in records]
    finally:
        await consumer.stop()


async def test_all_of_a_clients_traffic_takes_its_route_and_only_that(broker: Broker) -> None:
    assert await write(broker.address_of(0), b"a") == 0
    assert broker.routes[0].connections >= 2, "the broker's first answer sent the client to another address"
    assert broker.routes[1].connections == 0
    broker.routes[0].silence()
    with pytest.raises((TimeoutError, KafkaError)):
        await write(broker.address_of(0), b"b", seconds=5.0)
    assert await write(broker.address_of(1), b"c") == 1


async def test_what_was_acknowledged_survives_a_stop_a_kill_and_a_pause(broker: Broker) -> None:
    await write(broker.bootstrap_servers, b"before a stop")
    await broker.stop()
    assert not broker.alive
    await broker.start()
    await write(broker.address_of(1), b"before a kill")
    await broker.kill()
    assert not broker.alive
    await broker.start()
    broker.pause()
    with pytest.raises((TimeoutError, KafkaError)):
        await write(broker.bootstrap_servers, b"during a pause", seconds=3.0)
    broker.go_on()
    await write(broker.bootstrap_servers, b"after a pause")
    # A record that was not acknowledged may still have been written, because the broker reads it from its sockets
    # later.
    found = [value for value in await everything(broker) if value != b"during a pause"]
    assert found == [b"before a stop", b"before a kill", b"after a pause"]


async def test_a_user_who_is_denied_a_topic_cannot_write_it_until_it_is_allowed(broker: Broker) -> None:
    known = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": USER,
        "sasl_plain_password": PASSWORD,
    }
    assert await write(broker.guarded_servers, b"a", **known) == 0
    async with administering(broker.bootstrap_servers) as admin:
        await admin.deny_writing(TOPIC, USER)
    with pytest.raises(KafkaError):
        await write(broker.guarded_servers, b"b", **known)
    async with administering(broker.bootstrap_servers) as admin:
        await admin.allow_writing(TOPIC, USER)
    assert await write(broker.guarded_servers, b"c", **known) == 1
