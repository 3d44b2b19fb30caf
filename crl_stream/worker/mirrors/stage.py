"""Reads the mirror's own records back, from the beginning of the topic at every assignment."""

from __future__ import annotations

from crl_stream.stages.mirror import read_record
from crl_stream.wire.records import Output
from crl_stream.worker.mirrors.board import Board
from crl_stream.worker.stages import CommittedStage, Outlet
from crl_stream.worker.transport.lanes import Batch


class MirrorStage(CommittedStage):
    """Fills the board; ``loaded`` says when it holds all that an earlier process has written."""

    repeatable = True

    def __init__(self, topic: str, outlet: Outlet, board: Board) -> None:
        super().__init__(outlet.topics(topic))
        self.outlet, self.board = outlet, board
        self._read, self._end = 0, -1

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Start at the beginning, whatever has been committed."""
        await super().position(partition, committed, first, end)
        self._read, self._end = first, end
        return first

    @property
    def loaded(self) -> bool:
        """Whether everything has been read that was there at the assignment."""
        return 0 <= self._end <= self._read

    async def work(self, batch: Batch) -> None:
        """Take the records; unreadable ones become dead letters."""
        letters = []
        for record in batch.records:
            found = read_record(record)
            if isinstance(found, Output):
                letters.append(found)
            else:
                self.board.take_record(found, record.offset)
        await self.outlet.publish(letters)
        self._read = batch.end
        self.outlet.counters.applied += len(batch.records)
        self.outlet.counters.batches += 1
