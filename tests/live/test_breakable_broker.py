"""The broker that the campaign breaks: each way of breaking it is one, and its data outlives all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from campaign.live.administration import administering
from campaign.live.breakable_broker import PASSWORD, USER, BreakableBroker
from crl_stream.settings.model import Client

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TOPIC = "kept"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BreakableBroker]:
    async with BreakableBroker(tmp_path / "kafka", Client().cache_dir, routes=2, guarded=True) as started:
        admin = AIOKafkaAdminClient(bootstrap_servers=started.address)
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


async def everything(broker: BreakableBroker) -> list[bytes]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=broker.address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        found = await consumer.getmany(timeout_ms=5_000)
        return [record.value for records in found.values() for record in records]
    finally:
        await consumer.stop()


async def test_all_of_a_clients_traffic_takes_its_route_and_only_that(broker: BreakableBroker) -> None:
    assert await write(broker.address_of(0), b"a") == 0
    assert broker.routes[0].connections >= 2, "the answer to the first question named another address"
    assert broker.routes[1].connections == 0
    broker.routes[0].silence()
    with pytest.raises((TimeoutError, KafkaError)):
        await write(broker.address_of(0), b"b", seconds=5.0)
    assert await write(broker.address_of(1), b"c") == 1


async def test_what_was_acknowledged_survives_a_stop_a_kill_and_a_pause(broker: BreakableBroker) -> None:
    await write(broker.address, b"before a stop")
    await broker.stop()
    assert broker.pid is None
    await broker.start()
    await write(broker.address_of(1), b"before a kill")
    before = broker.pid
    await broker.kill()
    assert broker.pid is None
    await broker.start()
    assert broker.pid != before
    broker.pause()
    with pytest.raises((TimeoutError, KafkaError)):
        await write(broker.address, b"never", seconds=3.0)
    broker.resume()
    await write(broker.address, b"after a pause")
    assert await everything(broker) == [b"before a stop", b"before a kill", b"after a pause"]


async def test_a_user_who_is_denied_a_topic_cannot_write_it_until_it_is_allowed(broker: BreakableBroker) -> None:
    known = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": USER,
        "sasl_plain_password": PASSWORD,
    }
    assert await write(broker.guarded_address, b"a", **known) == 0
    async with administering(broker.address) as admin:
        await admin.deny_writing(TOPIC, USER)
    with pytest.raises(KafkaError):
        await write(broker.guarded_address, b"b", **known)
    async with administering(broker.address) as admin:
        await admin.allow_writing(TOPIC, USER)
    assert await write(broker.guarded_address, b"c", **known) == 1
