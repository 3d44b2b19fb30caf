"""Reads the log, its commands and the facts about it, as far as they are still on the topics; writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition

from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.kafka.fleet_policy import last_ordered, policy_home
from crl_stream.kafka.partition_rows import read_last_partition_rows
from crl_stream.kafka.positions import POLL_MS, bounds, places_of
from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings
from crl_stream.stages.partition import PartitionRow
from crl_stream.stages.topology import INLET, MONITOR

_AT_ONCE: Final = 4_000
"""The largest number of records that ``records`` yields at once."""


class Span(NamedTuple):
    """The range of offsets to read in one partition."""

    first: int
    """The first offset that still exists."""
    end: int
    """The offset after the last committed record, when reading began."""


class RetainedLog:
    """The log of an installation as it is when ``opened`` returns; later records are ignored."""

    def __init__(
        self,
        session: KafkaSession,
        settings: Settings,
        spans: dict[int, Span],
        rows: dict[int, PartitionRow],
        commands: list[Received],
        cut: frozenset[tuple[str, int]],
    ) -> None:
        self._session, self._settings = session, settings
        self.spans = spans
        """By partition."""
        self.rows = rows
        """The partition rows of the monitor, read before ``spans``; partitions that were never folded are missing."""
        self.cut = cut
        """Partitions of fact topics whose oldest records have been deleted, as (topic, partition)."""
        self.commands: dict[tuple[int, int], bytes | None] = {
            (one.record.partition, one.record.offset): one.record.value for one in commands
        }
        """All commands by partition and offset."""
        home = policy_home(settings.kafka)
        self._policies = [one for one in commands if one.record.partition == home]

    @classmethod
    async def opened(cls, session: KafkaSession, settings: Settings, facts: Iterable[str]) -> RetainedLog:
        """Find out what the log and the topics of ``facts`` hold, and read the log's commands.

        Raises ``ContractError`` if a topic is missing.
        """
        rows = await read_last_partition_rows(settings, session)
        reader = TopicReader(session)
        async with session.reading() as consumer:
            first, end = await bounds(consumer, await places_of(consumer, [reader.names(MONITOR.source)]))
            topics = {reader.names(topic): topic for topic in facts}
            oldest, _ = await bounds(consumer, await places_of(consumer, list(topics)))
        spans = {place.partition: Span(first[place], end[place]) for place in sorted(end)}
        cut = frozenset((topics[place.topic], place.partition) for place, offset in oldest.items() if offset)
        # Whatever the log refers to was written before the reference, so the commands are read after the log's end.
        return cls(session, settings, spans, rows, await reader.read(INLET.source), cut)

    @property
    def name(self) -> str:
        """The log's topic on the broker."""
        return TopicReader(self._session).names(MONITOR.source)

    async def parts(self, progress: Callable[[int, int], None]) -> AsyncIterator[tuple[int, list[Any]]]:
        """Yield consecutive records of one partition after the other, in order within each partition.

        ``progress`` is called with the number of offsets read so far, and the total.
        """
        done, size = 0, sum(span.end - span.first for span in self.spans.values())
        async with self._session.reading() as consumer:
            places = [TopicPartition(self.name, p) for p, span in self.spans.items() if span.end > span.first]
            for place in places:
                span = self.spans[place.partition]
                consumer.assign([place])
                consumer.seek(place, at := span.first)
                while at < span.end:
                    polled = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=_AT_ONCE)
                    if records := [record for record in polled.get(place, []) if record.offset < span.end]:
                        yield place.partition, records
                    # A partition may end with a control record, so only the position shows that all was read.
                    before, at = at, min(await consumer.position(place), span.end)
                    done += at - before
                    progress(done, size)

    async def published(self, topic: str) -> AsyncIterator[Any]:
        """Yield the messages of a topic that can be read."""
        async for received in TopicReader(self._session).each(topic):
            if received.message is not None:
                yield received.message

    def policies_at(self, partition: int, time: int) -> PolicySet:
        """Return the policies with which a fold of a partition begins, if its first record was stored at ``time``.

        If the partition's beginning still exists, its own records set the policies. Otherwise, the fold begins with the
        last policy that was sent before ``time`` (milliseconds), or if no command is left, with that of the partition
        row.
        """
        if self.spans[partition].first == 0:
            return GUIDE
        if not self._policies:
            row = self.rows.get(partition)
            return GUIDE if row is None else row.policies
        before = last_ordered(one for one in self._policies if one.record.timestamp <= time)
        return GUIDE if before is None else before.policies
