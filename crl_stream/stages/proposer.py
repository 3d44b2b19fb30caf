"""The proposer stage: records of one partition of ``crl.tasks`` become rows, a partition row and proposals.

    decode_snapshots(records) -> [Entry]
    propose_batch(partition, partitions, partition_row, rows, entries, remedies) -> Folded

Pure, under the laws of ``stages.monitor``: every record is exactly one of applied, duplicate (not newer than the
row), dead letter; nothing depends on where a batch ends; what was folded before is skipped.  The topic is
compacted, so offsets have holes: only their order counts.  A proposal goes to the partition of its task, under its
proposal_id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import TaskSnapshot
from crl_stream.core.proposer.remedies import Remedies
from crl_stream.core.proposer.row import ProposalRow, decode_row, encode_row, new_row
from crl_stream.core.proposer.step import step
from crl_stream.stages.incidents import fold_failure_alert
from crl_stream.stages.monitor import Counts, Entry, Folded
from crl_stream.stages.partition import PartitionRow, decode_partition, encode_partition, record_hash
from crl_stream.stages.poison import Poison, fold_around_poison
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import PROPOSALS, TASKS, TOPIC_OF


def decode_snapshots(records: Sequence[Record]) -> list[Entry]:
    """Decode every record; a bad one, or one under another task's key, becomes an entry with its rejection."""
    entries = []
    for record in records:
        decoded = decode_record(TASKS, record)
        if isinstance(decoded, Rejected):
            entries.append(Entry(record, decoded, b""))
            continue
        snapshot: TaskSnapshot = decoded.message
        key = TaskKey(snapshot.agent_name, snapshot.task_type).encode()
        if record.key != key:
            wrong = Rejected(reasons.KEY_MISMATCH, f"the record's key is not {key.decode()}, which its value asks for")
            entries.append(Entry(record, wrong, b""))
        else:
            entries.append(Entry(record, snapshot, key))
    return entries


def propose_batch(
    partition: int,
    partitions: int,
    partition_row: bytes | None,
    rows: Mapping[bytes, bytes],
    entries: Sequence[Entry],
    remedies: Remedies,
) -> Folded:
    """Fold records of one partition in the order of their offsets.

    ``rows`` are the proposer's rows of the partition by task key.  Raises ``Unsafe`` when too many
    snapshots make the proposer raise.
    """

    def fold(poisoned: Mapping[int, Exception]) -> Folded:
        state = decode_partition(partition_row)
        return _Fold(partition, partitions, state, rows, remedies, poisoned).run(entries)

    return fold_around_poison(fold, f"snapshots of partition {partition}")


class _Fold:
    """One attempt at one batch."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        state: PartitionRow,
        rows: Mapping[bytes, bytes],
        remedies: Remedies,
        poisoned: Mapping[int, Exception],
    ) -> None:
        self.partition, self.partitions, self.state = partition, partitions, state
        self.rows, self.remedies, self.poisoned = rows, remedies, poisoned
        self.open: dict[bytes, ProposalRow] = {}
        self.touched: set[bytes] = set()
        self.outputs: list[Output] = []
        self.applied = self.duplicates = self.dead_letters = self.skipped = 0

    def run(self, entries: Sequence[Entry]) -> Folded:
        state = self.state
        last = None
        for entry in entries:
            if entry.record.offset < state.next_offset:
                self.skipped += 1
                continue
            last = entry.record
            self._take(entry)
        if last is not None:
            state.next_offset = last.offset + 1
            state.last_hash = record_hash(last)
        return Folded(
            {key: encode_row(self.open[key]) for key in sorted(self.touched)},
            encode_partition(state),
            state.next_offset,
            self.outputs,
            Counts(self.applied, self.duplicates, 0, self.dead_letters, self.skipped),
        )

    def _take(self, entry: Entry) -> None:
        record, message = entry.record, entry.message
        if record.offset in self.poisoned:
            self._report_failure(entry)
        elif isinstance(message, Rejected):
            self._bury(record, message.reason, message.detail)
        elif (home := partition_of(entry.key, self.partitions)) != self.partition:
            # The monitor writes where the task lives; a second row elsewhere would propose everything twice.
            detail = f"its task lives in partition {home} of {self.partitions}"
            self._bury(record, reasons.KEY_MISMATCH, detail)
        else:
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        key, record = entry.key, entry.record
        row = self.open.get(key)
        if row is None:
            data = self.rows.get(key)
            row = self.open[key] = new_row(TaskKey.decode(key)) if data is None else decode_row(data)
        try:
            published = step(row, entry.message, self.remedies)
        except Exception as error:
            raise Poison(record.offset, error) from error
        if published is None:
            self.duplicates += 1
            return
        self.applied += 1
        self.touched.add(key)
        for proposal in published:
            self.outputs.append(Output(PROPOSALS, self.partition, proposal.proposal_id.encode(), encode(proposal)))

    def _bury(self, record: Record, reason: str, detail: str) -> None:
        self.outputs.append(dead_letter(record, TASKS, self.partition, reason, detail))
        self.dead_letters += 1

    def _report_failure(self, entry: Entry) -> None:
        record, error = entry.record, self.poisoned[entry.record.offset]
        self._bury(record, reasons.FOLD_FAILURE, f"the proposer raised {type(error).__name__}")
        alert = fold_failure_alert(entry.key, self.partition, record, error, self.state, topic=TASKS)
        self.outputs.append(Output(TOPIC_OF[type(alert)], self.partition, entry.key, encode(alert)))
