"""The interface through which the transport processes the batches of a topic; ``worker.stages`` implements it."""

from __future__ import annotations

from typing import Protocol

from crl_stream.worker.transport.lanes import Batch


class Stage(Protocol):
    """The processing of one source topic."""

    interruptible: bool
    """Whether ``work`` may be cancelled when partitions move, because no state could be left half-written."""

    @property
    def changelog(self) -> str | None:
        """Full name of the topic from which the stage's state is recovered; None for a stage without state."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Return where to start, from the group's offset and the log's ``first`` and ``end``; raises ``Unsafe``."""

    async def work(self, batch: Batch) -> None:
        """Process a batch; when this returns, the batch may be committed."""
