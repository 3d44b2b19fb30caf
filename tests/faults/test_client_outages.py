"""Runtimes reconnect to Kafka after outages longer than any time limit, on another port, and after its data is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from client.silent_kafka import an_active_variant
from client.waiting import eventually

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.ports import free_port
from crl_stream.client import Client
from crl_stream.core.identity import TaskKey
from crl_stream.errors import Unavailable
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.kafka.reader import TopicReader
from crl_stream.settings import Settings, load_settings
from crl_stream.settings.model import Client as ClientSettings
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS

pytestmark = [pytest.mark.integration, pytest.mark.faults]

ACTIVE = an_active_variant()
KEY = TaskKey(ACTIVE.agent_name, ACTIVE.task_type)
FOLLOWED_SECONDS = 5.0
"""Seconds that a runtime may take, after the broker's return, until it follows rollbacks again."""
SLOW = 3.0
"""The factor by which a slow machine may exceed a time limit."""


class World:
    """A private broker that tests kill, move and restart."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, ClientSettings().cache_dir
        self.port = free_port()
        self.broker = self._broker()
        self.epoch = ACTIVE.epoch

    def _broker(self) -> EmbeddedBroker:
        return EmbeddedBroker(self.folder / "kafka", self.cache, port=self.port)

    def up(self) -> None:
        self.broker.start()
        kafka = Kafka(bootstrap_servers=f"127.0.0.1:{self.port}")
        asyncio.run(TopicAdmin(kafka, "client-outages").apply())

    def kill(self) -> None:
        running = self.broker.status()
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        assert self.broker.stop() or self.broker.status() is None  # stop() also waits until the process has ended

    def move(self) -> None:
        """Choose another port for the next start."""
        self.port = free_port()
        self.broker = self._broker()

    def lose_data(self) -> None:
        shutil.rmtree(self.folder / "kafka")

    def settings(self, *, named: bool) -> Settings:
        flags = {"client.cache_dir": str(self.folder / "cache"), "broker.data_dir": str(self.folder / "kafka")}
        if named:
            flags["kafka.bootstrap_servers"] = f"127.0.0.1:{self.port}"
        return load_settings(environment={}, flags=flags)

    def roll_back(self, epoch: int | None = None) -> int:
        """Write an active variant, as the monitor would, and return its epoch."""
        self.epoch = self.epoch + 1 if epoch is None else epoch
        message = an_active_variant(epoch=self.epoch, variant_id=f"variant-{self.epoch}")

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{self.port}", acks="all")
            await producer.start()
            try:
                await producer.send_and_wait(ACTIVE_VARIANTS, encode(message), key=KEY.encode())
            finally:
                await producer.stop()

        asyncio.run(send())
        return self.epoch

    def published(self) -> list[Any]:
        reader = TopicReader(Kafka(bootstrap_servers=f"127.0.0.1:{self.port}"))
        until = time.monotonic() + 60.0
        while True:
            try:
                return [received.message for received in asyncio.run(reader.read(INVOCATIONS))]
            except Unavailable:  # just after its return, a broker may list no brokers yet
                assert time.monotonic() < until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.up()
    yield made
    made.broker.stop()


def variant(crl: Client) -> str | None:
    found = crl.resolver.resolve(*KEY)
    return None if found is None else found.variant_id


def work(crl: Client, count: int) -> list[str]:
    """Publish outcomes and return their ids."""
    ids = []
    for _ in range(count):
        with crl.invocation(*KEY, default="v1") as inv:
            ids.append(inv.invocation_id)
    return ids


def follows(crl: Client, world: World, since: float) -> None:
    """Check that a new rollback is followed in time, and that no accepted outcome has been lost."""
    epoch = world.roll_back()
    assert crl.resolver.wait_for_epoch(*KEY, epoch, 60.0), crl.health()
    assert time.monotonic() - since < FOLLOWED_SECONDS * SLOW
    assert variant(crl) == f"variant-{epoch}"
    assert crl.publisher.flush(60.0), crl.health()
    assert crl.health().dropped == 0


@pytest.mark.parametrize("seconds", [5.0, 35.0])
def test_a_runtime_follows_again_and_loses_nothing_after_an_outage(
    world: World, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(world.settings(named=True), exploration=0.0) as crl:
        world.roll_back()
        assert crl.resolver.wait_for_epoch(*KEY, world.epoch, 60.0)
        ids = work(crl, 5)
        assert crl.publisher.flush(60.0)
        world.kill()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ids += work(crl, 1)
            time.sleep(0.25)
        assert variant(crl) == f"variant-{world.epoch}", "the last known variant stays in use"
        caplog.clear()
        world.up()
        follows(crl, world, time.monotonic())
        ids += work(crl, 5)
    assert sorted(message.invocation_id for message in world.published()) == sorted(ids), "once each"
    ours = [record for record in caplog.records if (record.threadName or "").startswith("crl-")]
    assert not [record.name for record in ours if record.name.startswith("aiokafka")]


def test_a_broker_that_is_paused_is_waited_for_and_nothing_is_doubled(world: World) -> None:
    with Client(world.settings(named=True), exploration=0.0) as crl:
        world.roll_back()
        assert crl.resolver.wait_for_epoch(*KEY, world.epoch, 60.0)
        running = world.broker.status()
        assert running is not None
        os.kill(running.pid, signal.SIGSTOP)
        try:
            ids = work(crl, 50)
            assert not crl.publisher.flush(15.0)
            assert crl.health().connected is False
        finally:
            os.kill(running.pid, signal.SIGCONT)
        follows(crl, world, time.monotonic())
    assert sorted(message.invocation_id for message in world.published()) == sorted(ids)


@pytest.mark.parametrize("named", [False, True], ids=["embedded", "given address"])
def test_a_broker_that_moved_to_another_port_or_whose_data_is_gone_is_found_again(world: World, named: bool) -> None:
    """An embedded broker moves to another port; a broker at a given address stays there, but loses its data."""
    with Client(world.settings(named=named), exploration=0.0) as crl:
        world.roll_back(100)
        assert crl.resolver.wait_for_epoch(*KEY, 100, 60.0)
        ids = work(crl, 5)
        assert crl.publisher.flush(60.0)
        world.kill()
        kept = [] if named else ids
        later = work(crl, 5)
        if named:
            world.lose_data()
        else:
            world.move()
        world.up()
        since = time.monotonic()
        world.roll_back(3 if named else 101)
        assert eventually(lambda: variant(crl) == f"variant-{world.epoch}", 60.0), crl.health()
        assert time.monotonic() - since < FOLLOWED_SECONDS * SLOW
        assert crl.publisher.flush(60.0), crl.health()
        assert crl.health().dropped == 0
    found = [message.invocation_id for message in world.published()]
    assert set(found) == {*kept, *later}


def test_topics_that_were_made_again_are_followed_and_published_to(world: World) -> None:
    with Client(world.settings(named=True), exploration=0.0) as crl:
        world.roll_back(100)
        assert crl.resolver.wait_for_epoch(*KEY, 100, 60.0)
        work(crl, 5)
        assert crl.publisher.flush(60.0)

        async def make_again() -> None:
            admin = TopicAdmin(Kafka(bootstrap_servers=f"127.0.0.1:{world.port}"), "client-outages")
            async with admin._admin() as client:
                await client.delete_topics(list(admin.specs))
            until = time.monotonic() + 60.0
            while time.monotonic() < until:
                try:
                    await admin.apply()
                except Exception:
                    await asyncio.sleep(0.2)
                else:
                    return

        asyncio.run(make_again())
        ids = work(crl, 5)
        world.roll_back(3)
        assert eventually(lambda: variant(crl) == "variant-3", 60.0), crl.health()
        assert crl.publisher.flush(60.0), crl.health()
    assert {message.invocation_id for message in world.published()} == set(ids)
