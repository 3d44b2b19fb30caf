"""Who tells the fold that time has passed: a worker, for the partitions that it owns, while rows there wait for it.

A tick goes into the log as every other record does, so that every fold of the log sees the same time at the same place.
One is appended when the first waiting row of a partition is due; the next one not before the fold has taken it in, nor
within a second of it.  While nothing waits, nothing is appended.  Where very many rows are due, a tick names the time
up to which it goes, so that it takes a bounded part of them, and the next one follows without the pause.
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
"""Between two looks whether a row is due; a look at nothing that waits is one comparison for each partition."""
PAUSE_SECONDS: Final = 1.0
"""Between two ticks of a partition at least."""
ROWS_PER_TICK: Final = 1_000
"""Rows that one tick takes, and those that wait for the same millisecond as the last of them."""


class Ticking:
    """Appends ticks for one stage.

    Rows wait for the broker's time, which this process can only estimate: from its own clock, corrected by the stamps
    of the records that it folds.  A wrong estimate costs one tick in vain; the stamp of that tick then corrects it.
    """

    def __init__(self, outlet: Outlet, clock: Callable[[], float] = monotonic) -> None:
        self.outlet, self._clock = outlet, clock
        self.waiting: dict[int, Waiting] = {}
        """By partition, for those that this worker was given."""
        self._began = time.time() - clock()
        self._ahead: dict[int, float] = {}
        """Seconds by which the broker's time is ahead of ``clock``, by partition."""
        self._sent: dict[int, float] = {}
        self._pending: dict[int, int] = {}
        """Offset of a tick that is not folded yet, by partition."""
        self._partial: set[int] = set()
        """Partitions whose last tick left rows that were due."""

    def begin(self, partition: int, waiting: Waiting) -> None:
        """A partition was given to this worker; nothing that was sent for an earlier assignment is waited for."""
        self.waiting[partition] = waiting
        self._pending.pop(partition, None)

    def note(self, partition: int, records: Sequence[Record]) -> None:
        """A batch was folded: what its stamps say of the broker's time."""
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
        # The broker's time is this or later.
        self._ahead[partition] = max(ahead, last.timestamp / 1_000 - self._clock())

    def due(self, partitions: Iterable[int]) -> list[int]:
        """Partitions that need a tick now."""
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
        """Seconds for which the first row of a partition has been due; 0 while none is.

        0 too while a large partition shows the hold of a fleet group after group: that takes the time it takes.
        """
        waiting = self.waiting.get(partition)
        first = None if waiting is None else waiting.next
        if first is None or first <= SLOTS:
            return 0.0
        return max(0.0, (self._broker_time(partition) - first) / 1_000)

    def _broker_time(self, partition: int) -> int:
        """The broker's time in milliseconds, as far as this process can tell."""
        return round((self._clock() + self._ahead.get(partition, self._began)) * 1_000)

    def _next_tick(self, partition: int) -> Output:
        until = self.waiting[partition].until(self._broker_time(partition), ROWS_PER_TICK)
        (self._partial.discard if until is None else self._partial.add)(partition)
        return Output(TOPIC_OF[Tick], partition, TICK_KEY, encode(Tick(schema_version=SCHEMA_VERSION, up_to_ms=until)))

    async def look(self, partitions: Iterable[int]) -> None:
        """Append what is due; ``Unsafe`` when this worker may have lost its partitions.

        A tick that cannot be sent is not worth ending for: it is tried again, and ordinary writes say what is wrong.
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
            text = "snapshots and ends of holds may be late: no tick for partitions %s: %r"
            log.warning(text, due, error, extra=RETRIED)
            return
        for partition in due:
            self._pending[partition] = written[TOPIC_OF[Tick], partition][0]
