"""Writes wait as long as Kafka is down, whatever it last reported about its leaders."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from faust.transport.drivers import aiokafka as driver

from crl_stream.client.outbox import Outbox
from crl_stream.client.sending import Sending
from crl_stream.client.troubles import Troubles
from crl_stream.settings import load_settings
from crl_stream.worker.member import Member

SETTINGS = load_settings(environment={}, flags={"kafka.bootstrap_servers": "127.0.0.1:9"})
PLACE = TopicPartition("crl.invocations", 0)
DAY = 86_400.0


async def of_the_worker() -> Any:
    return Member(SETTINGS, "overview").app.producer._new_producer()


async def of_a_runtime() -> Any:
    return await Sending(SETTINGS, "crl.invocations", Outbox(lambda: None), Troubles())._connected()


@pytest.mark.parametrize("leader", [None, -1], ids=["no such topic", "a broker that stops"])
@pytest.mark.parametrize("make", [of_the_worker, of_a_runtime])
async def test_a_batch_without_a_leader_waits_for_a_day_and_is_sent_then(
    monkeypatch: pytest.MonkeyPatch, make: Any, leader: int | None
) -> None:
    async def start(_: Any) -> None:
        """Do nothing: no Kafka is needed."""

    monkeypatch.setattr(AIOKafkaProducer, "start", start)
    producer = await make()
    assert isinstance(producer, AIOKafkaProducer)
    producer._txn_manager.set_pid_and_epoch(1, 0)
    leaders = [leader]
    monkeypatch.setattr(producer._message_accumulator._cluster, "leader_for_partition", lambda _: leaders[-1])
    builder = producer.create_batch()
    builder.append(timestamp=None, key=b"a/b", value=b"{}", headers=[])
    written = await producer._message_accumulator.add_batch(builder, PLACE, 1.0)
    [batch] = producer._message_accumulator._batches[PLACE]
    batch._ctime -= DAY
    nodes, without_leader = producer._message_accumulator.drain_by_nodes([])
    assert (dict(nodes), without_leader) == ({}, True)
    assert not written.done(), written
    leaders.append(1)
    nodes, _ = producer._message_accumulator.drain_by_nodes([])
    assert nodes[1][PLACE] is batch
    batch.done_noack()
    producer._closed = True


def test_the_stock_producer_is_the_one_that_is_changed() -> None:
    """Faust creates its producer through the method that we override."""
    assert "_new_producer" in vars(driver.Producer)
