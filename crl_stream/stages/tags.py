"""The tags stage: turns what tasks announce on ``crl.tags`` into rows, and into reports to all partitions of the log.

The stage is pure and follows the laws of ``stages.fold``.  A report is a command in each partition of ``crl.commands``,
which the inlet references in the log, so the state of a partition remains the fold of its log.  The same announcements
give the same reports, so a repetition after a crash changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from crl_stream.core.drills import is_drill
from crl_stream.core.messages import TagCondition
from crl_stream.core.shared_tags import take
from crl_stream.stages.entries import Entry
from crl_stream.stages.fold import Fold, Folded, Poison, Poisoned, Task, fold_around_poison
from crl_stream.stages.partition import PartitionRow, decode_partition
from crl_stream.stages.topology import FIRST, TAGS
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import FLEET_KEY, TOPIC_OF

_ANNOUNCED: Final = TAGS.source


def fold_tags(
    partitions: int, partition_row: bytes | None, rows: Mapping[bytes, bytes], records: Sequence[Record]
) -> Folded:
    """Fold consecutive records of ``crl.tags``; ``partitions`` is how many partitions the log has.

    ``rows`` are the rows by tag.  Raises ``Unsafe`` if too many records make the fold raise.
    """
    entries = [_entry(record) for record in records]

    def attempt(poisoned: Poisoned) -> Folded:
        return _Fold(partitions, decode_partition(partition_row), rows, poisoned).run(entries)

    return fold_around_poison(attempt, "records of crl.tags")


def _entry(record: Record) -> Entry:
    decoded = decode_record(_ANNOUNCED, record)
    if isinstance(decoded, Rejected):
        return Entry(record, decoded, b"")
    said: TagCondition = decoded.message
    key = said.tag.encode()
    if record.key != key:
        return Entry(record, Rejected(reasons.KEY_MISMATCH, f"the record's key must match its value: {said.tag}"), b"")
    return Entry(record, said, key)


class _Tag(Task):
    """A tag, with its row in the table of tags."""

    __slots__ = ("row",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.row: bytes | None = None


class _Fold(Fold[_Tag]):
    """One attempt at one batch of announcements."""

    name: ClassVar[str] = "tags"
    task_type: ClassVar[type[Any]] = _Tag

    def __init__(self, partitions: int, state: PartitionRow, rows: Mapping[bytes, bytes], poisoned: Poisoned) -> None:
        super().__init__(_ANNOUNCED, FIRST, state, rows, poisoned)
        self.partitions = partitions

    def apply(self, entry: Entry, record: Record, task: _Tag) -> None:
        """Fold an announcement into the row of its tag, and send any resulting report to every partition."""
        self.applied += 1
        if is_drill(entry.message.agent_name):
            return  # a variant that fails on purpose is no evidence about its provider
        before = self.rows.get(task.key) if task.row is None else task.row
        try:
            task.row, report = take(before, entry.message, (self.state.incarnation, record.offset), record.timestamp)
        except Exception as error:
            raise Poison(record.offset, error) from error
        if report is not None:
            value = encode(report)
            topic = TOPIC_OF[type(report)]
            self.outputs += [Output(topic, partition, FLEET_KEY, value) for partition in range(self.partitions)]

    def close(self, task: _Tag) -> None:
        """Store the tag's row."""
        if task.row is not None:
            self.folded[task.key] = task.row
