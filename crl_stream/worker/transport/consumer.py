"""The consumer half of the batching transport: reads batches into lanes, and commits only what the lanes have finished.

To Faust, a batch is one message, whose offset is the last one that the batch covers.  So Faust's drain loop, conductor,
streams, agents, rebalancing and table recovery run unchanged, once per batch.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, NoReturn

import faust
from aiokafka.errors import CorruptRecordException, IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage

from crl_stream.errors import CrlError, Unsafe
from crl_stream.kafka.log_consumer import Stretch
from crl_stream.worker.recovery_progress import RecoveryWatch
from crl_stream.worker.transport.fetching import ConsumerThread
from crl_stream.worker.transport.lanes import BACKLOG, PATIENT_BACKLOG, Batch, Lane, Progress
from crl_stream.worker.transport.stage import Stage

EXIT_UNSAFE: Final = Unsafe.exit_code
FOREIGN_TRANSACTION: Final = (
    "only this installation's workers may write there: stop the program that does, abort its transaction "
    "(kafka-transactions.sh), then restart"
)
DAMAGED: Final = "the broker's disk may be damaged, and another replica may be intact: check the broker, then restart"


class Consumer(driver.Consumer):
    """Faust's aiokafka consumer, with lanes instead of acknowledgements."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lanes: dict[TP, Lane] = {}
        self.safe: dict[TP, int] = {}
        """By partition: the next offset after the last finished batch."""
        self.durable: dict[TP, int] = {}
        """By partition: the last offset that the broker has accepted as a commit."""
        self.pulse = monotonic()
        self._watch = RecoveryWatch()
        self._assigned_in = 0
        """Faust's number for the rebalance that the last assignment belongs to."""

    def _is_moving(self) -> bool:
        """Whether partitions were revoked and have not yet been reassigned."""
        return bool(self._assigned_in != self.app.rebalancing_count)

    def _has_moved(self, assigned_in: int) -> bool:
        """Return whether partitions have moved since the rebalance ``assigned_in``, or tables are not recovered yet."""
        app: Any = self.app
        recovering = app.in_recovery or app.tables.recovery.signal_recovery_start.is_set()
        return self._assigned_in != assigned_in or self._is_moving() or recovering

    @property
    def stages(self) -> dict[str, Stage]:
        """The stage that works on each source topic."""
        transport: Any = self.transport
        found: dict[str, Stage] = transport.stages
        return found

    def progress(self, tp: TP) -> Progress | None:
        """Return how far a source partition has been read and written; None when it is not this worker's."""
        thread: Any = self._thread
        lane = self.lanes.get(tp)
        if lane is None or not lane.open:
            return None
        stable_end, end = thread.ends_seen(tp)
        return Progress(lane.done, stable_end, end)

    # -- driver hooks ------------------------------------------------------------------------------
    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        # During a rebalance only changelogs are read. Stock Faust polls the sources before its last seek and then
        # clears every queue, which would lose the records polled in between.
        app, changelogs = self.app, self.app.tables.changelog_topics
        before = dict(self.lanes)
        if active_partitions is not None:
            if app.rebalancing:
                active_partitions = {tp for tp in active_partitions if tp.topic in changelogs}
            elif full := {tp for tp, lane in before.items() if lane.full}:
                active_partitions, timeout = active_partitions - full, 0.01
            if not active_partitions:
                await asyncio.sleep(0.005)
                return {}
        try:
            polled = await super()._getmany(active_partitions, timeout)
        except CorruptRecordException as error:
            self.leave(Unsafe(f"the log is damaged: {error}", hint=DAMAGED))
        result: dict[TP, list[Any]] = {}
        again: dict[TP, int] = {}
        stopped = not self.flow_active
        for place, found in polled.items():
            stretch: Any = found
            tp = TP(place.topic, place.partition)
            if tp.topic in changelogs:
                if stopped:
                    # Faust discards records that arrive now. If a rebalance began during this poll, the recovery may
                    # have set its position already, and would wait for these records forever.
                    again[tp] = stretch.start
                    continue
                self._watch.progress()
                result[tp] = [Batch(tp, stretch)]
            elif tp.topic not in self.stages:
                result[tp] = stretch
            elif (batch := self._admit(tp, stretch, before, again)) is not None:
                result[tp] = [batch]
        if again:
            with suppress(IllegalStateError):  # revoked meanwhile
                await self.seek_wait(again)
        return result

    def _admit(self, tp: TP, stretch: Stretch, before: dict[TP, Lane], again: dict[TP, int]) -> Batch | None:
        lane = self.lanes.get(tp)
        if lane is None or not lane.open or self.app.rebalancing:
            return None
        if lane is not before.get(tp):
            # The poll was started for an assignment that has since ended.
            again[tp] = lane.expected
            return None
        batch = Batch(tp, stretch)
        lane.admit(batch)
        return batch

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, Batch):
            return super()._to_message(tp, record)
        last = record.records[-1] if record.records else None
        batch: Any = record  # Faust's type for a value is bytes, but it passes on any object
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            # A recovery ends at the last offset of the topic, which may be a control record.
            record.end - 1,
            0.0 if last is None else last.timestamp / 1000.0,
            0 if last is None else last.timestamp_type,
            None,
            None,
            batch,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # A queue of batches fills quickly. Stock Faust would then stop polling the partition and sleep for a second. Lanes
    # limit the waiting records instead, and a full queue blocks the drain loop.
    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing, because lanes limit the waiting records."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing, because polling is never stopped."""

    # -- exit rather than guess ---------------------------------------------------------------------
    async def on_task_error(self, exc: BaseException) -> NoReturn:
        """Exit without a commit because a lane or an agent failed; a restart continues from the partition row.

        Stock Faust commits here, which would lose the batch.
        """
        self.leave(exc)

    def leave(self, exc: BaseException) -> NoReturn:
        """End the process at once: nothing may be written or committed after this."""
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]  # concurrent writes may fail together; the first error shows the cause
        expected = isinstance(exc, CrlError | KafkaError)
        message = exc.message if isinstance(exc, CrlError) else repr(exc)
        hint = exc.hint if isinstance(exc, CrlError) else "check the broker; a restart continues from here"
        # Our own errors and those of Kafka need no traceback; any other error is a bug, and its traceback shows where.
        self.log.critical("leaving without commit: %s", message, exc_info=None if expected else exc)
        if expected and hint:
            self.log.critical("hint: %s", hint)
        os._exit(exc.exit_code if isinstance(exc, CrlError) else EXIT_UNSAFE)

    def check_pulse(self) -> None:
        """Raise ``Unsafe`` after a pause in which the group may have given our partitions to another worker."""
        paused = monotonic() - self.pulse
        if paused > self.app.conf.broker_session_timeout / 2:
            raise Unsafe(
                f"the process was paused for {paused:.1f} s, at least half the session timeout",
                hint="restart the worker; if this repeats, give it more CPU or a longer session timeout",
            )

    @faust.Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            try:
                self.check_pulse()
                self._watch.check(self.app)
            except Unsafe as exc:
                self.leave(exc)
            self.pulse = monotonic()
            await asyncio.sleep(self.app.conf.broker_session_timeout / 12)

    # -- assignment, commit, revoke ----------------------------------------------------------------
    async def seek_to_committed(self) -> dict[TP, int]:
        """Open a lane for each assigned source partition, at the position given by its stage."""
        app: Any = self.app
        assigned_in = self._assigned_in
        if self._has_moved(assigned_in) or asyncio.current_task() is app._fetcher._drainer:
            # The drain loop also seeks after an unexpected revoke, and so does a recovery overtaken by a later one.
            # Rows, and therefore positions, are missing then. The recovery that ends last seeks in any case.
            return {}
        offsets = {TP(tp.topic, tp.partition): offset for tp, offset in (await super().seek_to_committed()).items()}
        sources = [tp for tp in offsets if tp.topic in self.stages]
        if not sources:
            return offsets
        await self._settle()
        first, end = await self.earliest_offsets(*sources), await self.highwaters(*sources)
        try:
            await self._check_changelogs(sources)
            for tp in sources:
                stage = self.stages[tp.topic]
                offsets[tp] = await stage.position(tp.partition, offsets[tp], first[tp], end[tp])
        except Exception as exc:
            self.leave(exc)
        if self._has_moved(assigned_in):
            return offsets
        await self.seek_wait({tp: offsets[tp] for tp in sources})
        # The changelogs are recovered.  Faust pauses them only internally: aiokafka would fetch what this process
        # writes, keep it unread, and so delay its other fetches.
        thread: Any = self._thread
        changelogs = {tp for tp in self.assignment() if tp.topic in self.app.tables.changelog_topics}
        await thread.call_thread(thread.leave_unread, changelogs, assigned_in)
        if self._has_moved(assigned_in):
            return offsets
        for tp in sources:
            stage = self.stages[tp.topic]
            most = PATIENT_BACKLOG if stage.interruptible else BACKLOG
            self.lanes[tp] = lane = Lane(tp, offsets[tp], most=most)
            self.safe[tp] = offsets[tp]
            lane.driver = self.add_future(self._drive(lane))
        return offsets

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return each partition's end for readers of committed records; exit if an open transaction hides rows.

        An open transaction in a changelog hides the rows written after its beginning.  Continuing from older rows would
        undo what was published.
        """
        thread: Any = self._thread
        logs = [tp for tp in partitions if tp.topic in self.app.tables.changelog_topics]
        whole = await thread.call_thread(thread.whole_ends, logs) if logs else {}
        ends: Mapping[TP, int] = await super().highwaters(*partitions)
        for tp in logs:
            if whole[tp] > ends[tp]:
                what = f"{tp.topic} partition {tp.partition} has an open transaction from offset {ends[tp]} on"
                self.leave(Unsafe(f"{what}: rows cannot be read", hint=FOREIGN_TRANSACTION))
        return ends

    async def _check_changelogs(self, sources: list[TP]) -> None:
        """Raise ``Unsafe`` when a changelog has lost its beginning: there is no other sign that rows are missing.

        Compaction removes individual records, but never moves the beginning.
        """
        names = {tp: self.stages[tp.topic].changelog for tp in sources}
        places = [TP(name, tp.partition) for tp, name in names.items() if name is not None]
        starts = await self.earliest_offsets(*places) if places else {}
        for place, start in starts.items():
            if start:
                raise Unsafe(
                    f"{place.topic} partition {place.partition} has lost its records before {start}: rows are missing",
                    hint=f"delete the topic {place.topic} and run `crl topics apply`: the log is then refolded",
                )

    async def _drive(self, lane: Lane) -> None:
        stage = self.stages[lane.tp.topic]
        try:
            while (batch := await lane.take()) is not None:
                await stage.work(batch)
                self.safe[lane.tp] = batch.end
                lane.finish(batch)
        except asyncio.CancelledError:
            lane.busy = False
            raise
        except BaseException as exc:
            self.leave(exc)

    async def _settle(self) -> None:
        """Close every lane and wait for the batches in flight, for at most one session timeout."""
        for lane in self.lanes.values():
            lane.close()
            if lane.busy and self.stages[lane.tp.topic].interruptible:
                lane.driver.cancel()
        until = monotonic() + self.app.conf.broker_session_timeout
        while any(lane.busy for lane in self.lanes.values()):
            if monotonic() > until:
                self.leave(Unsafe("a write hangs in a rebalance", hint="check the broker, then restart"))
            await asyncio.sleep(0.002)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what the lanes have finished, and record it only once the broker has accepted it."""
        ready = {tp: offset for tp, offset in self.safe.items() if offset > self.durable.get(tp, -1)}
        committed = bool(ready) and await self._commit(ready)
        if committed:
            self.durable.update(ready)
        return await super().force_commit(topics, start_new_transaction) or committed

    async def commit_through(self, tp: TP, offset: int) -> None:
        """Commit a partition that its lane has finished up to ``offset``, and wait for the broker to accept it.

        If the partition is moving to another process, nothing is committed, and that process repeats the records.
        """
        self.safe[tp] = offset
        if await self._commit({tp: offset}):
            self.durable[tp] = offset

    async def wait_empty(self) -> None:
        """Finish the batches in flight, then let Faust commit."""
        await self._settle()
        await super().wait_empty()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Allow lanes to be opened for the new assignment."""
        self._assigned_in = self.app.rebalancing_count
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish the batches in flight, commit them, then close the lanes."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            if (lane := self.lanes.pop(tp, None)) is not None:
                lane.close()
            for state in (self.safe, self.durable):
                state.pop(tp, None)
