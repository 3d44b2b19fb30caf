"""The overview stage: notes of ``crl.overview-events`` become rows, the one page and the alert about the rollback rate.

Pure, as ``stages.monitor`` is, and under the same laws: every record is applied, a repetition or a dead letter, and
nothing but the number of pages in between depends on where one batch ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from crl_stream.core.overview import Ledger, Place, make_page
from crl_stream.stages.incidents import fold_failure_alert
from crl_stream.stages.monitor import Counts, Folded
from crl_stream.stages.notes import NOTES_PARTITION, fault_of
from crl_stream.stages.partition import PartitionRow, decode_partition, encode_partition, record_hash
from crl_stream.stages.poison import Poison, fold_around_poison
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import ALERTS, OVERVIEW, OVERVIEW_EVENTS, OVERVIEW_KEY

ALERTS_PARTITION: Final = 0
"""Of alerts about no task: their key is their subject, and one partition keeps them in order."""


def fold_notes(partition_row: bytes | None, rows: Mapping[bytes, bytes], records: Sequence[Record]) -> Folded:
    """Fold consecutive records of ``crl.overview-events``.

    ``rows`` are all rows of the overview.  The rows of the result are to be written in their order, the totals
    first.  Raises ``Unsafe`` when too many records make the fold raise.
    """
    return fold_around_poison(
        lambda poisoned: _fold(decode_partition(partition_row), rows, records, poisoned),
        "records of crl.overview-events",
    )


def _fold(
    state: PartitionRow, rows: Mapping[bytes, bytes], records: Sequence[Record], poisoned: Mapping[int, Exception]
) -> Folded:
    """One attempt at one batch."""
    ledger, outputs, last = Ledger(rows), [], None
    applied = duplicates = dead_letters = skipped = 0
    for record in records:
        if record.offset < state.next_offset:
            skipped += 1
            continue
        last = record
        note = _note_in(record) if record.offset not in poisoned else _failure(poisoned[record.offset])
        if isinstance(note, Rejected):
            outputs.append(dead_letter(record, OVERVIEW_EVENTS, NOTES_PARTITION, note.reason, note.detail))
            dead_letters += 1
            if record.offset in poisoned:
                alert = fold_failure_alert(
                    b"crl.overview-events", NOTES_PARTITION, record, poisoned[record.offset], state
                )
                outputs.append(_alert_output(alert))
            continue
        try:
            news, alerts = ledger.apply(note, Place(state.incarnation, record.offset, record.timestamp))
        except Exception as error:
            raise Poison(record.offset, error) from error
        outputs += [_alert_output(alert) for alert in alerts]
        if news:
            applied += 1
        else:
            duplicates += 1
    if last is not None:
        state.next_offset = last.offset + 1
        state.last_hash = record_hash(last)
    if ledger.page_changed:
        outputs.append(Output(OVERVIEW, 0, OVERVIEW_KEY, encode(make_page(ledger, NOTES_PARTITION))))
    return Folded(
        ledger.changed() if last is not None else {},
        encode_partition(state),
        state.next_offset,
        outputs,
        Counts(applied, duplicates, 0, dead_letters, skipped),
    )


def _note_in(record: Record) -> Any:
    decoded = decode_record(OVERVIEW_EVENTS, record)
    if isinstance(decoded, Rejected):
        return decoded
    return fault_of(decoded.message) or decoded.message


def _failure(error: Exception) -> Rejected:
    return Rejected(reasons.FOLD_FAILURE, f"the overview raised {type(error).__name__}")


def _alert_output(alert: Any) -> Output:
    return Output(ALERTS, ALERTS_PARTITION, alert.subject.encode(), encode(alert))
