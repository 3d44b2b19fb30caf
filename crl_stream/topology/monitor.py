"""The monitor stage: records of one log partition become rows, a partition row and outputs.

Pure, so that a replay, another worker or the oracle of a test reach the same bytes.  Laws: every record is
exactly one of applied, duplicate, forwarded, dead letter; nothing depends on where one batch ends and the
next begins; rows keep the highest applied offset, so that a record met again changes nothing.
"""

# over 300 lines because what becomes of a record, whatever its kind, is one decision

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor import Context, pass_time, step
from crl_stream.core.policy import Policy
from crl_stream.core.row import TaskRow, decode_row, encode_row, new_row
from crl_stream.topology.entries import Entry, command_positions, decode_batch
from crl_stream.topology.incidents import fold_failure_alert, policy_result
from crl_stream.topology.origins import Origins
from crl_stream.topology.partition import (
    PartitionRow,
    decode_partition,
    encode_partition,
    record_hash,
)
from crl_stream.topology.poison import Poison, fold_around_poison
from crl_stream.topology.waiting import Waiting
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.dead_letter import dead_letter, forwarded, origin_of
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, TOPIC_OF

__all__ = ["Counts", "Entry", "Folded", "command_positions", "decode_batch", "fold_batch"]


class Counts(NamedTuple):
    """What became of the records of a batch."""

    applied: int = 0
    duplicates: int = 0
    forwarded: int = 0
    dead_letters: int = 0
    skipped: int = 0
    """Folded before this batch: met again after a crash or a rebalance."""
    ticks: int = 0
    """Records that said no more than that time has passed."""
    too_late: int = 0
    """Scores for outcomes that no window holds any more: counted in the row, and without effect."""


class Folded(NamedTuple):
    """What a batch comes to.  Outputs are to be acknowledged first, then rows and partition row."""

    rows: dict[bytes, bytes]
    partition_row: bytes
    next_offset: int
    outputs: list[Output]
    counts: Counts
    wakes: Mapping[bytes, int] = {}
    """When each row that was touched has to be looked at again, for ``Waiting``; 0: it waits for nothing."""


def fold_batch(
    partition: int,
    partitions: int,
    partition_row: bytes | None,
    rows: Mapping[bytes, bytes],
    entries: Sequence[Entry],
    commands: Mapping[tuple[int, int], bytes | None],
    waiting: Waiting | None = None,
) -> Folded:
    """Fold consecutive records of one partition.

    ``rows`` are the partition's rows by task key, ``commands`` the values of the records that
    ``command_positions`` named, None where there is no such record.  ``waiting`` is the index of ``rows``; without it,
    a tick looks through all of them.  Raises ``Unsafe`` when too many records make the engine raise.
    """

    def fold(poisoned: Mapping[int, Exception]) -> Folded:
        state = decode_partition(partition_row)
        return _Fold(partition, partitions, state, rows, commands, poisoned, waiting).run(entries)

    return fold_around_poison(fold, f"records of partition {partition}")


class _Task:
    """A task that records of the batch name, in the order of the batch."""

    __slots__ = ("home", "key", "left", "policy", "row", "touched")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.left = 0
        """Records of it that are still to come."""
        self.home = -1
        """Its partition, once it was asked for."""
        self.row: TaskRow | None = None
        """From its first record that is folded on, until its last."""
        self.policy: Policy | None = None
        """As long as no other one comes into force."""
        self.touched = False


class _Fold:
    """One attempt at one batch."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        state: PartitionRow,
        rows: Mapping[bytes, bytes],
        commands: Mapping[tuple[int, int], bytes | None],
        poisoned: Mapping[int, Exception],
        waiting: Waiting | None,
    ) -> None:
        self.partition, self.partitions = partition, partitions
        self.waiting, self.changed = waiting, Waiting()
        self.state, self.rows, self.commands, self.poisoned = state, rows, commands, poisoned
        self.policies = state.policies
        self.tasks: dict[bytes, _Task] = {}
        self.at = Context(partition, -1, 0, state.incarnation, state.policy_hash)
        """The record under way: one for all of them, and moved on."""
        self.folded: dict[bytes, bytes] = {}
        """Rows that the rest of the batch does not touch."""
        self.origins: Origins | None = None
        """Of forwarded records, once there is one."""
        self.outputs: list[Output] = []
        self.applied = self.duplicates = self.forwarded = self.dead_letters = self.skipped = self.ticks = 0
        self.too_late = 0

    def run(self, entries: Sequence[Entry]) -> Folded:
        state, first, last = self.state, self.state.next_offset, None
        # A row is closed behind its last record, while it is in the processor's cache: a batch touches many.
        tasks, order = self.tasks, []
        for entry in entries:
            key = entry.key
            task = tasks.get(key)
            if task is None:
                task = tasks[key] = _Task(key)
            task.left += 1
            order.append(task)
        for entry, task in zip(entries, order, strict=True):
            record = entry.record
            if record.offset < first:
                self.skipped += 1
            else:
                last = record
                self._take(entry, record, task)
            task.left -= 1
            if task.left == 0:
                self._close(task)
        if last is not None:
            state.next_offset = last.offset + 1
            state.last_hash = record_hash(last)
        if self.origins is not None:
            self.origins.pack()
        return Folded(
            dict(sorted(self.folded.items())),
            encode_partition(state),
            state.next_offset,
            self.outputs,
            self._counts(),
            self.changed.wakes,
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

    def _take(self, entry: Entry, record: Record, task: _Task) -> None:
        message = entry.message
        kind = type(message)
        if record.offset in self.poisoned:
            self._report_failure(entry)
        elif kind is Rejected:
            self._bury(record, message.reason, message.detail)
        elif kind is m.CommandRef:
            self._take_reference(entry, task)
        elif kind is m.Tick:
            self._tick(record)
        else:
            if task.home < 0:
                task.home = partition_of(task.key, self.partitions)
            if task.home != self.partition:
                self._forward(record, task.home)
            elif not record.headers or self._is_new_here(record):
                self._apply(task, message, record)

    def _close(self, task: _Task) -> None:
        if task.touched and task.row is not None:
            self.folded[task.key] = encode_row(task.row)
            self.changed.put(task.key, task.row.wake)
        task.row = None

    def _is_new_here(self, record: Record) -> bool:
        """Whether a forwarded record comes for the first time; a crash may forward it twice."""
        origin = origin_of(record.headers)
        if origin is None:
            return True
        source, offset = origin
        if not 0 <= source < self.partitions:
            return True  # not one of ours: a header that somebody made up must not fill the row
        if self.origins is None:
            self.origins = Origins(self.state)
        came = self.origins.take(source, offset, record)
        if came == "known":
            self.duplicates += 1
        elif came == "old":
            self._bury(
                record,
                reasons.FORWARDED_BEFORE,
                f"forwarded from partition {source}, offset {offset}, where forwards are remembered no more: "
                "it was applied then, or somebody has made up its origin or that of others",
            )
        return came == "new"

    def _forward(self, record: Record, home: int) -> None:
        if record.headers and origin_of(record.headers) is not None:
            self._bury(
                record,
                reasons.MISPLACED_TWICE,
                f"forwarded here, but its task lives in partition {home} of {self.partitions}",
            )
            return
        self.outputs.append(forwarded(record, INVOCATIONS, self.partition, home))
        self.forwarded += 1

    def _apply(self, task: _Task, message: Any, record: Record) -> None:
        row, policy, at = task.row, task.policy, self.at
        if row is None:
            data = self.rows.get(task.key)
            row = task.row = new_row(TaskKey.decode(task.key)) if data is None else decode_row(data)
        if policy is None:
            policy = task.policy = self.policies.for_task(row.key)
        offset = record.offset
        if offset <= row.offset and row.incarnation >= at.incarnation:
            self.skipped += 1
            return
        at.offset, at.timestamp_ms = offset, record.timestamp
        try:
            done = step(row, message, at, policy)
        except Exception as error:
            raise Poison(offset, error) from error
        task.touched = True
        facts = done.facts
        if facts:
            for fact in facts:
                self.outputs.append(Output(TOPIC_OF[type(fact)], self.partition, task.key, encode(fact)))
        if done.disposition == "applied":
            self.applied += 1
        elif done.disposition == "duplicate":
            self.duplicates += 1
        elif done.disposition == "too_late":
            self.too_late += 1
        else:
            self._bury(record, done.reason or reasons.REFUSED, f"refused by the engine: {done.reason}")

    def _tick(self, record: Record) -> None:
        """Tell every row whose time has come what time it is, in the order of their keys."""
        self.ticks += 1
        at = self.at
        for key in self._due(record.timestamp):
            task = self.tasks.get(key)
            if task is None:
                task = self.tasks[key] = _Task(key)
            row = task.row
            if row is None:
                data = self.folded.get(key) or self.rows.get(key)
                if data is None:
                    continue  # the partition went elsewhere meanwhile, and what this batch comes to is not written
                row = task.row = decode_row(data)
            if record.offset > row.offset or row.incarnation < at.incarnation:
                if task.policy is None:
                    task.policy = self.policies.for_task(row.key)
                at.offset, at.timestamp_ms = record.offset, record.timestamp
                try:
                    facts = pass_time(row, at, task.policy)
                except Exception as error:
                    raise Poison(record.offset, error) from error
                task.touched = True
                for fact in facts:
                    self.outputs.append(Output(TOPIC_OF[type(fact)], self.partition, key, encode(fact)))
            if task.left == 0:
                self._close(task)

    def _due(self, now: int) -> list[bytes]:
        """Keys of the rows that wait for a time that has come: as this batch has left them, else as it found them."""
        changed = self.changed
        for task in self.tasks.values():
            if task.touched and task.row is not None:
                changed.put(task.key, task.row.wake)
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = Waiting.of(self.rows.items())
        return sorted([*(key for key in waiting.due(now) if key not in changed.wakes), *changed.due(now)])

    def _take_reference(self, entry: Entry, task: _Task) -> None:
        ref: m.CommandRef = entry.message
        record, state = entry.record, self.state
        if ref.agent_name is not None and (home := partition_of(entry.key, self.partitions)) != self.partition:
            self._bury(
                record,
                reasons.COMMAND_MISMATCH,
                f"a reference for partition {home} stands in partition {self.partition}",
            )
            return
        # The inlet appends in the order of crl.commands, so an older position is a repetition.
        if ref.offset <= state.commanded.get(ref.partition, -1):
            self.duplicates += 1
            return
        value = self.commands.get((ref.partition, ref.offset))
        if value is None:
            self._bury(
                record,
                reasons.COMMAND_MISSING,
                f"crl.commands has no record at partition {ref.partition}, offset {ref.offset}",
            )
            return
        if hashlib.sha256(value).hexdigest() != ref.sha256:
            self._bury(record, reasons.COMMAND_MISMATCH, "the hash is not the one of the named command")
            return
        decoded = decode(COMMANDS, value, entry.key)
        if isinstance(decoded, Rejected):
            self._bury(record, reasons.COMMAND_MISMATCH, f"the named command is bad: {decoded.detail}")
            return
        command: m.AnyCommand = decoded.message
        if command.command_id != ref.command_id:
            self._bury(record, reasons.COMMAND_MISMATCH, "the named command has another command_id")
            return
        state.commanded[ref.partition] = ref.offset
        if isinstance(command, m.SetPolicy):
            self._set_policy(command, record)
        else:
            self._apply(task, command, record)

    def _set_policy(self, command: m.SetPolicy, record: Record) -> None:
        state = self.state
        state.policy, state.policy_hash = command.policy.canonical(), command.policy.digest()
        self.policies, self.at.policy_hash = command.policy, state.policy_hash
        for task in self.tasks.values():
            task.policy = None
        self.applied += 1
        result = policy_result(command, self.partition, record, state)
        self.outputs.append(Output(TOPIC_OF[type(result)], self.partition, record.key, encode(result)))

    def _bury(self, record: Record, reason: str, detail: str) -> None:
        self.outputs.append(dead_letter(record, INVOCATIONS, self.partition, reason, detail))
        self.dead_letters += 1

    def _report_failure(self, entry: Entry) -> None:
        record, error = entry.record, self.poisoned[entry.record.offset]
        self._bury(record, reasons.FOLD_FAILURE, f"the engine raised {type(error).__name__}")
        alert = fold_failure_alert(entry.key, self.partition, record, error, self.state)
        self.outputs.append(Output(TOPIC_OF[type(alert)], self.partition, entry.key, encode(alert)))
