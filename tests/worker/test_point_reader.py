"""The point reader returns the requested records, and does not need a round trip for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from campaign.live.brokers import Broker
from crl_stream.errors import Unanswered
from crl_stream.kafka.point_reader import PointReader
from crl_stream.wire.records import Output
from crl_stream.wire.topics import TASKS, Topics
from crl_stream.worker.counters import Counters
from crl_stream.worker.stale_writes import StaleWrites, Writes

pytestmark = pytest.mark.integration

TOPIC = "orders"
RECORDS = 400


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker(tmp_path / "kafka") as started:
        admin = AIOKafkaAdminClient(bootstrap_servers=started.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic(TOPIC, 2, 1), NewTopic(TASKS, 1, 1)])
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


class Severed(PointReader):
    """A reader that loses its broker once, after it has read the end offsets of the topics."""

    route: Any = None

    async def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        found = await super().ends(places)
        route, self.route = self.route, None
        if route is not None:
            await route.refuse()
            route.reset()
        return found


class Outlet:
    """Rewrites records."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.counters, self.topics = Counters(), Topics("")
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)

    async def publish(self, outputs: Iterable[Output]) -> Writes:
        places = [await self.producer.send_and_wait(o.topic, o.value, o.key, o.partition) for o in outputs]
        return {(TASKS, 0): (places[0].offset, places[-1].offset, len(places))}


async def test_a_look_for_late_records_that_loses_its_broker_is_made_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl_stream.kafka.point_reader.TIMEOUT_SECONDS", 2.0)
    outlet = Outlet(broker.bootstrap_servers)
    await outlet.producer.start()
    reader = Severed({"bootstrap_servers": broker.address_of(0)})
    reader.route = broker.routes[0]
    stale = StaleWrites((TASKS,), outlet, reader)
    stale.open(0, ())
    newest = b'{"incarnation":0,"position":{"partition":0,"offset":7}}'
    try:
        await outlet.producer.send_and_wait(TASKS, newest, b"a/b", 0)
        await outlet.producer.send_and_wait(TASKS, newest.replace(b"7", b"3"), b"a/b", 0)
        with pytest.raises(Unanswered):
            await stale.look(0, (0, 8))
        await broker.routes[0].accept()
        await stale.look(0, (0, 8))
        assert outlet.counters.mended == 1
        assert (await reader.read(TASKS, [(0, 2)]))[0, 2].value == newest
        assert await stale.ahead([0]) == []
    finally:
        await reader.close()
        await outlet.producer.stop()
