"""What a runtime is told while Kafka is silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from source_tree import ROOT

from crl_stream.client import resolver as module
from crl_stream.client.resolver import Resolver
from crl_stream.core import messages as m
from crl_stream.settings import load_settings
from crl_stream.wire.codec import Rejected, decode
from crl_stream.wire.topics import ACTIVE_VARIANTS

ACTIVE = (ROOT / "topics" / "examples" / ACTIVE_VARIANTS / "ActiveVariant-after-rollback.json").read_bytes()


class SilentKafka:
    """A cluster whose brokers may stop answering; as with the real client, a poll does not say so."""

    answers = True
    connections = 0

    def __init__(self, **_: Any) -> None:
        SilentKafka.connections += 1
        self.answered = 0

    async def start(self) -> None:
        if not self.answers:
            raise KafkaConnectionError("no broker")

    async def stop(self) -> None:
        """Nothing to let go."""

    def assign(self, places: Any) -> None:
        self.places = places

    async def seek_to_beginning(self, *_: Any) -> None:
        """It is there."""

    async def end_offsets(self, places: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 1)

    async def position(self, _place: Any) -> int:
        return min(self.answered, 1)

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.01)
        if not self.answers:
            return {}
        self.answered += 1
        place = next(place for place in self.places if place.topic == ACTIVE_VARIANTS)
        return {place: [SimpleNamespace(key=None, value=ACTIVE)]} if self.answered == 1 else {}

    def last_poll_timestamp(self, _place: Any) -> int | None:
        return self.answered or None


async def places_of(_consumer: Any, names: Any) -> dict[str, list[int]]:
    return {name: [0] for name in names}


def test_a_variant_is_stale_while_no_broker_answers_and_is_read_anew_when_one_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "LogConsumer", SilentKafka)
    monkeypatch.setattr(module, "partitions_of", places_of)
    monkeypatch.setattr(module, "STALE_SECONDS", 0.2)
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    decoded = decode(ACTIVE_VARIANTS, ACTIVE, None)
    assert not isinstance(decoded, Rejected)
    active: m.ActiveVariant = decoded.message
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path)}
    with Resolver(load_settings(environment={}, flags=flags), exploration=0.0) as resolver:

        def source() -> str | None:
            found = resolver.resolve(active.agent_name, active.task_type)
            return None if found is None else found.source

        assert eventually(lambda: source() == "live")
        monkeypatch.setattr(SilentKafka, "answers", False)
        connections = SilentKafka.connections
        assert eventually(lambda: source() == "stale")
        assert eventually(lambda: SilentKafka.connections > connections)
        assert source() == "stale", "what is known is used on"
        monkeypatch.setattr(SilentKafka, "answers", True)
        assert eventually(lambda: source() == "live")


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
