"""The monitor's stages: the fold of the log, and the inlet that turns commands into references in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Final

from crl_stream.errors import Unsafe
from crl_stream.kafka.point_reader import PointReader
from crl_stream.stages import refill
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.fold import Folded
from crl_stream.stages.incidents import data_gap_alert
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import decode_partition
from crl_stream.stages.topology import INLET, MONITOR
from crl_stream.stages.waiting import Waiting, fleet_of
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF
from crl_stream.worker.stages import ADOPT, CommittedStage, Outlet, TableStage
from crl_stream.worker.summaries import Summaries
from crl_stream.worker.table import TaskTable
from crl_stream.worker.ticking import Ticking
from crl_stream.worker.transport.lanes import Batch

log = logging.getLogger(__name__)

_AT_ONCE: Final = 5_000
"""How many rows are read before other asyncio tasks get a turn."""
OUTPUTS_AT_ONCE: Final = 1_000
"""Maximum number of outputs of one fold; at about 30 us each, this limits how long the event loop is blocked."""


class MonitorStage(TableStage):
    """The stage that folds the log."""

    stage = MONITOR

    @property
    def hint(self) -> str:
        """What to do about a recreated log: adopt it, which keeps the rows."""
        return f"was the topic recreated? `{ADOPT}` starts a new incarnation on it"

    def __init__(self, table: TaskTable, outlet: Outlet, reader: PointReader) -> None:
        super().__init__(table, outlet, reader)
        self.commands_topic = outlet.topics(INLET.source)
        self.ticking = Ticking(outlet)
        self.summaries = Summaries(table)
        self.at_once = OUTPUTS_AT_ONCE
        self._indexed: dict[int, bytes | None] = {}
        """For each partition, the partition row for which the index of waiting rows is valid."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Check that the partition row belongs to this log, find the waiting rows, and return where to start."""
        found = await self._start(partition, committed, first, end)
        await self._index(partition)
        return found

    async def _index(self, partition: int) -> None:
        """Find the rows that are due at some time, unless the index of them is still valid."""
        known, waiting = self.table.partition_row(partition), self.ticking.waiting.get(partition)
        if waiting is None or self._indexed.get(partition) != known or not self.summaries.knows(partition):
            keys = list[bytes]()
            waiting = await self._look_through(partition, known, keys)
            self.summaries.begin(partition, keys)
        self.ticking.begin(partition, waiting)

    async def _look_through(self, partition: int, known: bytes | None, keys: list[bytes] | None = None) -> Waiting:
        """Return the rows that become due at some time, and add the keys of all rows to ``keys``."""
        waiting = Waiting(decode_partition(known))
        for number, (key, row) in enumerate(self.table.store.items(partition)):
            waiting.add(key, row)
            if keys is not None:
                keys.append(key)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await self.outlet.pause()
        self._indexed[partition] = known
        return waiting

    async def _start(self, partition: int, committed: int | None, first: int, end: int) -> int:
        data = self.table.partition_row(partition)
        if data is None:
            if committed and first:
                raise Unsafe(
                    f"{self.place(partition)} was folded up to {committed}, but its state is gone and its log "
                    f"starts at {first}",
                    hint=f"restore {self.table.changelog_topic_name}, or start afresh with `{ADOPT}`",
                )
            if first:
                # Send no alert: a user who starts on an old log expects its beginning to be gone.
                log.warning("%s: the fold starts at offset %d, where the log begins", self.place(partition), first)
            return first
        return await super().position(partition, committed, first, end)

    async def announce_gap(self, partition: int, expected: int, first: int) -> None:
        """Send an alert about the records that will be missing from the windows."""
        state = decode_partition(self.table.partition_row(partition))
        oldest = (await self.reader.read(self.source, [(partition, first)]))[partition, first]
        timestamp = int(time.time() * 1_000) if oldest is None else oldest.timestamp
        alert = data_gap_alert(partition, expected, first, timestamp, state)
        log.error("data gap: %s", alert.text)
        await self.outlet.publish([Output(TOPIC_OF[type(alert)], partition, alert.subject.encode(), encode(alert))])

    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """Run the engine over a batch, with the commands that the batch refers to."""
        entries = decode_batch(records)
        places = command_positions(entries)
        found = await self.reader.read(self.commands_topic, places) if places else {}
        commands = {place: None if record is None else record.value for place, record in found.items()}
        rows, waiting = self.table.rows(partition), self.ticking.waiting.get(partition)
        return fold_batch(partition, self.table.width, before, rows, entries, commands, waiting, self.at_once)

    def standing(self, partition: int) -> Iterator[Output]:
        """Yield the active variants, catalogues and snapshots of the partition's tasks."""
        state = self.table.partition_row(partition)
        return iter(()) if state is None else refill.tasks(partition, state, self.table.store.items(partition))

    async def work(self, batch: Batch) -> None:
        """Fold a batch and write the results."""
        await super().work(batch)
        self.ticking.note(batch.tp.partition, batch.records)

    async def _persist(self, partition: int, folded: Folded, end: int) -> None:
        await super()._persist(partition, folded, end)
        self.summaries.touched(partition, folded.rows)
        waiting = self.ticking.waiting.get(partition)
        if waiting is None:
            return
        if waiting.fleet == fleet_of(decode_partition(folded.partition_row)):
            waiting.settle(folded.wakes, folded.born)
            self._indexed[partition] = folded.partition_row
        else:  # when the fleet hold has changed, every row of the partition waits to be published
            self.ticking.waiting[partition] = await self._look_through(partition, folded.partition_row)


class InletStage(CommittedStage):
    """Turns commands into references in the log; the fold recognises a repeated reference."""

    def __init__(self, partitions: int, outlet: Outlet) -> None:
        super().__init__(outlet.topics(INLET.source))
        self.partitions, self.outlet = partitions, outlet

    async def work(self, batch: Batch) -> None:
        """Append the references, in order."""
        outputs = reference_commands(batch.tp.partition, self.partitions, batch.records)
        await self.outlet.publish(outputs)
        self.outlet.counters.references += sum(output.topic == MONITOR.source for output in outputs)
