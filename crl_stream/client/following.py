"""Reads, from the beginning, the two topics that say which variant to use, and rereads them whenever necessary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from crl_stream.client.address import kafka_of
from crl_stream.client.troubles import Troubles
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.kafka.connection import connection_options
from crl_stream.kafka.log_consumer import LogConsumer, answered_at
from crl_stream.wire.records import UnreadBatch
from crl_stream.wire.runtime_codec import Rejected, decode_variants
from crl_stream.wire.topic_names import ACTIVE_VARIANTS, VARIANTS, Topics

if TYPE_CHECKING:
    from crl_stream.settings.runtime_sections import RuntimeSettings

POLL_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 15.0
"""Seconds without a sign of life after which an attempt to follow the topics is restarted."""
SILENT_SECONDS: Final = 8.0
"""Seconds without a response after which the client connects again, because the broker may have moved."""
LOOK_SECONDS: Final = 3.0
"""Seconds between checks that the topics are still the same and that the broker has not moved."""
_STOP_SECONDS: Final = 2.0
_REQUEST_SECONDS: Final = 10.0


class View(NamedTuple):
    """The content of both topics, as far as they have been read."""

    active: dict[TaskKey, m.ActiveVariant]
    known: dict[TaskKey, m.VariantCatalogue]


class Reader(Protocol):
    """The interface that ``Following`` reports to."""

    def connected(self, cluster_id: str | None) -> None:
        """Record that a cluster has responded; called before anything is read."""
        ...

    def show(self, view: View) -> None:
        """Replace all known variants with those of a view that has been read to the end."""
        ...

    def tell(self, message: m.ActiveVariant | m.VariantCatalogue) -> None:
        """Report a record that has just been added to the view."""
        ...

    def heard(self) -> None:
        """Record that Kafka has answered."""
        ...

    def quiet(self) -> float:
        """Return the number of seconds without a response from Kafka after which to reconnect."""
        ...


class Following:
    """Follows the topics of active variants; each attempt lasts until something fails or all must be reread."""

    def __init__(self, settings: RuntimeSettings, reader: Reader, troubles: Troubles, beat: Callable[[], None]) -> None:
        self.settings, self._reader, self._troubles, self._beat = settings, reader, troubles, beat
        topics = Topics(settings.kafka.topic_prefix)
        self._names = {topics(name): name for name in (ACTIVE_VARIANTS, VARIANTS)}

    async def attempt(self) -> None:
        """Connect, read both topics to the end, and follow them; raise an error if this fails or all must be reread."""
        kafka = kafka_of(self.settings)
        consumer = LogConsumer(
            **connection_options(kafka),
            auto_offset_reset="earliest",
            request_timeout_ms=round(_REQUEST_SECONDS * 1_000),
            metadata_max_age_ms=60_000,
        )
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await consumer.start()
            places = await self._places(consumer, kafka.bootstrap_servers)
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            await self._read(consumer, places, kafka.bootstrap_servers)
        finally:
            await _stopped(consumer)

    async def _read(self, consumer: AIOKafkaConsumer, places: list[TopicPartition], address: str) -> None:
        ends = await consumer.end_offsets(places)
        firsts = await consumer.offsets_for_times(dict.fromkeys(places, 0))
        view, answered, heard, looked = View({}, {}), 0, time.monotonic(), time.monotonic()
        held: set[tuple[TopicPartition, int]] = set()
        while True:
            self._beat()
            if ends and all([await consumer.position(place) >= end for place, end in ends.items()]):
                ends = {}
                self._reader.show(view)
            polled = await consumer.getmany(timeout_ms=round(POLL_SECONDS * 1_000))
            for place, records in polled.items():
                for record in records:
                    taken = self._take(view, self._names[place.topic], record)
                    if not ends and taken is not None:
                        self._reader.tell(taken)
            now = time.monotonic()
            if (latest := answered_at(consumer, places)) != answered:
                answered, heard = latest, now
                self._reader.heard()
            elif now - heard >= min(self._reader.quiet(), SILENT_SECONDS):
                # The cluster that comes back may be a different one, so read from the beginning.
                raise KafkaConnectionError(f"no answer for {now - heard:.0f} s")
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._still_at(address)
                if heard == now and not ends:
                    await self._look(consumer, firsts)
                    held = self._say_held(consumer, places, held)

    async def _look(self, consumer: AIOKafkaConsumer, firsts: dict[TopicPartition, Any]) -> None:
        """Raise ``Reread`` if the topics were recreated, have more partitions, or are shorter.

        A recreated topic may have as many records as the old one, but its first record has a different timestamp.
        Compaction may change the first record too; rereading is harmless then.
        """
        there = (await described(consumer, self._names)).partitions
        if {TopicPartition(name, p) for name in self._names for p in there.get(name, [])} != firsts.keys():
            raise Reread("the topics were changed or deleted")
        if await consumer.offsets_for_times(dict.fromkeys(firsts, 0)) != firsts:
            raise Reread("the topics no longer start with the same records")
        for place, end in (await consumer.end_offsets(list(firsts))).items():
            if await consumer.position(place) > end:
                raise Reread(f"{place.topic} is shorter than it was")

    def _say_held(
        self, consumer: AIOKafkaConsumer, places: Iterable[TopicPartition], before: set[tuple[TopicPartition, int]]
    ) -> set[tuple[TopicPartition, int]]:
        """Report records hidden by a transaction that was already open at the last check.

        ``before`` and the result name the transactions open at the last check and now, as (partition, first hidden
        offset).
        """
        held = set()
        for place in places:
            stable, end = consumer.last_stable_offset(place), consumer.highwater(place)
            if stable is not None and end is not None and 0 <= stable < end:
                held.add((place, stable))
        for place, stable in sorted(held & before):
            self._troubles.say(
                "transaction",
                f"changes of active variants are being missed: an open transaction hides "
                f"{place.topic} partition {place.partition} from offset {stable} on",
            )
        return held

    async def _places(self, consumer: AIOKafkaConsumer, address: str) -> list[TopicPartition]:
        while True:
            self._beat()
            cluster = await described(consumer, self._names)
            self._reader.connected(cluster.id)
            if cluster.partitions.keys() == self._names.keys():
                return [TopicPartition(name, p) for name in self._names for p in cluster.partitions[name]]
            missing = min(self._names.keys() - cluster.partitions.keys())
            self._troubles.say("topics", f"the topic {missing} does not exist: run `crl topics apply`")
            await asyncio.sleep(POLL_SECONDS)
            self._still_at(address)

    def _still_at(self, address: str) -> None:
        """Raise ``Reread`` if the broker's address has changed; a stopped broker may come back at the old address."""
        with suppress(KafkaConnectionError):
            if kafka_of(self.settings).bootstrap_servers != address:
                raise Reread("the broker's address has changed")

    def _take(self, view: View, topic: str, record: Any) -> m.ActiveVariant | m.VariantCatalogue | None:
        """Put a record into the view and return its message; None if it contains nothing new."""
        decoded = record if type(record) is UnreadBatch else decode_variants(topic, record.value)
        if isinstance(decoded, Rejected | UnreadBatch):
            self._troubles.say("record", f"{topic} has a record that is not a valid message: {decoded.detail}")
            return None
        message: m.ActiveVariant | m.VariantCatalogue = decoded.message
        key = TaskKey(message.agent_name, message.task_type)
        store: dict[TaskKey, Any] = view.known if topic == VARIANTS else view.active
        if not _newer(message, store.get(key)):
            return None
        store[key] = message
        return message


class Reread(Exception):
    """Raised when both topics must be read again from the beginning."""


class Cluster(NamedTuple):
    """A cluster's id and partitions."""

    id: str | None
    partitions: dict[str, list[int]]
    """The partitions of each requested topic that exists."""


async def described(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Cluster:
    """Return the cluster's id and the partitions of these topics.

    The request names only these topics, because a runtime sends it every few seconds and a cluster may have thousands.
    aiokafka's own request does not return the cluster's id.
    """
    client = consumer._client  # noqa: SLF001
    request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
    answer = await client.send(client.get_random_node(), request)
    partitions = {}
    for error, topic, _, found in answer.topics:
        if not error:
            partitions[topic] = sorted(partition[1] for partition in found)
    return Cluster(answer.cluster_id or None, partitions)


async def _stopped(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer. A broken one may hang, or raise anything, even what looks like a cancellation."""
    with suppress(Exception, asyncio.CancelledError):
        async with asyncio.timeout(_STOP_SECONDS):
            await consumer.stop()
    consumer._closed = True  # noqa: SLF001 - it sets this itself only if stopping succeeded


def _newer(message: Any, known: Any) -> bool:
    if known is None:
        return True

    def place(found: Any) -> tuple[int, int, int]:
        return found.incarnation, getattr(found, "epoch", 0), found.position.offset

    return place(message) >= place(known)
