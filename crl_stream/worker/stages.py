"""How stages process the batches of a source topic, and in which order they write the results.

    decode -> fold -> outputs, awaited -> rows and partition row, awaited -> memory -> only then ready to commit

A write that fails ends the process without a commit; the next process continues from the partition row.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Final

from crl_stream.errors import Unanswered, Unsafe
from crl_stream.kafka.point_reader import PointReader
from crl_stream.stages import topology
from crl_stream.stages.fold import Folded
from crl_stream.stages.partition import decode_partition, record_hash
from crl_stream.stages.stale_writes import Place
from crl_stream.wire.records import Headers, Output, Record
from crl_stream.wire.topics import Topics
from crl_stream.worker.counters import Counters
from crl_stream.worker.log_lines import RETRIED
from crl_stream.worker.stale_writes import StaleWrites, Writes
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport.lanes import Batch
from crl_stream.worker.transport.producer import Item

log = logging.getLogger(__name__)

ADOPT: Final = "crl topics adopt"
READ: Final = "crl-read"
"""Header of a partition row in its changelog: the position up to which the source was read.  It may lie beyond the last
record, because the end of a transaction takes an offset, and aborted records are not read."""


_REFILL_AT_ONCE: Final = 200
"""How many records are written together when a topic is refilled."""


class Outlet:
    """Writes the outputs of the pure layers, grouped by partition and in order, and waits for the broker."""

    def __init__(self, app: Any, topics: Topics, counters: Counters) -> None:
        self.app, self.topics, self.counters = app, topics, counters

    async def pause(self) -> None:
        """Let other asyncio tasks run."""
        await asyncio.sleep(0)

    async def publish(self, outputs: Iterable[Output]) -> Writes:
        """Write outputs and return their offsets once the broker has all of them; raise if that fails."""
        groups: dict[tuple[str, int], list[Item]] = defaultdict(list)
        for output in outputs:
            groups[output.topic, output.partition].append((output.key, output.value, output.headers))
        if not groups:
            return {}
        self.app.consumer.check_pulse()
        write = self.app.producer.write
        async with asyncio.TaskGroup() as group:
            writes = {
                (topic, partition): group.create_task(write(self.topics(topic), partition, items))
                for (topic, partition), items in groups.items()
            }
        self.counters.outputs += sum(map(len, groups.values()))
        return {place: (*write.result(), len(groups[place])) for place, write in writes.items()}


class TableStage(ABC):
    """Folds a source topic into a table exactly once; the partition row records how far it is folded.

    The hash of the last folded record shows whether the source is still the same topic.
    """

    stage: ClassVar[topology.Stage]
    """The stage's entry in the topology: what it reads, keeps and writes."""
    interruptible: bool = False

    def __init__(self, table: TaskTable, outlet: Outlet, reader: PointReader) -> None:
        self.table, self.outlet, self.counters, self.reader = table, outlet, outlet.counters, reader
        self.source = outlet.topics(self.stage.source)
        self.stale_writes = StaleWrites(self.stage.standing, outlet, reader)
        self._read: dict[int, int] = {}
        """For each partition, the position up to which the source was read, according to the changelog."""
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """A lock for each partition, held during a fold or a check for stale writes."""

    @property
    def changelog(self) -> str:
        """The changelog topic of the stage's table."""
        name: str = self.table.changelog_topic_name
        return name

    @property
    def hint(self) -> str:
        """What to do when the state belongs to another log."""
        changelog = self.table.changelog_topic_name
        way_out = f"delete the topic {changelog} and run `crl topics apply`: the log is then refolded"
        return f"was the topic recreated? {way_out}"

    @abstractmethod
    async def fold(self, partition: int, before: bytes | None, records: Sequence[Record]) -> Folded:
        """Fold the records; ``before`` is the partition row before them."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Return the start position in the partition row; the committed offset may lag or belong to a deleted topic."""
        data = self.table.partition_row(partition)
        headers = () if data is None else await self._headers_of(partition, data)
        self.stale_writes.open(partition, headers)
        await self.stale_writes.recognise(partition)
        self._read[partition] = first
        if data is None:
            self.stale_writes.filled(partition)  # nothing was folded, so there is nothing to refill
            return first
        state = decode_partition(data)
        self._read[partition] = read = max(state.next_offset, _position_in(headers))
        if read < first:
            await self.announce_gap(partition, read, first)
        if state.next_offset > end:
            raise Unsafe(
                f"the state of {self.place(partition)} ends at {state.next_offset}, but its log at {end}: "
                "it is a different log",
                hint=self.hint,
            )
        if first < state.next_offset and state.last_hash:
            await self._compare_log(partition, state.next_offset - 1, state.last_hash)
        read_from = first if committed is None else max(committed, first)
        if (skipped := state.next_offset - read_from) > 0:
            self.counters.skipped += skipped
            log.info(
                "%s: %d records from offset %d on were already folded and are skipped",
                *(self.place(partition), skipped, read_from),
            )
        await self._refill(partition)
        return max(state.next_offset, first)

    async def announce_gap(self, partition: int, expected: int, first: int) -> None:
        """Report that the records from ``expected`` up to ``first`` are lost; some stages also send an alert."""
        log.warning("%s: offsets %d to %d are gone", self.place(partition), expected, first - 1)

    def place(self, partition: int) -> str:
        """Return the partition's name for messages."""
        return f"{self.source} partition {partition}"

    async def work(self, batch: Batch) -> None:
        """Fold a batch and write the results, in parts where a single fold would block the event loop too long.

        If the partition moves to another worker in the meantime, the batch ends with the part already written.
        """
        partition, records = batch.tp.partition, batch.records
        async with self._turns[partition]:
            while True:
                before = self.table.partition_row(partition)
                folded = await self.fold(partition, before, records)
                self.table.check_open(partition)
                end = batch.end if folded.finished else folded.next_offset
                # Record the position even if there was nothing to fold; otherwise offsets that the broker deletes would
                # count as lost.
                if folded.partition_row != before or folded.rows or end > self._read.get(partition, 0):
                    written = await self.outlet.publish(folded.outputs)
                    await self.stale_writes.note(partition, written, _place(folded.partition_row))
                    await self._persist(partition, folded, end)
                self.counters.add(folded.counts)
                if folded.finished:
                    await self._refill(partition)
                    return
                await self.outlet.pause()
                if batch.is_unwanted:
                    batch.end = end
                    return
                records = [record for record in records if record.offset >= end]

    async def _persist(self, partition: int, folded: Folded, end: int) -> None:
        self.outlet.app.consumer.check_pulse()
        self._read[partition] = end
        await self.table.write(partition, folded.rows, folded.partition_row, self._headers(partition))
        self.counters.rows += len(folded.rows)

    def _headers(self, partition: int) -> Headers:
        return (*self.stale_writes.headers(partition), (READ, b"%d" % self._read[partition]))

    def standing(self, partition: int) -> Iterator[Output]:  # noqa: ARG002 - used by stages that write compacted topics
        """Yield the records that the compacted topics must hold for a partition, built from its rows."""
        return iter(())

    async def _refill(self, partition: int) -> None:
        """Rewrite what compacted topics have lost, because runtimes and services see only those topics."""
        data = self.table.partition_row(partition)
        if data is None or not (lost := self.stale_writes.lost(partition)):
            return
        count, outputs = 0, (output for output in self.standing(partition) if output.topic in lost)
        while group := list(islice(outputs, _REFILL_AT_ONCE)):
            await self.stale_writes.note(partition, await self.outlet.publish(group), _place(data))
            count += len(group)
        self.stale_writes.filled(partition)
        await self.table.write(partition, {}, data, self._headers(partition))
        self.counters.refilled += count
        if not count:
            return
        log.warning(
            "partition %d of %s had lost records: the topic was recreated, or its broker lost them; %d records were "
            "rewritten from the rows",
            *(partition, " and ".join(self.outlet.topics(topic) for topic in sorted(lost)), count),
        )

    async def look(self, partitions: Iterable[int]) -> None:
        """Repair stale writes on compacted topics by processes that had lost one of ``partitions``."""
        try:
            for partition in await self.stale_writes.ahead(partitions):
                async with self._turns[partition]:
                    await self.stale_writes.look(partition, _place(self.table.partition_row(partition)))
                    await self._refill(partition)
        except Unanswered as error:
            text = "%s: could not check for stale writes; trying again later: %s"
            log.warning(text, self.source, error.message, extra=RETRIED)

    async def _headers_of(self, partition: int, partition_row: bytes) -> Headers:
        """Return the headers of the partition row's record: the changelog's last record, except after a stale write."""
        name = self.table.changelog_topic_name
        last = self.table.last_record(partition)
        if last is None:
            return ()
        record = (await self.reader.read(name, [(partition, last)]))[partition, last]
        return () if record is None or record.value != partition_row else tuple(record.headers)

    async def _compare_log(self, partition: int, offset: int, expected: bytes) -> None:
        found = (await self.reader.read(self.source, [(partition, offset)]))[partition, offset]
        if found is None and topology.is_standing(self.stage.source):
            return  # compaction has removed the record
        if found is None or record_hash(found) != expected:
            raise Unsafe(
                f"{self.place(partition)} has a different record at {offset} than the one its state ends with",
                hint=self.hint,
            )


def _position_in(headers: Headers) -> int:
    """Return the source position in the headers of a partition row; 0 when there is none."""
    return max((int(value) for name, value in headers if name == READ and value and value.isdigit()), default=0)


def _place(partition_row: bytes | None) -> Place:
    state = decode_partition(partition_row)
    return state.incarnation, state.next_offset


class CommittedStage(ABC):
    """A stage without state, which starts at the committed offset and may process a batch twice."""

    interruptible: bool = False
    changelog: str | None = None
    repeatable: ClassVar[bool] = False
    """Whether consumers can recognise repeated output, so that a recreated topic is read from its beginning."""

    def __init__(self, source: str) -> None:
        self.source = source
        """The topic's name on the broker."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Return where to start: the committed offset, or else ``start``."""
        if committed is not None and committed > end:
            what = f"{self.source} partition {partition} was read up to {committed}, but ends at {end}"
            if not self.repeatable:
                raise Unsafe(what, hint=f"was the topic recreated? `{ADOPT}` starts a new incarnation")
            log.error("%s: it was recreated, and is read from its beginning", what)
            committed = None
        return self.start(first, end) if committed is None else max(committed, first)

    def start(self, first: int, end: int) -> int:  # noqa: ARG002 - a stage may start at the end instead
        """Return where a group without a committed offset starts."""
        return first

    @abstractmethod
    async def work(self, batch: Batch) -> None:
        """Process a batch."""
