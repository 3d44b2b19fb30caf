"""The monitor stage: records of one log partition become rows, a partition row and outputs.

Pure, so that a replay, another worker or the oracle of a test reach the same bytes.  Laws: every record is
exactly one of applied, duplicate, forwarded, dead letter; nothing depends on where one batch ends and the
next begins; rows keep the highest applied offset, so that a record met again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor import Context, step
from crl_stream.core.policy import Policy
from crl_stream.core.row import TaskRow, decode_row, encode_row, new_row
from crl_stream.topology.incidents import fold_failure_alert, policy_result
from crl_stream.topology.origins import Origins
from crl_stream.topology.partition import (
    PartitionRow,
    decode_partition,
    encode_partition,
    record_hash,
)
from crl_stream.topology.poison import Poison, fold_around_poison
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.dead_letter import dead_letter, forwarded, origin_of
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, TOPIC_OF


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record of the log, decoded once; there is one for each, so it is of the kind that is quickest made and read."""

    record: Record
    message: Any
    """Invocation, Feedback, CommandRef or Rejected."""
    key: bytes
    """Of the task; empty when the record has none."""


class Counts(NamedTuple):
    """What became of the records of a batch."""

    applied: int = 0
    duplicates: int = 0
    forwarded: int = 0
    dead_letters: int = 0
    skipped: int = 0
    """Folded before this batch: met again after a crash or a rebalance."""


class Folded(NamedTuple):
    """What a batch comes to.  Outputs are to be acknowledged first, then rows and partition row."""

    rows: dict[bytes, bytes]
    partition_row: bytes
    next_offset: int
    outputs: list[Output]
    counts: Counts


def decode_batch(records: Sequence[Record]) -> list[Entry]:
    """Decode every record; a bad one becomes an entry with its rejection."""
    entries = []
    for record in records:
        decoded = decode(INVOCATIONS, record.value, record.key)
        if isinstance(decoded, Rejected):
            entries.append(Entry(record, decoded, b""))
        else:
            # The codec has checked that the key is the one of the payload's task.
            entries.append(Entry(record, decoded.message, record.key or b""))
    return entries


def command_positions(entries: Sequence[Entry]) -> set[tuple[int, int]]:
    """(partition, offset) of each record of ``crl.commands`` that the batch refers to."""
    return {(entry.message.partition, entry.message.offset) for entry in entries if type(entry.message) is m.CommandRef}


def fold_batch(
    partition: int,
    partitions: int,
    partition_row: bytes | None,
    rows: Mapping[bytes, bytes],
    entries: Sequence[Entry],
    commands: Mapping[tuple[int, int], bytes | None],
) -> Folded:
    """Fold consecutive records of one partition.

    ``rows`` are the partition's rows by task key, ``commands`` the values of the records that
    ``command_positions`` named, None where there is no such record.  Raises ``Unsafe`` when too many records make
    the engine raise.
    """

    def fold(poisoned: Mapping[int, Exception]) -> Folded:
        state = decode_partition(partition_row)
        return _Fold(partition, partitions, state, rows, commands, poisoned).run(entries)

    return fold_around_poison(fold, f"records of partition {partition}")


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
    ) -> None:
        self.partition, self.partitions = partition, partitions
        self.state, self.rows, self.commands, self.poisoned = state, rows, commands, poisoned
        self.policies = state.policies
        self.policy_of: dict[bytes, Policy] = {}
        """Of the tasks met so far, as long as no other policy comes into force."""
        self.open: dict[bytes, TaskRow] = {}
        self.touched: set[bytes] = set()
        self.folded: dict[bytes, bytes] = {}
        """Rows that the rest of the batch does not touch."""
        self.origins: Origins | None = None
        """Of forwarded records, once there is one."""
        self.outputs: list[Output] = []
        self.applied = self.duplicates = self.forwarded = self.dead_letters = self.skipped = 0

    def run(self, entries: Sequence[Entry]) -> Folded:
        state = self.state
        last = None
        # A row is closed behind its last record, while it is in the processor's cache: a batch touches many.
        last_of = {entry.key: number for number, entry in enumerate(entries)}
        for number, entry in enumerate(entries):
            if entry.record.offset < state.next_offset:
                self.skipped += 1
            else:
                last = entry.record
                self._take(entry)
            if last_of[entry.key] == number:
                self._close(entry.key)
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
            Counts(self.applied, self.duplicates, self.forwarded, self.dead_letters, self.skipped),
        )

    def _take(self, entry: Entry) -> None:
        message, record = entry.message, entry.record
        kind = type(message)
        if record.offset in self.poisoned:
            self._report_failure(entry)
        elif kind is Rejected:
            self._bury(record, message.reason, message.detail)
        elif kind is m.CommandRef:
            self._take_reference(entry)
        elif (home := partition_of(entry.key, self.partitions)) != self.partition:
            self._forward(entry, home)
        elif not record.headers or self._is_new_here(record):
            self._apply(entry.key, message, record)

    def _close(self, key: bytes) -> None:
        row = self.open.pop(key, None)
        if row is not None and key in self.touched:
            self.folded[key] = encode_row(row)

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

    def _forward(self, entry: Entry, home: int) -> None:
        record = entry.record
        if record.headers and origin_of(record.headers) is not None:
            self._bury(
                record,
                reasons.MISPLACED_TWICE,
                f"forwarded here, but its task lives in partition {home} of {self.partitions}",
            )
            return
        self.outputs.append(forwarded(record, INVOCATIONS, self.partition, home))
        self.forwarded += 1

    def _apply(self, key: bytes, message: Any, record: Record) -> None:
        row = self.open.get(key)
        if row is None:
            data = self.rows.get(key)
            row = self.open[key] = new_row(TaskKey.decode(key)) if data is None else decode_row(data)
        policy = self.policy_of.get(key)
        if policy is None:
            policy = self.policy_of[key] = self.policies.for_task(row.key)
        state = self.state
        if record.offset <= row.offset and row.incarnation >= state.incarnation:
            self.skipped += 1
            return
        at = Context(self.partition, record.offset, record.timestamp, state.incarnation, state.policy_hash)
        try:
            done = step(row, message, at, policy)
        except Exception as error:
            raise Poison(record.offset, error) from error
        self.touched.add(key)
        for fact in done.facts:
            self.outputs.append(Output(TOPIC_OF[type(fact)], self.partition, key, encode(fact)))
        if done.disposition == "applied":
            self.applied += 1
        elif done.disposition == "duplicate":
            self.duplicates += 1
        else:
            self._bury(record, done.reason or reasons.REFUSED, f"refused by the engine: {done.reason}")

    def _take_reference(self, entry: Entry) -> None:
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
            self._apply(entry.key, command, record)

    def _set_policy(self, command: m.SetPolicy, record: Record) -> None:
        state = self.state
        state.policy, state.policy_hash = command.policy.canonical(), command.policy.digest()
        self.policies = command.policy
        self.policy_of.clear()
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
