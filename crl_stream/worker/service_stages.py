"""The stages of the services: each a pure stage of ``stages`` or a sink, wrapped for its place in Faust."""

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
from crl_stream.stages.tally import SentNotes, note_records, output_of
from crl_stream.stages.topology import OVERVIEW_PAGE, PROPOSER
from crl_stream.wire.records import Output, Record
from crl_stream.worker.stages import CommittedStage, Outlet, TableStage
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport.lanes import Batch

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 1.2
"""After its last snapshot a task is silent; a busy one has a snapshot a second (limits.snapshot_seconds)."""
LOOK_SECONDS: Final = 0.2
"""Between two looks for tasks that have fallen silent."""
AGAIN: Final = 2_000
"""Snapshots that are read again at an assignment: of those, figures may have waited in a process that was killed."""
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
"""Seconds between two attempts at a place that is not available: doubled from one to the next."""

Sleep = Callable[[float], Awaitable[Any]]


class ProposerStage(TableStage):
    """Snapshots of tasks become proposals."""

    stage = PROPOSER

    def __init__(self, table: TaskTable, outlet: Outlet, reader: PointReader, remedies: Remedies) -> None:
        super().__init__(table, outlet, reader)
        self.remedies = remedies

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """The proposer over a batch."""
        entries = decode_snapshots(records)
        return propose_batch(partition, self.table.width, before, self.table.rows(partition), entries, self.remedies)

    def standing(self, partition: int) -> Iterator[Output]:
        """The open proposals of the partition's tasks."""
        return refill.proposals(partition, self.table.store.items(partition))


class TallyStage(CommittedStage):
    """Records of the tasks' topics become notes; what is noted twice is recognised by the overview."""

    repeatable = True

    def __init__(self, topic: str, outlet: Outlet) -> None:
        super().__init__(outlet.topics(topic))
        self.topic, self.outlet = topic, outlet
        self.sent: dict[int, SentNotes] = {}
        """By partition, since its assignment."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """The committed offset, of snapshots a little before; what another process has noted is not known here."""
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
        """Tell the last figures of tasks that have fallen silent; what cannot be told waits for the next look."""
        try:
            await self._tell_silent(partitions)
        except Unsafe:
            raise
        except Exception as error:
            log.warning("the last figures of silent tasks are told later: %r", error)

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
    """Notes become the page and the alert about the rollback rate."""

    stage = OVERVIEW_PAGE

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """The overview over a batch."""
        return fold_notes(before, self.table.rows(partition), records)

    def standing(self, partition: int) -> Iterator[Output]:
        """The page."""
        return refill.overview(self.table.store.items(partition))


Deliver = Callable[[str, Sequence[Record]], Awaitable[object]]
"""Takes records of one partition of a topic (the catalog's name), in order; returns when they are where they belong."""


class SinkStage(CommittedStage):
    """Hands records on to a place outside Kafka; what is handed on for a batch may be handed on twice.

    A place that is not available is asked again, for as long as it takes: a full disk stops its own group and no other.
    """

    interruptible = True
    repeatable = True

    def __init__(self, topic: str, outlet: Outlet, deliver: Deliver, *, sleep: Sleep = asyncio.sleep) -> None:
        super().__init__(outlet.topics(topic))
        self.topic, self.deliver, self.counters, self.sleep = topic, deliver, outlet.counters, sleep

    async def work(self, batch: Batch) -> None:
        """Deliver, and return when that is done."""
        records: Any = batch.records
        failures = 0
        while (error := await self._attempt(records)) is not None:
            failures += 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))
            if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: hours of it do not fill the log
                text = "%s waits: attempt %d failed, again in %.0f s: %s hint: %s"
                log.error(text, self.source, failures, wait, error.message, error.hint)
            await self.sleep(wait)
        if failures:
            log.info("%s goes on after %d failed attempts", self.source, failures)
        self.counters.applied += len(records)
        self.counters.batches += 1

    async def _attempt(self, records: Any) -> Unavailable | None:
        try:
            await self.deliver(self.topic, records)
        except Unavailable as error:
            return error
        return None
