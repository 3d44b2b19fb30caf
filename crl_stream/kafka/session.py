"""One set of connections for all the Kafka requests of one call.

aiokafka gives each consumer, producer and admin client its own connections, and each looks up the brokers first.  A
call that reads three topics and sends a command would do this four times.  In a session they share one protocol client,
which looks up the brokers once and keeps one connection to each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.fetch import FetchRequest

from crl_stream.kafka.connection import connection_options, reaching
from crl_stream.kafka.log_consumer import LogConsumer
from crl_stream.kafka.positions import FETCH_WAIT_MS
from crl_stream.settings.model import Kafka


class KafkaSession:
    """Makes the clients of one call; they share connections inside ``async with`` and have their own outside it.

    Nothing connects before the first client is started.  Blocks may be nested; the shared connections are closed when
    the outermost block ends.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        """The settings for connecting to Kafka."""
        self._depth = 0
        self._client: _SharedClient | None = None

    @classmethod
    def of(cls, access: Access) -> KafkaSession:
        """Return ``access`` itself if it is a session; for settings, a new session that shares no connections yet."""
        return access if isinstance(access, KafkaSession) else cls(access)

    async def __aenter__(self) -> Self:
        self._depth += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._client is not None:
            shared, self._client = self._client, None
            await asyncio.shield(shared.close())

    def consumer(self, *, follows: bool = False, **options: Any) -> LogConsumer:
        """Return a consumer that is not started yet; with ``follows`` it waits for records on its own connection."""
        wait = {} if follows else {"fetch_max_wait_ms": FETCH_WAIT_MS}
        made = LogConsumer(**self._options | wait | options)
        if self._depth:
            made._client = self._share(fetches_apart=follows)
        return made

    @asynccontextmanager
    async def reading(self, **options: Any) -> AsyncIterator[LogConsumer]:
        """Yield a started consumer for reading up to the current end."""
        made = self.consumer(**options)
        with reaching(self.kafka):
            try:
                await made.start()
                yield made
            finally:
                await asyncio.shield(made.stop())

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[AIOKafkaProducer]:
        """Yield a started, idempotent producer whose writes all in-sync replicas acknowledge."""
        made = AIOKafkaProducer(**self._options, acks="all", enable_idempotence=True)
        if self._depth:
            made.client = made._sender.client = share = self._share()
            made._metadata = made._message_accumulator._cluster = share.cluster
        with reaching(self.kafka):
            try:
                await made.start()
                yield made
            finally:
                await made.stop()

    @asynccontextmanager
    async def administering(self, **options: Any) -> AsyncIterator[AIOKafkaAdminClient]:
        """Yield a started admin client."""
        made = AIOKafkaAdminClient(**self._options | options)
        if self._depth:
            made._client = self._share()
        with reaching(self.kafka):
            try:
                await made.start()
                yield made
            finally:
                await made.close()

    @cached_property
    def _options(self) -> dict[str, Any]:
        return connection_options(self.kafka)

    def _share(self, *, fetches_apart: bool = False) -> Any:
        if self._client is None:
            self._client = _SharedClient(**self._options)
        return _Share(self._client, fetches_apart=fetches_apart)


Access = Kafka | KafkaSession
"""How to reach Kafka: by settings, or through a session that shares its connections."""


class _SharedClient(AIOKafkaClient):  # type: ignore[misc]
    """The shared protocol client, which connects on first use and knows the leaders of all topics.

    The stock client forgets a topic when it is given others, and a producer waiting for that topic would wait forever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._connecting, self._is_connected = asyncio.Lock(), False

    async def bootstrap(self) -> None:
        """Look up the brokers, but only the first time."""
        async with self._connecting:
            if not self._is_connected:
                await super().bootstrap()
                self._is_connected = True

    def add_topic(self, topic: str) -> Any:  # noqa: ARG002 - the stock name
        """Request the cluster's metadata again, because the topic was missing from it."""
        return self.force_metadata_update()

    def set_topics(self, topics: Iterable[str]) -> Any:
        """Request the cluster's metadata again if one of the topics was missing from it."""
        if not self.cluster.topics() >= set(topics):
            return self.force_metadata_update()
        known: Any = asyncio.get_running_loop().create_future()
        known.set_result(True)
        return known

    async def _wait_on_metadata(self, topic: str) -> Any:
        """Return a topic's partitions; ask by name, because the full list omits topics hidden from this user."""
        if self.cluster.partitions_for_topic(topic) is None:
            named = ClusterMetadata()
            await self._metadata_update(named, [topic])
            if topic in named.unauthorized_topics:
                raise TopicAuthorizationFailedError(topic)
        return await super()._wait_on_metadata(topic)


class _Share:
    """The shared client as one consumer, producer or admin client sees it; only closing and sending differ."""

    def __init__(self, client: _SharedClient, *, fetches_apart: bool) -> None:
        self._shared, self._apart = client, fetches_apart

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    async def close(self) -> None:
        """Close the connections that no other client uses."""
        for place in [place for place in self._shared._conns if place[1] is self]:
            await self._shared._conns.pop(place).close()

    async def send(self, node: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Send a request; a fetch that waits for records does not hold up the other clients."""
        apart = self._apart and isinstance(request, FetchRequest)
        return await self._shared.send(node, request, group=self if apart else group)
