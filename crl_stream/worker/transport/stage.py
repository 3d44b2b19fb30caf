"""The interface that the transport needs to process the batches of a topic; ``worker.stages`` implements it."""

from __future__ import annotations

from typing import Protocol

from crl_stream.worker.transport.lanes import Batch


class Stage(Protocol):
    """The work on one source topic."""

    interruptible: bool
    """Whether ``work`` may be cancelled when partitions move, since it has no state that could be left half-written."""

    @property
    def changelog(self) -> str | None:
        """The broker's name of the topic from which the stage's state is recovered; None for a stage without state."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Where to start; ``committed`` is the group's offset, ``first`` and ``end`` the log's; raises ``Unsafe``."""

    async def work(self, batch: Batch) -> None:
        """Do all that a batch asks for; when it returns, the batch may be committed."""
