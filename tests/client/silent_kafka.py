"""A cluster in memory whose brokers can stop responding; as with the real client, a poll does not reveal this."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from source_tree import ROOT

from crl_stream.client import following as module
from crl_stream.client.following import Cluster
from crl_stream.core import messages as m
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.topics import ACTIVE_VARIANTS

_EXAMPLE = (ROOT / "topics" / "examples" / ACTIVE_VARIANTS / "ActiveVariant-after-rollback.json").read_bytes()


def an_active_variant(**fields: Any) -> m.ActiveVariant:
    """Return the message from the contract's example, with these ``fields`` changed."""
    decoded = decode(ACTIVE_VARIANTS, _EXAMPLE, None)
    assert not isinstance(decoded, Rejected)
    known = {name: getattr(decoded.message, name) for name in m.ActiveVariant.__struct_fields__}
    return m.ActiveVariant(**(known | fields))


class SilentKafka:
    """Replaces ``LogConsumer``; its state is in class attributes, because every attempt creates a new instance."""

    answers = True
    connections = 0
    records: ClassVar[list[bytes]] = []
    cluster_id: str | None = "one"
    first = 1
    """A value that represents the offset and time of the first record."""
    hidden = 0
    """Number of records hidden by an open transaction."""
    topics: dict[str, list[int]] | None = None
    """Topics that exist, with their partitions; None means that all requested topics exist."""

    def __init__(self, **_: Any) -> None:
        SilentKafka.connections += 1
        self.answered = 0
        self.read = 0

    async def start(self) -> None:
        await asyncio.sleep(0)
        if not self.answers:
            raise KafkaConnectionError("no broker")

    async def stop(self) -> None:
        await asyncio.sleep(0)

    def assign(self, places: Any) -> None:
        self.places = places

    async def seek_to_beginning(self, *_: Any) -> None:
        await asyncio.sleep(0)

    async def end_offsets(self, places: Any) -> dict[TopicPartition, int]:
        await asyncio.sleep(0)
        return {place: len(self.records) if place.topic.endswith(ACTIVE_VARIANTS) else 0 for place in places}

    async def offsets_for_times(self, times: Any) -> dict[TopicPartition, Any]:
        await asyncio.sleep(0)
        return dict.fromkeys(times, self.first)

    async def position(self, place: TopicPartition) -> int:
        await asyncio.sleep(0)
        return self.read if place.topic.endswith(ACTIVE_VARIANTS) else 0

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.005)
        if not self.answers:
            return {}
        self.answered += 1
        found, self.read = self.records[self.read :], max(self.read, len(self.records))
        place = next(place for place in self.places if place.topic.endswith(ACTIVE_VARIANTS))
        return {place: [SimpleNamespace(key=None, value=value) for value in found]} if found else {}

    def last_poll_timestamp(self, _place: Any) -> int | None:
        return self.answered or None

    def highwater(self, _place: Any) -> int:
        return len(self.records) + self.hidden

    def last_stable_offset(self, _place: Any) -> int:
        return len(self.records)


async def _described(_consumer: Any, names: Any) -> Cluster:
    await asyncio.sleep(0)
    topics = SilentKafka.topics
    return Cluster(SilentKafka.cluster_id, {name: [0] for name in names} if topics is None else topics)


def use_silent_kafka(monkeypatch: pytest.MonkeyPatch, *records: m.ActiveVariant) -> type[SilentKafka]:
    """Make resolvers follow a Kafka in memory that holds ``records``."""
    monkeypatch.setattr(module, "LogConsumer", SilentKafka)
    monkeypatch.setattr(module, "described", _described)
    fresh = {"answers": True, "connections": 0, "cluster_id": "one", "topics": None, "first": 1, "hidden": 0}
    for name, value in (fresh | {"records": [encode(record) for record in records]}).items():
        monkeypatch.setattr(SilentKafka, name, value)
    return SilentKafka
