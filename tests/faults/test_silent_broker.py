"""The behaviour of a runtime while Kafka is running but does not respond."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import AGENT, TASK, invocations
from installation import Installation

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.process import Endpoint
from crl_stream.client import Resolver, resolver
from crl_stream.core import messages as m
from crl_stream.settings import load_settings
from crl_stream.settings.model import Client
from crl_stream.wire.topics import ACTIVE_VARIANTS

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Endpoint]:
    """Provide a private Kafka, so that no other test has to wait for it."""
    with EmbeddedBroker(tmp_path / "kafka", Client().cache_dir, ephemeral=True) as started:
        running = started.status()
        assert running is not None
        yield running


async def source_becomes(followed: Resolver, wanted: str) -> bool:
    async with asyncio.timeout(30.0):
        while followed.resolve(AGENT, TASK).source != wanted:  # type: ignore[union-attr]
            await asyncio.sleep(0.05)
    return True


async def test_what_is_known_is_called_stale_while_the_broker_is_silent_and_live_once_it_answers(
    broker: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "STALE_SECONDS", 3.0)
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        await installation.worker()
        await installation.publish(*invocations("default", "S"))
        await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant)
        flags = {
            "client.cache_dir": str(tmp_path / "cache"),
            "kafka.bootstrap_servers": broker.bootstrap_servers,
            "kafka.topic_prefix": installation.kafka.topic_prefix,
        }
        with Resolver(load_settings(environment={}, flags=flags)) as followed:
            assert await asyncio.to_thread(followed.wait_until_ready, 30.0)
            assert await source_becomes(followed, "live")
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                assert await source_becomes(followed, "stale")
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            assert await source_becomes(followed, "live")
