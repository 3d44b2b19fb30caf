"""Lanes: one for each assignment of a partition. One batch is in flight, and waiting batches are merged.

Batches are consecutive by the consumer's positions.  Their offsets may not be: the end of a transaction takes an
offset, an aborted one takes many, and compaction leaves gaps.  So only the positions prove that nothing was skipped.

A polled batch belongs to the lane that was open at the time. A rebalance closes the lane and opens a new one. So a
batch of the old assignment that is still in Faust's queues cannot reach the new lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, NamedTuple

from faust.types.tuples import TP

from crl_stream.errors import Unsafe
from crl_stream.kafka.log_consumer import Stretch

MERGE: Final = 2_000
"""The largest number of records in one batch, which limits how long one fold blocks the event loop."""
BACKLOG: Final = 4 * MERGE
"""With more waiting records than this, a partition is left out of the poll."""
PATIENT_BACKLOG: Final = MERGE // 4
"""Like ``BACKLOG``, but for stages where one batch may take hours; the records after it stay on the broker."""


class Progress(NamedTuple):
    """The progress of a partition, in offsets.  The ends are those of the last fetch, and None before the first one."""

    position: int
    """The position before which every record is processed."""
    stable_end: int | None
    """The start of the first open transaction, or else the topic's end; ``position`` reaches it when caught up."""
    end: int | None
    """The topic's end.  An open transaction holds back the records after ``stable_end``."""


class Batch:
    """All records of one partition from position ``start`` to ``end``, possibly none."""

    __slots__ = ("end", "lane", "records", "start", "tp")

    def __init__(self, tp: TP, stretch: Stretch, lane: Lane | None = None) -> None:
        self.tp, self.lane = tp, lane
        self.records = list(stretch)
        self.start, self.end = stretch.start, stretch.end
        """The position where reading began, and the position of the next batch."""

    @property
    def is_unwanted(self) -> bool:
        """Whether the partition is moving away, so that the rest of the batch need not be folded."""
        return self.lane is not None and not self.lane.open


class Lane:
    """One assignment of one partition, starting at ``position``.

    With ``most`` or more waiting records, the partition is left out of the poll.
    """

    def __init__(self, tp: TP, position: int, *, most: int = BACKLOG) -> None:
        self.tp, self.most = tp, most
        self.expected = position
        """The position at which the next polled batch must start."""
        self.next = position
        """The position after the last batch that was handed over."""
        self.done = position
        """The position after the last written batch; every record before it is processed."""
        self.backlog = 0
        """The number of records that have been polled but not processed yet."""
        self.open = True
        self.busy = False
        self.driver: Any = None
        """The asyncio task that works on the batches."""
        self._waiting: deque[Batch] = deque()
        self._wake = asyncio.Event()

    def admit(self, batch: Batch) -> None:
        """Accept a polled batch; raises ``Unsafe`` when records between it and the previous one are missing."""
        if not self.continues(batch):
            raise Unsafe(
                f"{self.tp.topic} partition {self.tp.partition}: read up to {self.expected}, then from {batch.start}",
                hint="restart the worker: it continues from its partition row",
            )
        self.expected = batch.end
        self.backlog += len(batch.records)
        batch.lane = self

    @property
    def full(self) -> bool:
        """Whether no more records should be polled for the lane."""
        return self.backlog >= self.most

    @property
    def alive(self) -> bool:
        """Whether an asyncio task is working on the lane; always True for a closed lane."""
        return not self.open or (self.driver is not None and not self.driver.done())

    def continues(self, batch: Batch) -> bool:
        """Return whether a polled batch follows directly on the previous one."""
        return batch.start == self.expected

    def put(self, batch: Batch) -> None:
        """Queue a batch that came through Faust; a closed lane ignores it."""
        if not self.open:
            return
        if batch.start != self.next:
            raise Unsafe(
                f"{self.tp.topic} partition {self.tp.partition}: a batch before {batch.start} was dropped on the way",
                hint="restart the worker: it continues from its partition row",
            )
        self.next = batch.end
        self._waiting.append(batch)
        self._wake.set()

    async def take(self) -> Batch | None:
        """Take the waiting records as one batch of at most about ``MERGE`` records; None when the lane is closed."""
        while self.open and not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        if not self.open:
            return None
        batch = self._waiting.popleft()
        while self._waiting and len(batch.records) + len(self._waiting[0].records) <= MERGE:
            following = self._waiting.popleft()
            batch.records, batch.end = [*batch.records, *following.records], following.end
        self.busy = True
        return batch

    def finish(self, batch: Batch) -> None:
        """Record that the batch has been written, so that the next one may be taken."""
        self.backlog -= len(batch.records)
        self.done = batch.end
        self.busy = False

    def close(self) -> None:
        """Take no more batches; the one in flight is still finished by its task."""
        self.open = False
        self._waiting.clear()
        self._wake.set()
