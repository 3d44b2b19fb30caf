"""The proposer stage: turns the records of one partition of ``crl.tasks`` into rows, a partition row and proposals.

    decode_snapshots(records) -> [Entry]
    propose_batch(partition, partitions, partition_row, rows, entries, remedies) -> Folded

The stage is pure and follows the laws of ``stages.fold``.  Every record is exactly one of applied, duplicate (not newer
than the row), or dead letter.  Nothing depends on where a batch ends, and records folded before are skipped.
The topic is compacted, so offsets have gaps and only their order matters.  A proposal goes to the partition of its
task, with its proposal_id as the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import TaskSnapshot
from crl_stream.core.proposer.remedies import Remedies
from crl_stream.core.proposer.row import ProposalRow, decode_row, encode_row, new_row
from crl_stream.core.proposer.step import step
from crl_stream.stages.entries import Entry
from crl_stream.stages.fold import Fold, Folded, Poison, Poisoned, Task, fold_around_poison
from crl_stream.stages.partition import PartitionRow, decode_partition
from crl_stream.stages.topology import PROPOSER
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF

_SNAPSHOTS: Final = PROPOSER.source


def decode_snapshots(records: Sequence[Record]) -> list[Entry]:
    """Decode every record; an undecodable one, or one with another task's key, becomes a rejection."""
    entries = []
    for record in records:
        decoded = decode_record(_SNAPSHOTS, record)
        if isinstance(decoded, Rejected):
            entries.append(Entry(record, decoded, b""))
            continue
        snapshot: TaskSnapshot = decoded.message
        key = TaskKey(snapshot.agent_name, snapshot.task_type).encode()
        if record.key != key:
            wrong = Rejected(reasons.KEY_MISMATCH, f"the record's key must match its value: {key.decode()}")
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

    ``rows`` are the proposer's rows of this partition, by task key.  Raises ``Unsafe`` if too many snapshots make the
    proposer raise.
    """

    def attempt(poisoned: Poisoned) -> Folded:
        state = decode_partition(partition_row)
        return _Fold(partition, partitions, state, rows, remedies, poisoned).run(entries)

    return fold_around_poison(attempt, f"snapshots of partition {partition}")


class _Task(Task):
    """A task of the partition, with its row in the proposer's table."""

    __slots__ = ("row",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.row: ProposalRow | None = None


class _Fold(Fold[_Task]):
    """One attempt at one batch of snapshots."""

    name: ClassVar[str] = "proposer"
    task_type: ClassVar[type[Any]] = _Task

    def __init__(
        self,
        partition: int,
        partitions: int,
        state: PartitionRow,
        rows: Mapping[bytes, bytes],
        remedies: Remedies,
        poisoned: Poisoned,
    ) -> None:
        super().__init__(_SNAPSHOTS, partition, state, rows, poisoned)
        self.partitions, self.remedies = partitions, remedies

    def apply(self, entry: Entry, record: Record, task: _Task) -> None:
        """Fold a snapshot into the row of its task."""
        if (home := partition_of(entry.key, self.partitions)) != self.partition:
            # The monitor writes to the task's own partition; a second row elsewhere would lead to duplicate proposals.
            self.bury(record, reasons.KEY_MISMATCH, f"its task belongs to partition {home} of {self.partitions}")
            return
        if is_drill(entry.message.agent_name):
            self.applied += 1  # a variant that fails on purpose needs no improvement
            return
        row = task.row
        if row is None:
            data = self.rows.get(task.key)
            row = task.row = new_row(TaskKey.decode(task.key)) if data is None else decode_row(data)
        try:
            published = step(row, entry.message, self.remedies)
        except Exception as error:
            raise Poison(record.offset, error) from error
        if published is None:
            self.duplicates += 1
            return
        self.applied += 1
        task.touched = True
        for proposal in published:
            self.outputs.append(
                Output(TOPIC_OF[type(proposal)], self.partition, proposal.proposal_id.encode(), encode(proposal))
            )

    def close(self, task: _Task) -> None:
        """Store the task's row."""
        if task.touched and task.row is not None:
            self.folded[task.key] = encode_row(task.row)
        task.row = None
