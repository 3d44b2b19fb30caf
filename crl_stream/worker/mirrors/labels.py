"""Moves the labels of one prompt store, and watches them for moves that people made.

The mirror does not rely on the store. Every request has a time limit, few run at a time, and after a failure the next
attempt waits, longer each time. Nothing else in the process waits for the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Collection
from typing import Final, NoReturn, TypeVar

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.mirroring import store as store_state
from crl_stream.core.mirroring.label import Seen, messages_of, published, refuse_move, step
from crl_stream.core.mirroring.wants import Wanted
from crl_stream.mirrors.store import LabelStore, Refused, Silent
from crl_stream.settings.model import Langfuse, MLflow
from crl_stream.stages.mirror import MirrorRecord, message_output, record_output
from crl_stream.worker.mirrors.board import Board
from crl_stream.worker.stages import Outlet

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""The longest wait in seconds between two attempts to reach a store; the wait doubles each time."""
AT_ONCE: Final = 8
"""How many labels are worked on at the same time."""
STEPS: Final = 6
"""How many steps a label takes at most before others have their turn; three are usual."""
T = TypeVar("T")


class Labels:
    """The labels of one store; ``partitions`` is how many the log has."""

    def __init__(
        self, store: LabelStore, options: Langfuse | MLflow, board: Board, outlet: Outlet, partitions: int
    ) -> None:
        self.store, self.options, self.board, self.outlet, self.partitions = store, options, board, outlet, partitions
        self._answered = time.time()
        """When the store last answered."""
        self._failing: dict[TaskKey, float] = {}
        """Since when requests about a task's label fail, although the store answers."""

    async def run(self) -> NoReturn:
        """Work for ever; only a failure of Kafka, or a bug, ends it."""
        await self.board.ready.wait()
        woken, failures, polled = self.board.woken[self.store.name], 0, 0.0
        while True:
            woken.clear()
            changed = self.board.changed.pop(self.store.name, set())
            everything = failures > 0 or time.monotonic() >= polled + self.options.poll_seconds
            if everything:
                polled = time.monotonic()
            try:
                await self._work(None if everything else changed)
                failures = 0
                wait = max(0.0, polled + self.options.poll_seconds - time.monotonic())
            except Silent as error:
                failures += 1
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))
                await self._tell_silent(error, failures, wait)
                await asyncio.sleep(wait)
                continue
            try:
                async with asyncio.timeout(wait):
                    await woken.wait()
            except TimeoutError:
                pass

    async def _work(self, changed: Collection[TaskKey] | None) -> None:
        """Work on the labels of ``changed`` tasks, or on all; raise ``Silent`` if the store answers for none."""
        for stale in self.board.stale & self.board.records.keys():
            await self._write(self.board.records[stale])
        wanted = self.board.wanted(self.store.name, self.store.label)
        for gone in self._failing.keys() - wanted.keys():
            del self._failing[gone]
        tasks = list(wanted if changed is None else wanted.keys() & changed)
        gate, done, failed = asyncio.Semaphore(AT_ONCE), list[TaskKey](), dict[TaskKey, Silent]()

        async def work(key: TaskKey) -> None:
            async with gate:
                if len(failed) >= AT_ONCE and not done:
                    return  # the store is down: it is asked again after a wait
                try:
                    await self._work_on(key)
                except Silent as error:
                    failed[key] = error
                else:
                    done.append(key)
                    self._failing.pop(key, None)

        async with asyncio.TaskGroup() as group:
            for key in tasks:
                group.create_task(work(key))
        if failed and not done:
            raise next(iter(failed.values()))
        if done:
            await self._tell_answers()
        for key, error in failed.items():
            await self._tell_failing(wanted[key], error)

    async def _tell_failing(self, want: Wanted, error: Silent) -> None:
        """Alert people about a label for which the store has given no usable answer for a while, though it answers."""
        if want.key not in self._failing:
            text = "%s: no usable answer about %s: %s"
            log.warning(text, self.store.name, want.prompt, error, exc_info=error.__cause__)
        since = self._failing.setdefault(want.key, time.monotonic())
        if time.monotonic() - since >= self.options.alert_after_seconds:
            await self._leave_alone(want, Seen(None), f"no usable answer about it: {error}", problem=True)

    async def _work_on(self, key: TaskKey) -> None:
        """Repeat steps for one label until they change nothing."""
        moved = False
        if (record := self.board.label(self.store.name, key)) is not None:
            await self._publish(record)
        for _ in range(STEPS):
            if (want := self._wanted(key)) is None:
                return
            try:
                seen = await self._asking(self.store.look(want.prompt))
            except Refused as error:
                await self._leave_alone(want, Seen(None), str(error), problem=True)
                return
            want, before = self._wanted(key) or want, self.board.label(self.store.name, key)
            answer = None if before is None or before.asked is None else self.board.answers.get(before.asked.command_id)
            record, move = step(before, want, seen, _now(), answer)
            if record is not None and record is not before:
                _say(before, record)
                await self._write(record)
                await self._publish(record)
            if move is None:
                if record is before:
                    return
                continue
            if moved:
                return  # the store does not show the move yet
            moved = True
            await self._move(want, seen, move)

    def _wanted(self, key: TaskKey) -> Wanted | None:
        return self.board.wanted(self.store.name, self.store.label).get(key)

    async def _move(self, want: Wanted, seen: Seen, version: str) -> None:
        # A process that was paused must not move the label after another has taken over.
        self.outlet.app.consumer.check_pulse()
        log.info("%s: moving %s of %s to %s, for %s", self.store.name, want.label, want.prompt, version, want.key)
        try:
            await self._asking(self.store.move(want.prompt, version))
        except Refused as error:
            await self._leave_alone(want, seen, f"it cannot be moved to {want.ref(version)}: {error}")

    async def _leave_alone(self, want: Wanted, seen: Seen, reason: str, *, problem: bool = False) -> None:
        """Alert people, once in an epoch, that the store does not move the label; ``problem``: it does not show it."""
        before = self.board.label(self.store.name, want.key)
        record = refuse_move(before, want, seen, reason, _now(), problem=problem)
        if record is not before:
            _say(before, record)
            await self._write(record)
            await self._publish(record)

    async def _asking(self, request: Awaitable[T]) -> T:
        """Await a request; whatever its answer contains, this raises only ``Silent`` or ``Refused``.

        The cause of a ``Silent`` is a bug of ours; it is logged with its traceback.
        """
        try:
            return await request
        except (Silent, Refused):
            raise
        except Exception as error:
            raise Silent(f"its answer cannot be used ({type(error).__name__})") from error

    # -- records and messages ----------------------------------------------------------------------
    async def _write(self, record: MirrorRecord) -> None:
        written = await self.outlet.publish([record_output(record)])
        [(offset, *_)] = written.values()
        self.board.take_record(record, offset)

    async def _publish(self, record: m.MirrorLabel) -> None:
        """Publish the record's messages, then note that they are; after a crash they are published again."""
        if not (messages := messages_of(record)):
            return
        await self.outlet.publish([message_output(message, self.partitions) for message in messages])
        await self._write(published(record))

    async def _tell_silent(self, error: Silent, failures: int, wait: float) -> None:
        name, why = self.store.name, str(error)
        if failures & (failures - 1) == 0:  # log attempts 1, 2, 4, 8 and so on
            text = "%s: attempt %d failed, next in %.0f s: %s"
            log.warning(text, name, failures, wait, why, exc_info=error.__cause__)
        patience = round(self.options.alert_after_seconds * 1_000)
        before = self.board.store(name)
        await self._tell(before, store_state.silent(before, name, round(self._answered * 1_000), why, _now(), patience))

    async def _tell_answers(self) -> None:
        self._answered = time.time()
        before = self.board.store(self.store.name)
        await self._tell(before, store_state.answers(before, _now()))

    async def _tell(self, before: m.MirrorStore | None, record: m.MirrorStore | None) -> None:
        """Write the record of the store if it is new, and publish its alert."""
        if record is None:
            return
        if record is not before:
            await self._write(record)
        if record.alert is not None:
            log.warning("%s", record.alert.text)
            await self.outlet.publish([message_output(record.alert, self.partitions)])
            await self._write(store_state.published(record))


def _now() -> int:
    return round(time.time() * 1_000)


def _say(before: m.MirrorLabel | None, record: m.MirrorLabel) -> None:
    """Log what has happened to a label."""
    if record.alert is not None:
        log.warning("%s", record.alert.text)
    if record.command is not None:
        command, task = record.command, f"{record.agent_name}/{record.task_type}"
        text = "%s: %s moved %s of %s: asking for %s in %s"
        log.info(text, record.store, command.actor, record.label, record.prompt, command.variant_id, task)
    if record.receipt is not None and (before is None or before.receipt is None):
        text = "%s: %s of %s is at %s, epoch %d of %s/%s"
        place = (record.store, record.label, record.prompt, record.left, record.epoch)
        log.info(text, *place, record.agent_name, record.task_type)
