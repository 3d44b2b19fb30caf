"""The stages of the services: each a pure stage of ``topology`` or a sink, wrapped for its place in Faust."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from crl_stream.core.remedies import Remedies
from crl_stream.topology.monitor import Folded
from crl_stream.topology.notes import Noted, note_records
from crl_stream.topology.overview import fold_notes
from crl_stream.topology.proposer import decode_snapshots, propose_batch
from crl_stream.wire.records import Record
from crl_stream.wire.topics import OVERVIEW_EVENTS, TASKS
from crl_stream.worker.lanes import Batch
from crl_stream.worker.stages import CommittedStage, Outlet, TableStage
from crl_stream.worker.table import TaskTable


class ProposerStage(TableStage):
    """Snapshots of tasks become proposals."""

    gapless = False

    def __init__(self, table: TaskTable, outlet: Outlet, remedies: Remedies) -> None:
        super().__init__(TASKS, table, outlet)
        self.remedies = remedies

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """The proposer over a batch."""
        entries = decode_snapshots(records)
        return propose_batch(partition, self.table.width, before, self.table.rows, entries, self.remedies)


class TallyStage(CommittedStage):
    """Records of the tasks' topics become notes; what is noted twice is recognised by the overview."""

    def __init__(self, topic: str, outlet: Outlet, *, gapless: bool) -> None:
        super().__init__(outlet.topics(topic))
        self.topic, self.outlet, self.gapless = topic, outlet, gapless
        self.noted: dict[int, Noted] = {}
        """By partition, since its assignment."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """The committed offset; what another process has noted meanwhile is not known here."""
        self.noted[partition] = Noted()
        return await super().position(partition, committed, first, end)

    async def work(self, batch: Batch) -> None:
        """Publish the notes, in order."""
        partition = batch.tp.partition
        await self.outlet.publish(note_records(self.topic, partition, batch.records, self.noted[partition]))
        self.outlet.counters.applied += len(batch.records)
        self.outlet.counters.batches += 1


class OverviewStage(TableStage):
    """Notes become the page and the alert about the rollback rate."""

    def __init__(self, table: TaskTable, outlet: Outlet) -> None:
        super().__init__(OVERVIEW_EVENTS, table, outlet)

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:  # noqa: ARG002
        """The overview over a batch."""
        return fold_notes(before, self.table.rows, records)


Deliver = Callable[[str, Sequence[Record]], Awaitable[object]]
"""Takes records of one partition of a topic (the catalog's name), in order; returns when they are where they belong."""


class SinkStage(CommittedStage):
    """Hands records on to a place outside Kafka; what is handed on for a batch may be handed on twice."""

    interruptible = True

    def __init__(self, topic: str, outlet: Outlet, deliver: Deliver, *, gapless: bool = True) -> None:
        super().__init__(outlet.topics(topic))
        self.topic, self.deliver, self.counters = topic, deliver, outlet.counters
        self.gapless = gapless

    async def work(self, batch: Batch) -> None:
        """Deliver, and return when that is done."""
        records: Any = batch.records
        await self.deliver(self.topic, records)
        self.counters.applied += len(records)
        self.counters.batches += 1
