"""What is done with the batches of each source topic, and in which order it is written.

    decode -> fold -> outputs, awaited -> rows and partition row, awaited -> memory -> only then may be committed

A write that fails ends the process without a commit; the next one goes on from the partition row.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, Protocol

from crl_stream.errors import Unsafe
from crl_stream.topology.incidents import data_gap_alert
from crl_stream.topology.inlet import reference_commands
from crl_stream.topology.monitor import Folded, command_positions, decode_batch, fold_batch
from crl_stream.topology.partition import decode_partition, record_hash
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, COMMANDS, INVOCATIONS, Topics
from crl_stream.worker.counters import Counters
from crl_stream.worker.lanes import Batch
from crl_stream.worker.point_reader import PointReader
from crl_stream.worker.producer import Item
from crl_stream.worker.table import TaskTable

log = logging.getLogger(__name__)

ADOPT: Final = "crl topics adopt"


class Stage(Protocol):
    """One source topic's work."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Where reading starts: ``committed`` by the group, ``first`` and ``end`` of the log; may raise ``Unsafe``."""

    async def work(self, batch: Batch) -> None:
        """Do all that a batch asks for; when it returns, the batch may be committed."""


class Outlet:
    """Writes outputs of the pure layers: grouped by partition, in order, awaited."""

    def __init__(self, app: Any, topics: Topics, counters: Counters) -> None:
        self.app, self.topics, self.counters = app, topics, counters

    async def publish(self, outputs: Iterable[Output]) -> None:
        """Return when the broker has every output; raises when it has not."""
        groups: dict[tuple[str, int], list[Item]] = defaultdict(list)
        for output in outputs:
            groups[output.topic, output.partition].append((output.key, output.value, output.headers))
        if not groups:
            return
        self.app.consumer.check_pulse()
        write = self.app.producer.write
        async with asyncio.TaskGroup() as group:
            for (topic, partition), items in groups.items():
                group.create_task(write(self.topics(topic), partition, items))
        self.counters.outputs += sum(map(len, groups.values()))


class MonitorStage:
    """Folds the log."""

    def __init__(self, table: TaskTable, outlet: Outlet, reader: PointReader, counters: Counters) -> None:
        self.table, self.outlet, self.reader, self.counters = table, outlet, reader, counters
        self.log_topic = outlet.topics(INVOCATIONS)
        self.commands_topic = outlet.topics(COMMANDS)

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """The partition row decides; the committed offset is a hint that may lag behind or be of another log."""
        data = self.table.partition_row(partition)
        place = f"{self.log_topic} partition {partition}"
        if data is None:
            if committed and first:
                raise Unsafe(
                    f"{place} was folded up to {committed}, but its state is gone and its log starts at {first}",
                    hint=f"put {self.table.changelog_topic_name} back, or start anew with `{ADOPT}`",
                )
            return first
        state = decode_partition(data)
        if state.next_offset > end:
            raise Unsafe(
                f"the state of {place} ends at {state.next_offset}, its log at {end}: it is another log",
                hint=f"was the topic made anew? `{ADOPT}` starts a new incarnation on it",
            )
        if state.next_offset < first:
            await self._announce_gap(partition, first)
            return first
        if state.next_offset > first and state.last_hash:
            await self._compare_log(partition, state.next_offset - 1, state.last_hash, place)
        read_from = first if committed is None else max(committed, first)
        if (skipped := state.next_offset - read_from) > 0:
            self.counters.skipped += skipped
            log.info("%s: %d records from offset %d on are folded already and skipped", place, skipped, read_from)
        return state.next_offset

    async def _compare_log(self, partition: int, offset: int, expected: bytes, place: str) -> None:
        found = (await self.reader.read(self.log_topic, [(partition, offset)]))[partition, offset]
        if found is None or record_hash(found) != expected:
            raise Unsafe(
                f"{place} has another record at {offset} than the one that its state ends with",
                hint=f"was the topic made anew? `{ADOPT}` starts a new incarnation on it",
            )

    async def _announce_gap(self, partition: int, first: int) -> None:
        state = decode_partition(self.table.partition_row(partition))
        oldest = (await self.reader.read(self.log_topic, [(partition, first)]))[partition, first]
        timestamp = int(time.time() * 1_000) if oldest is None else oldest.timestamp
        alert = data_gap_alert(partition, state.next_offset, first, timestamp, state)
        log.error("data gap: %s", alert.text)
        await self.outlet.publish([Output(ALERTS, partition, alert.subject.encode(), encode(alert))])

    async def work(self, batch: Batch) -> None:
        """Fold a batch and write what came of it."""
        partition = batch.tp.partition
        entries = decode_batch(batch.records)
        places = command_positions(entries)
        found = await self.reader.read(self.commands_topic, places) if places else {}
        commands = {place: None if record is None else record.value for place, record in found.items()}
        before = self.table.partition_row(partition)
        folded = fold_batch(partition, self.table.width, before, self.table.rows, entries, commands)
        if folded.partition_row != before:
            await self.outlet.publish(folded.outputs)
            await self._persist(partition, folded)
        self.counters.add(folded.counts)

    async def _persist(self, partition: int, folded: Folded) -> None:
        self.outlet.app.consumer.check_pulse()
        await self.table.write(partition, folded.rows, folded.partition_row)
        self.counters.rows += len(folded.rows)


class InletStage:
    """Turns commands into references in the log; keeps nothing."""

    def __init__(self, partitions: int, outlet: Outlet, counters: Counters) -> None:
        self.partitions, self.outlet, self.counters = partitions, outlet, counters

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """The committed offset: a reference that comes twice is recognised by the fold."""
        if committed is not None and committed > end:
            raise Unsafe(
                f"{self.outlet.topics(COMMANDS)} partition {partition} was read up to {committed}, but ends at {end}",
                hint=f"was the topic made anew? `{ADOPT}` starts a new incarnation",
            )
        return first if committed is None else max(committed, first)

    async def work(self, batch: Batch) -> None:
        """Append the references, in order."""
        outputs = reference_commands(batch.tp.partition, self.partitions, batch.records)
        await self.outlet.publish(outputs)
        self.counters.references += sum(output.topic == INVOCATIONS for output in outputs)
