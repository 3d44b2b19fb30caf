"""Lets the fold know that time has passed: each worker appends ticks to its partitions while their rows need them.

A tick is a record of the log like any other, so that every fold of the log sees the same time at the same position. A
tick is appended when the first waiting row of a partition is due. The next one follows once the fold has read that
tick, and at least a second later. Nothing is appended while no row waits. If very many rows are due, a tick names the
time up to which it applies. Such a tick covers only some of the rows, and the next tick follows without the pause.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Final

from crl_stream.core.messages import SCHEMA_VERSION, Tick
from crl_stream.errors import Unsafe
from crl_stream.stages.waiting import SLOTS, Waiting
from crl_stream.wire.codec import encode
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TICK_KEY, TOPIC_OF
from crl_stream.worker.log_lines import RETRIED
from crl_stream.worker.stages import Outlet

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.2
"""The interval between checks for due rows; without waiting rows, a check costs one comparison per partition."""
PAUSE_SECONDS: Final = 1.0
"""The shortest pause between two ticks of a partition."""
ROWS_PER_TICK: Final = 1_000
"""How many rows one tick covers, plus those that wait for the same millisecond as the last of them."""


class Ticking:
    """Appends ticks for one stage.

    Rows wait for the broker's time. This process estimates it from its own clock, corrected by the timestamps of the
    records that it folds. A wrong estimate costs one useless tick, whose timestamp then corrects the estimate.
    """

    def __init__(self, outlet: Outlet, clock: Callable[[], float] = monotonic) -> None:
        self.outlet, self._clock = outlet, clock
        self.waiting: dict[int, Waiting] = {}
        """The waiting rows of each partition assigned to this worker."""
        self._began = time.time() - clock()
        self._ahead: dict[int, float] = {}
        """By partition: how many seconds the broker's time is ahead of ``clock``."""
        self._sent: dict[int, float] = {}
        self._pending: dict[int, int] = {}
        """By partition: the offset of a tick that has not been folded yet."""
        self._partial: set[int] = set()
        """The partitions that still had due rows after the last tick."""

    def begin(self, partition: int, waiting: Waiting) -> None:
        """Start to track a partition assigned to this worker; ticks of an earlier assignment are no longer awaited."""
        self.waiting[partition] = waiting
        self._pending.pop(partition, None)

    def note(self, partition: int, records: Sequence[Record]) -> None:
        """Correct the estimate of the broker's time from the timestamps of a folded batch."""
        if not records:
            return
        last, ahead = records[-1], self._ahead.get(partition, self._began)
        pending = self._pending.get(partition)
        if pending is not None and last.offset >= pending:
            del self._pending[partition]
            for record in records:
                if record.offset == pending and record.key == TICK_KEY:
                    self._ahead[partition] = record.timestamp / 1_000 - self._sent[partition]
                    return
        # The broker's time is at least the record's timestamp.
        self._ahead[partition] = max(ahead, last.timestamp / 1_000 - self._clock())

    def due(self, partitions: Iterable[int]) -> list[int]:
        """Return the partitions that need a tick now."""
        now, found = self._clock(), []
        for partition in partitions:
            waiting = self.waiting.get(partition)
            if waiting is None or waiting.next is None or partition in self._pending:
                continue
            if partition not in self._partial and now - self._sent.get(partition, -PAUSE_SECONDS) < PAUSE_SECONDS:
                continue
            if waiting.next <= self._broker_time(partition):
                found.append(partition)
        return found

    def overdue(self, partition: int) -> float:
        """Return how many seconds the first row of a partition has been due; 0 while none is due.

        It also returns 0 while a large partition applies a fleet hold to its tasks group by group, which takes a while.
        """
        waiting = self.waiting.get(partition)
        first = None if waiting is None else waiting.next
        if first is None or first <= SLOTS:
            return 0.0
        return max(0.0, (self._broker_time(partition) - first) / 1_000)

    def _broker_time(self, partition: int) -> int:
        """Return this process's estimate of the broker's time, in milliseconds since the epoch."""
        return round((self._clock() + self._ahead.get(partition, self._began)) * 1_000)

    def _next_tick(self, partition: int) -> Output:
        until = self.waiting[partition].until(self._broker_time(partition), ROWS_PER_TICK)
        (self._partial.discard if until is None else self._partial.add)(partition)
        return Output(TOPIC_OF[Tick], partition, TICK_KEY, encode(Tick(schema_version=SCHEMA_VERSION, up_to_ms=until)))

    async def look(self, partitions: Iterable[int]) -> None:
        """Append the ticks that are due; raises ``Unsafe`` when this worker may have lost its partitions.

        A tick that cannot be sent does not end the worker: it is retried, and ordinary writes report the problem.
        """
        due = self.due(partitions)
        if not due:
            return
        now = self._clock()
        for partition in due:
            self._sent[partition] = now
        try:
            written = await self.outlet.publish([self._next_tick(partition) for partition in due])
        except Unsafe:
            raise
        except Exception as error:
            text = "snapshots and the ends of holds may be late: no tick was written for partitions %s: %r"
            log.warning(text, due, error, extra=RETRIED)
            return
        for partition in due:
            self._pending[partition] = written[TOPIC_OF[Tick], partition][0]
