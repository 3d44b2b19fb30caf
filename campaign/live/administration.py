"""Change a cluster as an administrator could, by mistake or on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CommitFailedError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DeleteGroupsRequest

PATIENCE: Final = 60.0
"""Seconds within which the broker must carry out a request."""
_TOPIC, _LITERAL, _WRITE, _DENY = 2, 3, 4, 2  # the codes of Kafka's protocol
_PASSING: Final = frozenset((14, 15, 16, 68))
"""Error codes after which to retry: the coordinator is loading, unavailable or elsewhere, or members remain."""
_TOPIC_LEVEL: Final = 1
"""The source of a configuration value that was set on the topic itself."""


class Administration:
    """An administrator's connection; opened by ``administering``."""

    def __init__(self, admin: AIOKafkaAdminClient, address: str) -> None:
        self._admin, self._address = admin, address

    # -- topics ----------------------------------------------------------------------------------------
    async def delete_topic(self, topic: str) -> None:
        """Delete a topic with all its records, and wait until it is gone."""
        await self._admin.delete_topics([topic])
        async with asyncio.timeout(PATIENCE):
            while topic in await self._admin.list_topics():
                await asyncio.sleep(0.05)

    async def add_partitions(self, topic: str, total: int) -> None:
        """Add partitions to a topic; keys then map to other partitions."""
        await self._admin.create_partitions({topic: NewPartitions(total)})

    async def delete_records(self, before: Mapping[TopicPartition, int]) -> None:
        """Delete the oldest records of partitions, as retention does; each given offset is the first one left."""
        await self._admin.delete_records({place: RecordsToDelete(offset) for place, offset in before.items()})

    async def configure(self, topic: str, **changes: Any) -> dict[str, str]:
        """Change a topic's configuration (write ``_`` for ``.``); return the previous one, for ``restore``."""
        before = await self._own_configuration(topic)
        named = {name.replace("_", "."): str(value) for name, value in changes.items()}
        await self.restore(topic, before | named)
        return before

    async def restore(self, topic: str, configuration: Mapping[str, str]) -> None:
        """Set the whole configuration of a topic."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(configuration))
        for response in await self._admin.alter_configs([resource]):
            for code, text, *_ in response.resources:
                if code:
                    raise for_code(code)(text)

    async def _own_configuration(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await self._admin.describe_configs([resource])
        [found] = answer.resources
        return {name: value for name, value, _, source, *_ in found[4] if source == _TOPIC_LEVEL}

    # -- groups ----------------------------------------------------------------------------------------
    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return the offsets that a group has committed."""
        found = await self._admin.list_consumer_group_offsets(group)
        return {place: value.offset for place, value in found.items() if value.offset >= 0}

    async def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Move a group's committed offsets, once its last member has left or has been found dead."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._address, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await consumer.commit(dict(offsets))
                        break
                    except CommitFailedError:
                        await asyncio.sleep(0.3)
        finally:
            await consumer.stop()

    async def delete_group(self, group: str) -> None:
        """Delete a group and its offsets, once its last member has left."""
        async with asyncio.timeout(PATIENCE):
            while True:
                coordinator = await self._admin.find_coordinator(group)
                answer = await self._admin._send_request(DeleteGroupsRequest([group]), coordinator)
                code = answer.results[0][1]
                if not code:
                    return
                if code not in _PASSING:
                    raise for_code(code)(group)
                await asyncio.sleep(0.1)

    # -- rights ----------------------------------------------------------------------------------------
    async def deny_writing(self, topic: str, user: str) -> None:
        """Forbid ``user`` to write to a topic; needs a broker with an authorizer."""
        request = CreateAclsRequest(_TOPIC, topic, _LITERAL, f"User:{user}", "*", _WRITE, _DENY)
        answer = await self._admin._send_to_controller(request)
        self._check(answer.creation_responses)

    async def allow_writing(self, topic: str, user: str) -> None:
        """Undo what ``deny_writing`` did."""
        request = DeleteAclsRequest(_TOPIC, topic, _LITERAL, f"User:{user}", "*", _WRITE, _DENY)
        answer = await self._admin._send_to_controller(request)
        self._check(answer.filter_responses)

    @staticmethod
    def _check(answers: Iterable[Any]) -> None:
        for code, text, *_ in answers:
            if code:
                raise for_code(code)(text)


@asynccontextmanager
async def administering(address: str) -> AsyncIterator[Administration]:
    """Open an administrator's connection to the cluster at ``address``."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=int(PATIENCE * 1_000))
    try:
        await admin.start()
        yield Administration(admin, address)
    finally:
        await admin.close()
