"""The overview stage: turns notes from ``crl.overview-events`` into rows, the page and alerts on the rollback rate.

The stage is pure and follows the laws of ``stages.fold``.  Every record is exactly one of applied, duplicate, or dead
letter.  Only the number of intermediate pages depends on where one batch ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from crl_stream.core.overview import Ledger, Place, make_page
from crl_stream.stages.entries import Entry
from crl_stream.stages.fold import Fold, Folded, Poison, Poisoned, Task, fold_around_poison
from crl_stream.stages.partition import PartitionRow, decode_partition
from crl_stream.stages.tally import fault_of
from crl_stream.stages.topology import FIRST, OVERVIEW_PAGE
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import OVERVIEW_KEY, TOPIC_OF

_NOTES: Final = OVERVIEW_PAGE.source


def fold_notes(partition_row: bytes | None, rows: Mapping[bytes, bytes], records: Sequence[Record]) -> Folded:
    """Fold consecutive records of ``crl.overview-events``.

    ``rows`` are all rows of the overview.  The resulting rows must be written in their order, the totals first.
    Raises ``Unsafe`` if too many records make the fold raise.
    """
    entries = decode_notes(records)

    def attempt(poisoned: Poisoned) -> Folded:
        return _Fold(decode_partition(partition_row), rows, poisoned).run(entries)

    return fold_around_poison(attempt, "records of crl.overview-events")


def decode_notes(records: Sequence[Record]) -> list[Entry]:
    """Decode every record; a record that cannot be decoded becomes an entry with its rejection."""
    key, entries = _NOTES.encode(), []
    for record in records:
        decoded = decode_record(_NOTES, record)
        said: Any = decoded if isinstance(decoded, Rejected) else fault_of(decoded.message) or decoded.message
        entries.append(Entry(record, said, key))
    return entries


class _Fold(Fold[Task]):
    """One attempt at one batch of notes.

    A note changes its task's row, its agent's row and the totals, so the ledger keeps the rows.
    """

    name: ClassVar[str] = "overview"

    def __init__(self, state: PartitionRow, rows: Mapping[bytes, bytes], poisoned: Poisoned) -> None:
        super().__init__(_NOTES, FIRST, state, rows, poisoned)
        self.ledger = Ledger(rows)
        self._first = state.next_offset

    def apply(self, entry: Entry, record: Record, task: Task) -> None:  # noqa: ARG002 - the ledger finds the rows
        """Enter the note into the ledger."""
        try:
            news, alerts = self.ledger.apply(
                entry.message, Place(self.state.incarnation, record.offset, record.timestamp)
            )
        except Exception as error:
            raise Poison(record.offset, error) from error
        self.outputs += [_output(alert, alert.subject.encode()) for alert in alerts]
        if news:
            self.applied += 1
        else:
            self.duplicates += 1

    def end(self) -> dict[bytes, bytes]:
        """Return the rows, totals first; publish the page if this batch has changed it."""
        if self.ledger.page_changed:
            self.outputs.append(_output(make_page(self.ledger, FIRST), OVERVIEW_KEY))
        return self.ledger.changed() if self.state.next_offset != self._first else {}


def _output(message: Any, key: bytes) -> Output:
    return Output(TOPIC_OF[type(message)], FIRST, key, encode(message))
