"""The batch loop: turns consecutive records of a partition into rows, a partition row and outputs.

    Fold(...).run(entries) -> Folded          one attempt at one batch; each stage defines what it does with a record
    fold_around_poison(attempt, what)         repeated attempts, until no record makes the stage raise

This module enforces the laws for every stage that has a table.  Records below ``next_offset`` were folded before and
are skipped.  A record that the codec rejects, or that makes the stage raise, becomes a dead letter, and the partition
continues.  A batch touches many rows, so each row is closed right after the last record that names it, while the row
is still in the processor's cache.  A batch may be folded in parts, because nothing depends on where a batch ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from crl_stream.errors import Unsafe
from crl_stream.stages.entries import Entry
from crl_stream.stages.incidents import fold_failure_alert
from crl_stream.stages.partition import PartitionRow, encode_partition, record_hash
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, encode
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF

UNBOUNDED: Final = 1 << 60
"""The value of ``most`` for a fold whose outputs are not limited."""
MAX_FAILURES: Final = 20
"""How many records of one batch may make a fold raise; beyond that, assume a bug and stop instead of skipping."""


class Counts(NamedTuple):
    """What happened to the records of a batch."""

    applied: int = 0
    duplicates: int = 0
    forwarded: int = 0
    dead_letters: int = 0
    skipped: int = 0
    """Records folded before this batch and read again after a crash or a rebalance."""
    ticks: int = 0
    """Ticks, which only record that time has passed."""
    too_late: int = 0
    """Scores for outcomes that are no longer in a window; they are counted in the row but have no other effect."""


class Folded(NamedTuple):
    """The result of a batch.  Its outputs must be acknowledged before its rows and the partition row."""

    rows: dict[bytes, bytes]
    partition_row: bytes
    next_offset: int
    outputs: list[Output]
    counts: Counts
    wakes: Mapping[bytes, int] = {}
    """When each changed row is next due without a new record, for ``Waiting``; 0 if it waits for nothing."""
    born: int = 0
    """Number of new tasks, for ``Waiting``."""
    finished: bool = True
    """Whether all entries are folded.  If not, the next fold continues at ``next_offset``; the record there may be
    a tick that was already applied to some rows."""


class Poison(Exception):
    """A record made a fold raise, and whatever the record touched may be only partly changed."""

    def __init__(self, offset: int, error: Exception) -> None:
        super().__init__(offset)
        self.offset, self.error = offset, error


Poisoned = Mapping[int, Exception]
"""The records that an attempt must skip: their offsets and the errors they raised."""


def fold_around_poison(attempt: Callable[[Poisoned], Folded], what: str) -> Folded:
    """Call ``attempt`` with the records to skip and their errors, until it no longer raises ``Poison``.

    Each attempt starts again from the untouched bytes, because rows changed by a failed step cannot be trusted.
    Raises ``Unsafe`` if more than ``MAX_FAILURES`` records fail; ``what`` names the records in its message.
    """
    poisoned: dict[int, Exception] = {}
    while True:
        try:
            return attempt(poisoned)
        except Poison as poison:
            poisoned[poison.offset] = poison.error
            if len(poisoned) > MAX_FAILURES:
                raise Unsafe(
                    f"{len(poisoned)} {what} make the engine raise, the last of them at offset {poison.offset}: "
                    f"{poison.error!r}",
                    hint="this is a bug in the engine; go back to the previous release and report it",
                ) from poison.error


class Task:
    """A task named by records of the batch; a stage adds the row in a subclass."""

    __slots__ = ("home", "key", "left", "touched")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.left = 0
        """Number of the task's records that are still left in the batch."""
        self.home = -1
        """The task's partition; -1 until it is first needed."""
        self.touched = False
        """Whether the task's row must be written."""


T = TypeVar("T", bound=Task)


class Fold(Generic[T]):
    """One attempt at one batch: the loop, and what all stages count and write.

    A stage defines the class of its tasks (``task_type``), what it does with a record (``take``, or only ``apply`` for
    readable records), how it writes a row (``close``), and what else the batch produces (``end``).
    """

    name: ClassVar[str] = ""
    """The stage's name in the dead letters of records that make it raise."""
    task_type: ClassVar[type[Any]] = Task
    """The class of the stage's tasks, called with a key for the first record of the batch that names the key."""

    def __init__(
        self,
        source: str,
        partition: int,
        state: PartitionRow,
        rows: Mapping[bytes, bytes],
        poisoned: Poisoned,
        most: int = UNBOUNDED,
    ) -> None:
        self.source, self.partition, self.state, self.rows = source, partition, state, rows
        self.poisoned, self.most = poisoned, most
        self.tasks: dict[bytes, T] = {}
        self.folded: dict[bytes, bytes] = {}
        """Finished rows by key; the rest of the batch does not touch them."""
        self.outputs: list[Output] = []
        self.stopped = False
        """Whether the fold has stopped in the middle of a record, with which the next fold continues."""
        self.wakes: dict[bytes, int] = {}
        """Becomes ``Folded.wakes``."""
        self.born = 0
        self.applied = self.duplicates = self.forwarded = self.dead_letters = self.skipped = self.ticks = 0
        self.too_late = 0

    def run(self, entries: Sequence[Entry]) -> Folded:
        """Fold the records in the order of their offsets."""
        state, first, last = self.state, self.state.next_offset, None
        tasks, order, task_type = self.tasks, [], self.task_type
        for entry in entries:
            key = entry.key
            task = tasks.get(key)
            if task is None:
                task = tasks[key] = task_type(key)
            task.left += 1
            order.append(task)
        outputs, most, finished = self.outputs, self.most, True
        for entry, task in zip(entries, order, strict=True):
            record = entry.record
            if record.offset < first:
                self.skipped += 1
            else:
                if len(outputs) >= most:
                    finished = False
                    break
                self.take(entry, record, task)
                if self.stopped:
                    finished = False
                    break
                last = record
            task.left -= 1
            if task.left == 0:
                self.close(task)
        if not finished:
            for task in tasks.values():
                self.close(task)
        if last is not None:
            state.next_offset = last.offset + 1
            state.last_hash = record_hash(last)
        rows = self.end()
        return Folded(
            rows, encode_partition(state), state.next_offset, outputs, self._counts(), self.wakes, self.born, finished
        )

    def _counts(self) -> Counts:
        return Counts(
            self.applied,
            self.duplicates,
            self.forwarded,
            self.dead_letters,
            self.skipped,
            self.ticks,
            self.too_late,
        )

    # -- what a stage defines ----------------------------------------------------------------------
    def take(self, entry: Entry, record: Record, task: T) -> None:
        """Process the next record: apply it, or turn it into a dead letter."""
        if record.offset in self.poisoned:
            self.report_failure(entry)
        elif isinstance(entry.message, Rejected):
            self.bury(record, entry.message.reason, entry.message.detail)
        else:
            self.apply(entry, record, task)

    def apply(self, entry: Entry, record: Record, task: T) -> None:
        """Apply a readable record; raise ``Poison`` if the engine raises."""
        raise NotImplementedError

    def close(self, task: T) -> None:
        """Finish a task that has no more records in the batch: put its row into ``folded`` if the row was touched."""

    def end(self) -> dict[bytes, bytes]:
        """Return the rows to write, in order; a stage may still add to outputs and state here."""
        return dict(sorted(self.folded.items()))

    # -- what all stages do ------------------------------------------------------------------------
    def bury(self, record: Record, reason: str, detail: str) -> None:
        """Turn a record that cannot be used into a dead letter."""
        self.outputs.append(dead_letter(record, self.source, self.partition, reason, detail))
        self.dead_letters += 1

    def report_failure(self, entry: Entry) -> None:
        """Turn a record that made the stage raise into a dead letter, and raise an alert."""
        record, error = entry.record, self.poisoned[entry.record.offset]
        self.bury(record, reasons.FOLD_FAILURE, f"the {self.name} raised {type(error).__name__}")
        alert = fold_failure_alert(entry.key, self.partition, record, error, self.state, topic=self.source)
        self.outputs.append(Output(TOPIC_OF[type(alert)], self.partition, entry.key, encode(alert)))
