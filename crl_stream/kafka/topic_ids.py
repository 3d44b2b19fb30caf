"""Lists the cluster's topics with their ids, which change when a topic is deleted and created again.

Kafka gives each topic an id as well as a name (KIP-516).  aiokafka requests metadata in versions without ids, so this
module defines the request itself.  A broker older than 3.1 is queried through aiokafka and reports only partitions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Final, NamedTuple

from aiokafka.errors import IncompatibleBrokerVersion, NoError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

NO_ID: Final = bytes(16)


class TopicState(NamedTuple):
    """A topic, with its id and partitions, as the cluster describes it."""

    id: bytes
    """The topic's id, 16 bytes; ``NO_ID`` if the broker reports none."""
    partitions: int


class ClusterState(NamedTuple):
    """The cluster as a broker describes it."""

    cluster_id: str
    """The cluster's id; empty if the broker reports none."""
    topics: dict[str, TopicState]
    """The topics that exist, by name."""


class _Uuid(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: Any) -> bytes:
        found: bytes = data.read(16)
        return found


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class([(NO_ID, topic, {}) for topic in self._topics], False, False, {})


async def describe_cluster(client: Any, topics: Collection[str]) -> ClusterState:
    """Ask a broker through ``client``, a bootstrapped ``AIOKafkaClient``; raise ``KafkaError`` if none answers."""
    try:
        said = await client.send(client.get_random_node(), _MetadataRequest(topics))
    except (NotImplementedError, IncompatibleBrokerVersion):
        cluster = await client.fetch_all_metadata()
        found = {topic: cluster.partitions_for_topic(topic) for topic in topics}
        return ClusterState("", {topic: TopicState(NO_ID, len(p)) for topic, p in found.items() if p})
    states = {}
    for code, topic, topic_id, _, partitions, *_ in said.topics:
        error = for_code(code)
        if error is NoError:
            states[topic] = TopicState(topic_id, len(partitions))
        elif error is not UnknownTopicOrPartitionError:
            raise error(f"{topic} cannot be described")
    return ClusterState(said.cluster_id or "", states)
