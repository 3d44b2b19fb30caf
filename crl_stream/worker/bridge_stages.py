"""The stages of the bridges: pure mappings of ``bridges``, wrapped for use with Faust."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from time import monotonic
from typing import Final

from crl_stream.bridges.kinds import Kind
from crl_stream.bridges.mapping import LOG, Fault, Mapped, outputs_of
from crl_stream.bridges.options import BridgeOptions
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire import reasons
from crl_stream.wire.complaints import plain
from crl_stream.wire.records import Output, Record
from crl_stream.worker.member import Member
from crl_stream.worker.stages import CommittedStage
from crl_stream.worker.transport.lanes import Batch

log = logging.getLogger(__name__)

REPEATABLE: Final = 48
"""How many messages of one task may be written between two commits, by all partitions together.

A crash repeats them, and the engine recognises a repeated id among the last 64 of its task (limits.duplicate_ids)."""
LARGE: Final = 100_000
"""Size in bytes from which a record is mapped in a thread, so that heartbeats go on meanwhile."""
PAUSE_SECONDS: Final = 0.02
"""How long records are mapped before other asyncio tasks may run."""


class BridgeStage(CommittedStage):
    """Maps the records of one topic, and commits each step only after the broker has accepted all of its outputs."""

    repeatable = True

    def __init__(self, name: str, kind: Kind, options: BridgeOptions, member: Member, topic: str) -> None:
        super().__init__(topic)
        self.name, self.kind, self.options, self.member = name, kind, options, member
        self.counters = member.counters
        self.partitions = member.settings.kafka.partitions
        self._most = REPEATABLE

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Return where to start: the committed offset, or the beginning of the topic."""
        reader = TopicReader(self.member.settings.kafka, full_names=True)
        self._most = max(1, REPEATABLE // max(1, await reader.partitions(self.source)))
        return await super().position(partition, committed, first, end)

    async def work(self, batch: Batch) -> None:
        """Map the records in order, and write the results in steps that a crash may repeat without harm."""
        step, counts, resumed = list[Output](), Counter[bytes | None](), monotonic()
        for record in batch.records:
            if len(record.value or b"") > LARGE:
                outputs, ignored = await asyncio.to_thread(self.map, batch.tp.partition, record)
            else:
                outputs, ignored = self.map(batch.tp.partition, record)
            self._count(outputs, ignored)
            own = Counter(output.key for output in outputs)
            if step and any(counts[key] + count > self._most for key, count in own.items()):
                await self._write(batch, step, record.offset)
                step, counts = [], Counter()
            step += outputs
            counts += own
            if monotonic() - resumed > PAUSE_SECONDS:
                await asyncio.sleep(0)
                resumed = monotonic()
        await self._write(batch, step, batch.end)
        self.counters.batches += 1

    def map(self, partition: int, record: Record) -> tuple[list[Output], int]:
        """Return what the bridge writes for a record, and how many of its parts it ignores.

        A mapping that fails is a bug and becomes a dead letter. This may run in a thread, so it changes nothing.
        """
        mapped: Mapped
        try:
            mapped = self.kind.map(self.options, record)
        except Exception as error:
            log.exception("the bridge %s failed on %s partition %d", self.name, self.source, partition)
            mapped = Mapped([], [_failure(error)])
        return outputs_of(self.name, self.source, (partition, self.partitions), record, mapped), mapped.ignored

    def _count(self, outputs: list[Output], ignored: int) -> None:
        letters = sum(output.topic != LOG for output in outputs)
        self.counters.ignored += ignored
        self.counters.dead_letters += letters
        self.counters.applied += len(outputs) - letters

    async def _write(self, batch: Batch, step: list[Output], done: int) -> None:
        await self.member.outlet.publish(step)
        if step:
            await self.member.app.consumer.commit_through(batch.tp, done)


class InboxStage(BridgeStage):
    """Maps the records that a bridge has fetched or received itself; those of other bridges are skipped."""

    def map(self, partition: int, record: Record) -> tuple[list[Output], int]:
        """Return what the bridge writes for one of its own records."""
        return super().map(partition, record) if record.key == self.name.encode() else ([], 0)


def _failure(error: Exception) -> Fault:
    return Fault(reasons.FOLD_FAILURE, plain(f"the bridge failed: {error!r}"))
