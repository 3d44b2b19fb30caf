"""The stages of the services: the pure stages of ``stages``, and sinks, wrapped for use with Faust."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

from crl_stream.core.proposer.remedies import Remedies
from crl_stream.errors import Unavailable, Unsafe
from crl_stream.kafka.point_reader import PointReader
from crl_stream.stages import refill
from crl_stream.stages.fold import Folded
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.stages.tags import fold_tags
from crl_stream.stages.tally import SentNotes, note_records, output_of
from crl_stream.stages.topology import OVERVIEW_PAGE, PROPOSER, TAGS
from crl_stream.wire.records import Output, Record
from crl_stream.worker.stages import CommittedStage, Outlet, TableStage
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport.lanes import Batch

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 1.2
"""How long after its last snapshot a task counts as silent; a busy task has one a second (limits.snapshot_seconds)."""
LOOK_SECONDS: Final = 0.2
"""The interval between two checks for tasks that have fallen silent."""
AGAIN: Final = 2_000
"""How many snapshots are reread at an assignment, because a killed process may not have published their figures."""
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
"""The longest wait in seconds between two attempts to reach an unavailable destination; the wait doubles each time."""

Sleep = Callable[[float], Awaitable[Any]]


class ProposerStage(TableStage):
    """Turns snapshots of tasks into proposals."""

    stage = PROPOSER

    def __init__(self, table: TaskTable, outlet: Outlet, reader: PointReader, remedies: Remedies) -> None:
        super().__init__(table, outlet, reader)
        self.remedies = remedies

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """Run the proposer over a batch."""
        entries = decode_snapshots(records)
        return propose_batch(partition, self.table.width, before, self.table.rows(partition), entries, self.remedies)

    def standing(self, partition: int) -> Iterator[Output]:
        """Yield the open proposals of the partition's tasks."""
        return refill.proposals(partition, self.table.store.items(partition))


class TallyStage(CommittedStage):
    """Turns records of the task topics into notes; the overview recognises repeated notes."""

    repeatable = True

    def __init__(self, topic: str, outlet: Outlet) -> None:
        super().__init__(outlet.topics(topic))
        self.topic, self.outlet = topic, outlet
        self.sent: dict[int, SentNotes] = {}
        """The notes sent for each partition since its assignment."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Return the committed offset, or less for snapshots: it is unknown which notes other processes have sent."""
        self.sent[partition] = SentNotes()
        found = await super().position(partition, committed, first, end)
        return max(first, found - AGAIN) if self.topic == PROPOSER.source else found

    async def work(self, batch: Batch) -> None:
        """Publish the notes, in order."""
        partition, now = batch.tp.partition, monotonic()
        await self.outlet.publish(note_records(self.topic, partition, batch.records, self.sent[partition], now))
        self.outlet.counters.applied += len(batch.records)
        self.outlet.counters.batches += 1

    async def look(self, partitions: Iterable[int]) -> None:
        """Publish the last figures of tasks that have fallen silent; failures are retried at the next check."""
        try:
            await self._tell_silent(partitions)
        except Unsafe:
            raise
        except Exception as error:
            log.warning("the last figures of silent tasks will be published later: %r", error)

    async def _tell_silent(self, partitions: Iterable[int]) -> None:
        before = monotonic() - QUIET_SECONDS
        for partition in partitions:
            sent = self.sent.get(partition)
            if sent is None or not (silent := sent.silent(before)):
                continue
            await self.outlet.publish([output_of(key, note) for key, note in silent])
            for key, note in silent:
                sent.mark(key, note)


class OverviewStage(TableStage):
    """Turns notes into the overview page and the alert about the rollback rate."""

    stage = OVERVIEW_PAGE

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """Fold a batch of notes into the overview."""
        return fold_notes(before, self.table.rows(partition), records)

    def standing(self, partition: int) -> Iterator[Output]:
        """Yield the overview page."""
        return refill.overview(self.table.store.items(partition))


class TagsStage(TableStage):
    """Counts the tasks that fall with a tag, and reports tags that are failing."""

    stage = TAGS

    def __init__(self, table: TaskTable, outlet: Outlet, reader: PointReader, partitions: int) -> None:
        super().__init__(table, outlet, reader)
        self.log_partitions = partitions

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """Fold a batch of announcements."""
        return fold_tags(self.log_partitions, before, self.table.rows(partition), records)


Deliver = Callable[[str, Sequence[Record]], Awaitable[object]]
"""A function that delivers records of one partition of a topic (the catalog's name) in order, and awaits delivery."""


class SinkStage(CommittedStage):
    """Delivers records to a destination outside Kafka; the records of a batch may be delivered twice.

    Delivery to an unavailable destination is retried for as long as it takes, so a full disk delays only its own group.
    """

    interruptible = True
    repeatable = True

    def __init__(self, topic: str, outlet: Outlet, deliver: Deliver, *, sleep: Sleep = asyncio.sleep) -> None:
        super().__init__(outlet.topics(topic))
        self.topic, self.deliver, self.counters, self.sleep = topic, deliver, outlet.counters, sleep

    async def work(self, batch: Batch) -> None:
        """Deliver the records, and return when that is done."""
        records: Any = batch.records
        failures = 0
        while (error := await self._attempt(records)) is not None:
            failures += 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))
            if failures & (failures - 1) == 0:  # log attempts 1, 2, 4, 8 and so on, so that the log does not fill up
                text = "%s is waiting: attempt %d failed, next in %.0f s: %s hint: %s"
                log.error(text, self.source, failures, wait, error.message, error.hint)
            await self.sleep(wait)
        if failures:
            log.info("%s continues after %d failed attempts", self.source, failures)
        self.counters.applied += len(records)
        self.counters.batches += 1

    async def _attempt(self, records: Any) -> Unavailable | None:
        try:
            await self.deliver(self.topic, records)
        except Unavailable as error:
            return error
        return None
