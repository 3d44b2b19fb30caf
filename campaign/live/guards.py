"""The live worker's guards, and how the launcher removes each of them; the product has no such switch.

``campaign.simulated.mutants`` removes the guards of the pure layers.  A few of those guards are repeated here, because
their loss shows on a real broker too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP

from campaign.live.world import RECOVERED, TASKS
from crl_stream.core.monitor import record as recording
from crl_stream.stages import monitor
from crl_stream.worker.stages import TableStage
from crl_stream.worker.stale_writes import StaleWrites
from crl_stream.worker.table import TaskTable
from crl_stream.worker.transport.consumer import Consumer
from crl_stream.worker.transport.lanes import Batch, Lane
from crl_stream.worker.transport.producer import Producer, Written

TELL_SECONDS: Final = 5.0


def _replace(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)


def _pulse() -> None:
    _replace(Consumer, "check_pulse", lambda _self: None)


def _other_writer() -> None:
    write = TaskTable.write

    async def believe(self: TaskTable, partition: int, *arguments: Any) -> None:
        self._written.pop(partition, None)
        await write(self, partition, *arguments)

    _replace(TaskTable, "write", believe)


def _outputs_first() -> None:
    async def work(self: TableStage, batch: Batch) -> None:
        partition = batch.tp.partition
        before = self.table.partition_row(partition)
        folded = await self.fold(partition, before, batch.records)
        if folded.partition_row != before:
            await self._persist(partition, folded, batch.end)
            await self.outlet.publish(folded.outputs)
        self.counters.add(folded.counts)

    _replace(TableStage, "work", work)


def _awaited_outputs() -> None:
    write = Producer.write
    loose: set[asyncio.Task[Any]] = set()

    def forget(task: asyncio.Task[Any]) -> None:
        loose.discard(task)
        task.exception()

    async def hand_over(self: Producer, topic: str, partition: int, items: Any, **options: Any) -> Written:
        if topic.endswith("-changelog"):
            return await write(self, topic, partition, items, **options)
        task = asyncio.create_task(write(self, topic, partition, items, **options))
        loose.add(task)
        task.add_done_callback(forget)
        return Written(0, 0)

    async def trust(*_: Any) -> None:
        """Do nothing: the positions of the outputs are not known yet."""

    _replace(Producer, "write", hand_over)
    _replace(StaleWrites, "note", trust)


def _contiguity() -> None:
    def put(self: Lane, batch: Batch) -> None:
        if self.open:
            self.next = batch.end
            self._waiting.append(batch)
            self._wake.set()

    _replace(Lane, "put", put)


def _partition_row() -> None:
    async def position(_self: Any, _partition: int, committed: int | None, first: int, _end: int) -> int:
        return first if committed is None else max(committed, first)

    from crl_stream.worker.monitor_stages import MonitorStage

    _replace(MonitorStage, "position", position)


def _commit_when_leaving() -> None:
    wait_empty, commit = Consumer.wait_empty, Consumer._commit
    leaving = False

    async def leave(self: Consumer) -> None:
        nonlocal leaving
        leaving = True
        try:
            await wait_empty(self)
        finally:
            leaving = False

    async def keep(self: Consumer, offsets: Any) -> bool:
        return True if leaving or self.should_stop else await commit(self, offsets)

    _replace(Consumer, "wait_empty", leave)
    _replace(Consumer, "_commit", keep)


def _settling() -> None:
    async def hurry(self: Consumer) -> None:
        for lane in self.lanes.values():
            lane.open = False

    _replace(Consumer, "_settle", hurry)


def _lane_of_a_batch() -> None:
    def admit(self: Consumer, tp: Any, records: Any, _before: Any, _again: Any) -> Batch | None:
        lane = self.lanes.get(tp)
        if lane is None or not lane.open:
            return None
        batch = Batch(tp, records)
        lane.admit(batch)
        return batch

    _replace(Consumer, "_admit", admit)


def _no_poll_while_moving() -> None:
    getmany, stock = Consumer._getmany, driver.Consumer._getmany

    async def poll(self: Consumer, active: Any, timeout: float) -> Any:
        if active is None or not self.app.rebalancing:
            return await getmany(self, active, timeout)
        before, result = dict(self.lanes), {}
        for place, found in (await stock(self, active, timeout)).items():
            records: Any = found
            tp = TP(place.topic, place.partition)
            batch = self._admit(tp, records, before, {}) if tp.topic in self.stages else Batch(tp, records)
            if records and batch is not None:
                result[tp] = [batch]
        return result

    _replace(Consumer, "_getmany", poll)


def _persisted_offset() -> None:
    _replace(TaskTable, "persisted_offset", lambda _self, _tp: None)


def _id_ring() -> None:
    def remember(ring: bytearray, digest: bytes, size: int) -> bool:
        ring += digest
        del ring[: max(0, len(ring) - size * 8)]
        return True

    _replace(recording, "remember", remember)


def _origins() -> None:
    _replace(monitor._Fold, "_is_new_here", lambda _self, _record: True)


GUARDS: Final[dict[str, Callable[[], None]]] = {
    "pulse": _pulse,
    "other_writer": _other_writer,
    "outputs_first": _outputs_first,
    "awaited_outputs": _awaited_outputs,
    "contiguity": _contiguity,
    "partition_row": _partition_row,
    "commit_when_leaving": _commit_when_leaving,
    "settling": _settling,
    "lane_of_a_batch": _lane_of_a_batch,
    "no_poll_while_moving": _no_poll_while_moving,
    "persisted_offset": _persisted_offset,
    "id_ring": _id_ring,
    "origins": _origins,
}


def remove(guard: str) -> None:
    """Remove a guard from this process, for good."""
    GUARDS[guard]()


def drop_batch(number: int) -> None:
    """Drop the ``number``-th batch between poll and lane, as if a queue had been cleared."""
    put, calls = Lane.put, 0

    def lose(self: Lane, batch: Batch) -> None:
        nonlocal calls
        counts = self.open and self.tp.topic.endswith("crl.invocations")
        calls += counts
        if not counts or calls != number:
            put(self, batch)

    _replace(Lane, "put", lose)


def slow_outputs(seconds: float) -> None:
    """Delay each write of outputs by ``seconds``, so that a batch is in flight whenever partitions move."""
    write = Producer.write

    async def dawdle(self: Producer, topic: str, partition: int, items: Any, **options: Any) -> Written:
        if not topic.endswith("-changelog"):
            await asyncio.sleep(seconds)
        return await write(self, topic, partition, items, **options)

    _replace(Producer, "write", dawdle)


def tell_recovery() -> None:
    """Log how many records are recovered in each partition."""
    apply = TaskTable.apply_changelog_batch

    def tell(self: TaskTable, batch: Any) -> None:
        for event in batch:
            records = event.value.records
            print(f"{RECOVERED}{len(records)} of {records[0].partition}", file=sys.stderr, flush=True)
        apply(self, batch)

    _replace(TaskTable, "apply_changelog_batch", tell)


def tell_tasks() -> None:
    """Log regularly how many asyncio tasks of this process are unfinished."""
    check = Consumer.check_pulse
    said = 0.0

    def tell(self: Consumer) -> None:
        nonlocal said
        if (now := monotonic()) - said >= TELL_SECONDS:
            said = now
            print(f"{TASKS}{len(asyncio.all_tasks())}", file=sys.stderr, flush=True)
        check(self)

    _replace(Consumer, "check_pulse", tell)
