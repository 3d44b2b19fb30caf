"""Removes one guard at a time; a few seeds must reveal that it is missing.

Only the simulated processes run without the guard; the oracle keeps it. The code that removes guards is only in this
file, not in the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from campaign.simulated.simulation import run_seed
from crl_stream.core.monitor import record as recording
from crl_stream.core.monitor.row import TaskRow, decode_row
from crl_stream.core.overview import Ledger
from crl_stream.core.proposer import step as proposing
from crl_stream.stages import monitor, proposer
from crl_stream.stages.forwards import Forwards
from crl_stream.stages.partition import PartitionRow, decode_partition
from crl_stream.worker.stages import TableStage
from crl_stream.worker.stale_writes import StaleWrites
from crl_stream.worker.table import TaskTable

ENOUGH: Final = 300
"""Number of seeds within which a missing guard must be caught."""

Switch = Callable[[], Any]


def _row_offset() -> Any:
    def forget(data: bytes) -> TaskRow:
        row = decode_row(data)
        row.offset = -1
        return row

    return patch.object(monitor, "decode_row", forget)


def _partition_skip() -> Any:
    def forget(data: bytes | None) -> PartitionRow:
        row = decode_partition(data)
        row.next_offset = 0
        return row

    return patch.object(monitor, "decode_partition", forget)


def _id_ring() -> Any:
    def remember(ring: bytearray, digest: bytes, size: int) -> bool:
        ring += digest
        del ring[: max(0, len(ring) - size * 8)]
        return True

    return patch.object(recording, "remember", remember)


def _outputs_first() -> Any:
    async def work(self: TableStage, batch: Any) -> None:
        partition = batch.tp.partition
        before = self.table.partition_row(partition)
        folded = await self.fold(partition, before, batch.records)
        if folded.partition_row != before:
            await self._persist(partition, folded, batch.end)
            written = await self.outlet.publish(folded.outputs)
            await self.stale_writes.note(partition, written, (0, 0))
        self.counters.add(folded.counts)

    return patch.object(TableStage, "work", work)


def _origins() -> Any:
    return patch.object(monitor._Fold, "_is_new_here", lambda _self, _record: True)


def _bytes_of_forwards() -> Any:
    def believe(self: Forwards, source: int, offset: int, _: Any) -> str:
        highest = self._latest.get(source, -1)
        self._latest[source] = max(highest, offset)
        return "new" if offset > highest else "known"

    return patch.object(Forwards, "take", believe)


class _Forgetful(dict[int, int]):
    """A dict of positions that behaves as if it were empty."""

    def get(self, _: int, default: Any = None) -> Any:
        return default


def _command_position() -> Any:
    def forget(data: bytes | None) -> PartitionRow:
        row = decode_partition(data)
        row.commanded = _Forgetful(row.commanded)
        return row

    return patch.object(monitor, "decode_partition", forget)


def _recovery_position() -> Any:
    return patch.object(TaskTable, "_position", lambda _self, _key, _value: (0, 0))


def _outdated() -> Any:
    recover = TaskTable._recover

    def forget(self: TaskTable, partition: int, records: Any) -> None:
        recover(self, partition, records)
        self._outdated[partition] = set()

    return patch.object(TaskTable, "_recover", forget)


def _other_writer() -> Any:
    write = TaskTable.write

    async def believe(self: TaskTable, partition: int, *what: Any) -> None:
        self._written.pop(partition, None)
        await write(self, partition, *what)

    return patch.object(TaskTable, "write", believe)


def _as_of() -> Any:
    def forget(row: Any, *rest: Any) -> Any:
        row.incarnation = row.offset = -1
        return proposing.step(row, *rest)

    return patch.object(proposer, "step", forget)


def _last_word() -> Any:
    async def believe(_self: StaleWrites, *_: Any) -> dict[Any, Any]:
        return {}

    return patch.object(StaleWrites, "_mend", believe)


def _mark_of_looks() -> Any:
    def trust(self: StaleWrites, partition: int, _headers: Any) -> None:
        self._seen[partition] = {topic: len(self._reader._broker.topics[topic][partition]) for topic in self.topics}

    return patch.object(StaleWrites, "open", trust)


def _totals_first() -> Any:
    changed = Ledger.changed
    return patch.object(Ledger, "changed", lambda self: dict(reversed(changed(self).items())))


MUTANTS: Final[dict[str, Switch]] = {
    "check of row offsets": _row_offset,
    "skipping of records that are already folded": _partition_skip,
    "ring of invocation ids": _id_ring,
    "outputs before rows": _outputs_first,
    "origins of forwarded records": _origins,
    "comparison of forwarded bytes": _bytes_of_forwards,
    "check of command positions": _command_position,
    "comparison of row positions in recovery": _recovery_position,
    "rewriting of rows after a stale write": _outdated,
    "detection of another writer": _other_writer,
    "as_of check of the proposer": _as_of,
    "writing of the overview's totals first": _totals_first,
    "the owner's correction of stale writes": _last_word,
    "record of how far the owner has checked": _mark_of_looks,
}
"""The guards that can be removed, by name."""


@contextmanager
def without(guard: str) -> Iterator[None]:
    """Remove one guard within the ``with`` block."""
    with MUTANTS[guard]():
        yield


def first_caught(guard: str, *, first: int = 0, seeds: int = ENOUGH) -> tuple[int, str] | None:
    """Return the first seed that reveals the missing guard, and the first error of its run; None if no seed does.

    If the code that removes the guard no longer fits the product, its error is raised and does not count as a catch.
    """
    for seed in range(first, first + seeds):
        try:
            with without(guard):
                simulation = run_seed(seed)
        except (AttributeError, ImportError, NameError, TypeError):
            raise
        except Exception as error:
            return seed, f"{type(error).__name__}: {error}"
        figures = simulation.examine()
        if not figures.is_exact:
            return seed, figures.complaints[0]
    return None
