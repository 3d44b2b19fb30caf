"""Lanes: one assignment of one partition, one batch in flight, whatever waits is merged.

Batches follow each other by the consumer's positions.  Their records may not: the end of a transaction takes an offset,
an aborted one takes many, and compaction leaves gaps.  So the positions alone prove that nothing was skipped.

A batch that is polled belongs to the lane that was open then.  A rebalance closes the lane and opens a new one, so
that a batch of the old assignment cannot reach the new one, wherever Faust's queues had kept it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, NamedTuple

from faust.types.tuples import TP

from crl_stream.errors import Unsafe
from crl_stream.kafka.log_consumer import Stretch

MERGE: Final = 2_000
"""Records in one batch at most: bounds how long the event loop is busy with one fold."""
BACKLOG: Final = 4 * MERGE
"""A partition with more waiting records is left out of the poll."""
PATIENT_BACKLOG: Final = MERGE // 4
"""The same where a place outside may keep a batch for hours: what waits behind it stays on the broker."""


class Progress(NamedTuple):
    """How far a partition is, in offsets.  The ends are as of the last fetch, and None before the first one."""

    position: int
    """Every record before it is accounted for."""
    stable_end: int | None
    """Where the first open transaction begins, or where the topic ends: caught up is ``position`` here."""
    end: int | None
    """Where the topic ends.  Beyond ``stable_end`` somebody's open transaction holds the records back."""


class Batch:
    """All records of one partition from position ``start`` to ``end``; there may be none."""

    __slots__ = ("end", "lane", "records", "start", "tp")

    def __init__(self, tp: TP, stretch: Stretch, lane: Lane | None = None) -> None:
        self.tp, self.lane = tp, lane
        self.records = list(stretch)
        self.start, self.end = stretch.start, stretch.end
        """Where the first record was asked for, and where the next one will be."""

    @property
    def is_unwanted(self) -> bool:
        """Whether its partition is going elsewhere, so that what is not folded of it need not be."""
        return self.lane is not None and not self.lane.open


class Lane:
    """One assignment of one partition, from ``position`` on.

    ``most``: waiting records from which on the partition is left out of the poll.
    """

    def __init__(self, tp: TP, position: int, *, most: int = BACKLOG) -> None:
        self.tp, self.most = tp, most
        self.expected = position
        """The position that the next polled batch must start at."""
        self.next = position
        """The position behind the last batch that was handed over."""
        self.done = position
        """The position behind the last batch that is written: every record before it is accounted for."""
        self.backlog = 0
        """Records polled and not finished."""
        self.open = True
        self.busy = False
        self.driver: Any = None
        """The task that works on the batches."""
        self._waiting: deque[Batch] = deque()
        self._wake = asyncio.Event()

    def admit(self, batch: Batch) -> None:
        """A batch was polled; ``Unsafe`` when records between it and the one before are missing."""
        if not self.continues(batch):
            raise Unsafe(
                f"{self.tp.topic} partition {self.tp.partition}: read up to {self.expected}, then from {batch.start}",
                hint="restart the worker: it goes on from its partition row",
            )
        self.expected = batch.end
        self.backlog += len(batch.records)
        batch.lane = self

    @property
    def full(self) -> bool:
        """Whether nothing more should be polled for it."""
        return self.backlog >= self.most

    @property
    def alive(self) -> bool:
        """Whether somebody works on it, as long as it is open."""
        return not self.open or (self.driver is not None and not self.driver.done())

    def continues(self, batch: Batch) -> bool:
        """Whether a polled batch can be the next one."""
        return batch.start == self.expected

    def put(self, batch: Batch) -> None:
        """A batch has come through Faust; a closed lane ignores it."""
        if not self.open:
            return
        if batch.start != self.next:
            raise Unsafe(
                f"{self.tp.topic} partition {self.tp.partition}: a batch before {batch.start} was dropped on the way",
                hint="restart the worker: it goes on from its partition row",
            )
        self.next = batch.end
        self._waiting.append(batch)
        self._wake.set()

    async def take(self) -> Batch | None:
        """Everything that waits, as one batch of at most about ``MERGE`` records; None when the lane is closed."""
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
        """The batch is written; the next one may be taken."""
        self.backlog -= len(batch.records)
        self.done = batch.end
        self.busy = False

    def close(self) -> None:
        """Take nothing more; a batch in flight is finished by whoever took it."""
        self.open = False
        self._waiting.clear()
        self._wake.set()
