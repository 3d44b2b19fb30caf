"""What the transport asks of whoever works on the batches of a source topic; ``worker.stages`` has those who do."""

from __future__ import annotations

from typing import Protocol

from crl_stream.worker.transport.lanes import Batch


class Stage(Protocol):
    """One source topic's work."""

    interruptible: bool
    """Whether ``work`` may be cancelled when partitions move, since it keeps nothing that could be half done."""

    @property
    def changelog(self) -> str | None:
        """The broker's name of the topic that its state is recovered from; None where it keeps none."""

    async def position(self, partition: int, committed: int | None, first: int, end: int) -> int:
        """Where reading starts: ``committed`` by the group, ``first`` and ``end`` of the log; may raise ``Unsafe``."""

    async def work(self, batch: Batch) -> None:
        """Do all that a batch asks for; when it returns, the batch may be committed."""
