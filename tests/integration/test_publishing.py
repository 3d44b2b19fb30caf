"""How the client handles outcomes that Kafka does not accept."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from builders import AGENT, TASK
from client.waiting import eventually
from installation import Installation

from crl_stream.client import Publisher
from crl_stream.settings import load_settings
from crl_stream.wire.topics import INVOCATIONS

pytestmark = pytest.mark.integration


async def test_an_outcome_that_kafka_never_takes_costs_itself_and_none_of_those_around_it(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    async with installation.admin._admin() as admin:
        limit = ConfigResource(ConfigResourceType.TOPIC, installation.names(INVOCATIONS), {"max.message.bytes": "2500"})
        await admin.alter_configs([limit])
    with suppress(MessageSizeTooLargeError):
        async with asyncio.timeout(60.0):
            while True:  # the broker applies the limit a moment later
                await installation.send(b"x" * 3_000, b"a/b")
    flags = {
        "kafka.bootstrap_servers": installation.kafka.bootstrap_servers,
        "kafka.topic_prefix": installation.kafka.topic_prefix,
        "client.cache_dir": str(installation.folder),
    }
    publisher = Publisher(load_settings(environment={}, flags=flags))
    too_long = {7, 8, 30}
    try:
        assert await asyncio.to_thread(eventually, lambda: publisher.connected_since, 60.0)
        for number in range(40):
            text = ("x" if number in too_long else "") * 1_900
            assert publisher.invocation(
                AGENT, TASK, "v1", "success", invocation_id=f"n-{number}", provider=text, model=text
            )
        assert await asyncio.to_thread(publisher.flush, 90.0), publisher.trouble
    finally:
        stats = await asyncio.to_thread(publisher.close)
    messages = [received.message for received in await installation.records(INVOCATIONS)]
    ids = [message.invocation_id for message in messages if message is not None]
    assert set(ids) == {f"n-{number}" for number in range(40) if number not in too_long}
    assert (stats.sent, stats.rejected, stats.dropped) == (37, 3, 0)
    assert sum("Kafka has refused an outcome" in record.message for record in caplog.records) <= 2
