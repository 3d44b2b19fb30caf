"""The monitor stage: turns the records of one log partition into rows, a partition row and outputs.

The stage is pure, so that a replay, another worker or a test's oracle produces the same bytes.  Its laws: every record
is exactly one of applied, duplicate, forwarded, or dead letter.  Nothing depends on where one batch ends and the next
begins.  Rows keep the highest applied offset, so that a repeated record changes nothing.  A batch may therefore be
folded and written in parts, however many rows one record reaches.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.ids import command_hash
from crl_stream.core.instant import to_text
from crl_stream.core.monitor.row import RowMarks, StandingOrder, TaskRow, decode_row, encode_row, new_row, row_marks
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.monitor.step import Context, follow_fleet, pass_time, step
from crl_stream.core.policy import Policy
from crl_stream.stages import fleet
from crl_stream.stages.entries import Entry
from crl_stream.stages.fold import UNBOUNDED, Fold, Folded, Poison, Poisoned, Task, fold_around_poison
from crl_stream.stages.forwards import Forwards
from crl_stream.stages.incidents import policy_result, result_in_partition, row_failure_alert, tag_result
from crl_stream.stages.partition import PartitionRow, decode_partition, partition_key
from crl_stream.stages.topology import FIRST, INLET, MONITOR
from crl_stream.stages.waiting import Waiting, fleet_end, fleet_of, fleet_slot
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.dead_letter import forwarded, origin_of
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import TOPIC_OF

_LOG: Final = MONITOR.source
_COMMANDS: Final = INLET.source


def fold_batch(
    partition: int,
    partitions: int,
    partition_row: bytes | None,
    rows: Mapping[bytes, bytes],
    entries: Sequence[Entry],
    commands: Mapping[tuple[int, int], bytes | None],
    waiting: Waiting | None = None,
    most: int = UNBOUNDED,
    render: Callable[[Any], Any] | None = None,
) -> Folded:
    """Fold consecutive records of one partition.

    ``rows`` are the partition's rows by task key.  ``commands`` are the values of the records that
    ``command_positions`` named, None for a record that does not exist.  ``waiting`` is the index of ``rows``; if it is
    missing or out of date, a tick reads all rows.  ``most``, at least 1, is roughly the number of outputs after which
    the fold ends early (``Folded.finished``).  If it is given, the fold also ends before a tick for which ``waiting``
    would have to be rebuilt.  ``render`` replaces ``encode`` for facts of tasks whose values never leave the
    process; snapshots are then brief.
    Raises ``Unsafe`` if too many records make the engine raise.
    """

    def attempt(poisoned: Poisoned) -> Folded:
        state = decode_partition(partition_row)
        return _Fold(partition, partitions, state, rows, commands, poisoned, waiting, most, render).run(entries)

    return fold_around_poison(attempt, f"records of partition {partition}")


class _Task(Task):
    """A task of the partition, with its row in the monitor's table."""

    __slots__ = ("policy", "row")

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.row: TaskRow | None = None
        """The task's row while it is open: from the first to the last of the batch's records that name the task."""
        self.policy: Policy | None = None
        """The policy in force for the task; None until it is looked up."""


class _Fold(Fold[_Task]):
    """One attempt at one batch of the log."""

    name: ClassVar[str] = "engine"
    task_type: ClassVar[type[Any]] = _Task

    def __init__(
        self,
        partition: int,
        partitions: int,
        state: PartitionRow,
        rows: Mapping[bytes, bytes],
        commands: Mapping[tuple[int, int], bytes | None],
        poisoned: Poisoned,
        waiting: Waiting | None,
        most: int,
        render: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(_LOG, partition, state, rows, poisoned, most)
        self.partitions, self.render = partitions, render or encode
        self.commands, self.waiting = commands, waiting
        self.outdated = False
        """Whether the fleet's hold has changed since ``wakes`` was last updated."""
        self.policies = state.policies
        self.at = Context(
            partition, -1, 0, state.incarnation, state.policy_hash, state.fleet, state.tags, brief=render is not None
        )
        """The position of the current record: one object, updated for each record."""
        self.forwards: Forwards | None = None
        """The forwarded records that this partition has received; None until the first one of the batch."""

    def end(self) -> dict[bytes, bytes]:
        """Record which records were forwarded here and when rows are next due; return the rows by key."""
        if self.forwards is not None:
            self.forwards.pack()
        self._settle_wakes()
        return super().end()

    def take(self, entry: Entry, record: Record, task: _Task) -> None:
        """Process the record; if the fleet's hold has expired by the record's time, end the hold first."""
        message = entry.message
        kind = type(message)
        if self.at.fleet is not None and fleet.has_expired(self.at.fleet, record.timestamp):
            self._expire_fleet(entry, record, task)
        elif record.offset in self.poisoned:
            self.report_failure(entry)
        elif kind is Rejected:
            self.bury(record, message.reason, message.detail)
        elif kind is m.CommandRef:
            self._take_reference(entry, task)
        elif kind is m.Tick:
            self._tick(message, record)
        else:
            if task.home < 0:
                task.home = partition_of(task.key, self.partitions)
            if task.home != self.partition:
                self._forward(record, task.home)
            elif not record.headers or self._is_new_here(record):
                self._apply(task, message, record)

    def close(self, task: _Task) -> None:
        """Store the task's row, and record when it is next due without a new record."""
        if task.touched and task.row is not None:
            self.folded[task.key] = encode_row(task.row)
            self.wakes[task.key] = self._wake(task.key, task.row)
        task.row = None

    def _wake(self, key: bytes, row: TaskRow | RowMarks) -> int:
        """Return when the row is next due without a new record: at once if it was published with another fleet hold."""
        fleet = self.at.fleet
        return row.wake if row.shown_fleet == (0 if fleet is None else fleet.since) else fleet_slot(key)

    def _is_new_here(self, record: Record) -> bool:
        """Return whether a forwarded record arrives for the first time; a crash may forward it twice."""
        origin = origin_of(record.headers)
        if origin is None:
            return True
        source, offset = origin
        if not 0 <= source < self.partitions:
            return True  # not one of our partitions: a forged header must not fill the partition row
        if self.forwards is None:
            self.forwards = Forwards(self.state)
        came = self.forwards.take(source, offset, record)
        if came == "known":
            self.duplicates += 1
        elif came == "old":
            self.bury(
                record,
                reasons.FORWARDED_BEFORE,
                f"forwarded from partition {source}, offset {offset}: too long ago to tell whether it was applied, "
                "or the origin of a record was forged",
            )
        return came == "new"

    def _forward(self, record: Record, home: int) -> None:
        if record.headers and origin_of(record.headers) is not None:
            self.bury(
                record,
                reasons.MISPLACED_TWICE,
                f"forwarded to this partition, but its task belongs to partition {home} of {self.partitions}",
            )
            return
        self.outputs.append(forwarded(record, _LOG, self.partition, home))
        self.forwarded += 1

    def _apply(self, task: _Task, message: Any, record: Record) -> None:
        row, policy, at = task.row, task.policy, self.at
        if row is None:
            data = self._data_of(task.key)
            if data is None:
                row = task.row = new_row(TaskKey.decode(task.key))
                row.born = record.offset
                self.born += 1
            else:
                row = task.row = self._read(data, record)
                if row.incarnation < at.incarnation:
                    row.born = -1
        if policy is None:
            policy = task.policy = self.policies.for_task(row.key)
        offset = record.offset
        if offset <= row.offset and row.incarnation >= at.incarnation:
            self.skipped += 1
            self.born += row.born == offset
            return
        at.offset, at.timestamp_ms = offset, record.timestamp
        try:
            done = step(row, message, at, policy)
        except Exception as error:
            raise Poison(offset, error) from error
        task.touched = True
        self._state(done.facts, task.key)
        if done.disposition == "applied":
            self.applied += 1
        elif done.disposition == "duplicate":
            self.duplicates += 1
        elif done.disposition == "too_late":
            self.too_late += 1
        else:
            self.bury(record, done.reason or reasons.REFUSED, f"refused by the engine: {done.reason}")

    def _read(self, data: bytes, record: Record) -> TaskRow:
        """Decode a row; an unreadable row affects only the records of its own task, not the partition."""
        try:
            return decode_row(data)
        except Exception as error:
            raise Poison(record.offset, error) from error

    def _tick(self, tick: m.Tick, record: Record) -> None:
        """Apply the passing of time to every row that is due, beginning with those that have waited longest."""
        at, now, offset, outputs = self.at, record.timestamp, record.offset, self.outputs
        for key in self._due(now if tick.up_to_ms is None or tick.up_to_ms > now else tick.up_to_ms):
            if key.startswith(b"!"):
                continue  # the partition row: ``take`` has already ended a hold on the fleet that has expired
            if len(outputs) >= self.most:
                self.stopped = True
                return
            task = self.tasks.get(key)
            if task is None:
                task = self.tasks[key] = _Task(key)
            if task.row is None:
                task.row = self._stored(key)
            if task.row is None:
                continue
            if offset > task.row.offset or task.row.incarnation < at.incarnation:
                at.offset, at.timestamp_ms = offset, now
                self._pass_time(task, task.row, record)
            if task.left == 0:
                self.close(task)
        self.ticks += not self.stopped

    def _stored(self, key: bytes) -> TaskRow | None:
        """Return a row that is due; None if it is gone or unreadable (the task's next record reports the latter)."""
        data = self._data_of(key)
        try:
            # ``data`` is None if the partition has moved to another worker; this batch is then not written.
            return None if data is None else decode_row(data)
        except msgspec.MsgspecError:
            self.wakes[key] = 0
            return None

    def _pass_time(self, task: _Task, row: TaskRow, record: Record) -> None:
        """Apply the passing of time to one row; if the engine raises, other rows and the clock are not affected."""
        if task.policy is None:
            task.policy = self.policies.for_task(row.key)
        before = encode_row(row)
        try:
            facts = pass_time(row, self.at, task.policy)
        except Exception as error:
            task.row = row = decode_row(before)
            row.offset, row.incarnation, row.wake = record.offset, self.at.incarnation, 0
            row.shown_fleet = fleet_of(self.state)
            facts = [row_failure_alert(task.key, self.partition, record, error, self.state)]
        task.touched = True
        self._state(facts, task.key)

    def _due(self, now: int) -> Iterator[bytes]:
        """Yield the keys of the rows that are due, with this batch's changes taken into account."""
        if self.waiting is None or self.waiting.fleet != fleet_of(self.state):
            if self.most < UNBOUNDED and self.outdated:
                self.stopped = True
                return
            self.waiting = Waiting.of(self.rows, self.state)
        changed, found = self._settle_wakes(), self.waiting.due(now)
        for task in self.tasks.values():  # add this after the written rows, because an open row is newer
            if task.touched and task.row is not None:
                changed[task.key] = self._wake(task.key, task.row)
        touched = sorted((wake, key) for key, wake in changed.items() if 0 < wake <= now)
        before = set(changed)
        # A tick handles each row once, so rows that it changes itself need not be checked again.
        for _, key in heapq.merge(touched, (one for one in found if one[1] not in before)) if before else found:
            yield key

    def _settle_wakes(self) -> dict[bytes, int]:
        """Return when each row that this batch has touched is due, under the fleet's current hold."""
        if self.outdated:
            self.outdated = False
            for key, data in self.folded.items():
                self.wakes[key] = self._wake(key, row_marks(data))
        return self.wakes

    def _index(self) -> Waiting:
        """Return the index of the rows as the batch found them; entries about the fleet's hold may be out of date."""
        if self.waiting is None:
            self.waiting = Waiting.of(self.rows, self.state)
        return self.waiting

    def _data_of(self, key: bytes) -> bytes | None:
        """Return the bytes of a row as the batch has left it so far."""
        folded = self.folded
        return folded[key] if folded and key in folded else self.rows.get(key)

    def _state(self, facts: Sequence[Any], key: bytes) -> None:
        for fact in facts:
            if type(fact) is m.TagCondition:
                self.outputs.append(Output(TOPIC_OF[m.TagCondition], FIRST, fact.tag.encode(), self.render(fact)))
                continue
            self.outputs.append(Output(TOPIC_OF[type(fact)], self.partition, key, self.render(fact)))

    def _take_reference(self, entry: Entry, task: _Task) -> None:
        ref: m.CommandRef = entry.message
        record, state = entry.record, self.state
        if ref.agent_name is not None and (home := partition_of(entry.key, self.partitions)) != self.partition:
            self.bury(
                record,
                reasons.COMMAND_MISMATCH,
                f"the reference belongs to partition {home}, but is in partition {self.partition}",
            )
            return
        # The inlet appends in the order of crl.commands, so an offset that is not higher is a repetition.
        if ref.offset <= state.commanded.get(ref.partition, -1):
            self.duplicates += 1
            return
        value = self.commands.get((ref.partition, ref.offset))
        if value is None:
            self.bury(
                record,
                reasons.COMMAND_MISSING,
                f"crl.commands has no record at partition {ref.partition}, offset {ref.offset}",
            )
            return
        if command_hash(value) != ref.sha256:
            self.bury(record, reasons.COMMAND_MISMATCH, "the hash does not match the referenced command")
            return
        decoded = decode(_COMMANDS, value, entry.key)
        if isinstance(decoded, Rejected):
            self.bury(record, reasons.COMMAND_MISMATCH, f"the referenced command is invalid: {decoded.detail}")
            return
        command: m.AnyCommand = decoded.message
        if command.command_id != ref.command_id:
            self.bury(record, reasons.COMMAND_MISMATCH, "the referenced command has a different command_id")
            return
        state.commanded[ref.partition] = ref.offset
        if isinstance(command, m.SetPolicy):
            self._set_policy(command, record)
        elif isinstance(command, m.HoldAll | m.ResumeAll):
            self._order_fleet(command, record)
        elif isinstance(command, m.ReportTag):
            self._report_tag(command, record)
        else:
            self._apply(task, command, record)

    def _set_policy(self, command: m.SetPolicy, record: Record) -> None:
        state = self.state
        if not (refused := command.if_none and state.has_policy):
            state.set_policy(command.policy, command.actor, record.timestamp)
            self.policies, self.at.policy_hash = command.policy, state.policy_hash
            for task in self.tasks.values():
                task.policy = None
        self.applied += 1
        result = policy_result(command, self.partition, record, state, refused=refused)
        self.outputs.append(Output(TOPIC_OF[type(result)], self.partition, record.key, encode(result)))

    def _report_tag(self, command: m.ReportTag, record: Record) -> None:
        """Record which tags are failing; a task considers this when it next has a degraded variant."""
        done = self.state.report_tag(command, record.timestamp)
        self.applied += 1
        result = tag_result(command, self.partition, record, self.state, refused=not done)
        self.outputs.append(Output(TOPIC_OF[type(result)], self.partition, record.key, encode(result)))

    def _order_fleet(self, command: m.FleetCommand, record: Record) -> None:
        """Hold or release every task of the partition, unless the command is refused."""
        state, now = self.state, record.timestamp
        refused = fleet.refusal(state, command, now)
        self.applied += 1
        if refused is not None:
            said = result_in_partition(command, self.partition, record, state, "refused", refused, 0)
            self.outputs.append(Output(TOPIC_OF[type(said)], self.partition, record.key, encode(said)))
            return
        hold: StandingOrder | None
        if isinstance(command, m.HoldAll):
            hold = fleet.hold_of(command, now, self.policies.default.operations.hold_hours, state.fleet)
            done = "held" if stops_all(hold) else "promotions stopped"
            done, action = f"{done} until {to_text(hold.until or 0)}", fleet.words_of(hold)
            unknown = fleet.not_known(command)
            action += unknown
            if fleet.frees_rollbacks(hold, state.fleet):
                done += ", rollbacks happen again"
        else:
            hold, done, unknown = None, "resumed", ""
            action = f"resumed by {command.actor}: {command.reason or 'no reason given'}"
        self._set_hold(hold)
        tasks, unread = self._show_fleet(record)
        done += f": {tasks} task{'' if tasks == 1 else 's'} in partition {self.partition}"
        if unread:
            whose = "its" if unread == 1 else "their"
            done += f"; {unread} could not be read and will be published with {whose} next record"
        done += unknown
        said = result_in_partition(command, self.partition, record, state, "applied", done, tasks)
        self.outputs.append(Output(TOPIC_OF[type(said)], self.partition, record.key, encode(said)))
        self._tell_fleet(record, action, command.command_id, resolved=hold is None)

    def _set_hold(self, hold: StandingOrder | None) -> None:
        self.state.fleet = hold
        self.at.fleet = hold
        self.outdated = True
        self.wakes[partition_key(self.partition)] = fleet_end(self.state)

    def _expire_fleet(self, entry: Entry, record: Record, task: _Task) -> None:
        """End the fleet's expired hold: process the record without the hold, then publish all other rows."""
        was = self.at.fleet
        assert was is not None
        self._set_hold(None)
        ticks = type(entry.message) is m.Tick
        if not ticks:  # a tick processes the rows that are due, and now all rows are due
            self.take(entry, record, task)
        if self.state.fleet is None:  # the record may have set a new hold
            self._show_fleet(record)
            over = f"resolved: the hold of {was.actor} has expired"
            self._tell_fleet(record, over, f"{self.partition}:{record.offset}", resolved=True)
        if ticks:
            self.take(entry, record, task)

    def _tell_fleet(self, record: Record, action: str, cause_id: str, *, resolved: bool) -> None:
        if fleet.is_home(self.partition, self.partitions):
            said = fleet.alert(self.partition, record, self.state, action, cause_id, resolved=resolved)
            self.outputs.append(Output(TOPIC_OF[type(said)], self.partition, fleet.SUBJECT.encode(), encode(said)))

    def _show_fleet(self, record: Record) -> tuple[int, int]:
        """Publish every task of the partition as it is now; return the numbers of all tasks and of unreadable ones.

        If the partition has many tasks, they become due instead, and ticks publish them group by group.  The hold
        itself is already in force.
        """
        at = self.at
        at.offset, at.timestamp_ms = record.offset, record.timestamp
        index = self._index()
        tasks, unread = index.tasks + self.born, index.unread
        if tasks > fleet.SHOWN_AT_ONCE:
            return tasks, unread
        live = {key: task.row for key, task in self.tasks.items() if task.row is not None}
        for key in fleet.untold(self.rows, self.folded, live, record.offset, at.incarnation):
            unread += not self._follow_fleet(key, live.get(key))
        return tasks, unread

    def _follow_fleet(self, key: bytes, live: TaskRow | None) -> bool:
        """Publish one task as it is now; return False if its row cannot be read."""
        at = self.at
        try:
            # Work on a copy, so that a row that makes the engine raise stays unchanged.
            row = decode_row(self._data_of(key) or b"" if live is None else encode_row(live))
            facts = follow_fleet(row, at, self.policies.for_task(row.key)).facts
        except Exception:  # one bad row must not prevent the hold on the fleet
            return False
        if live is None:
            self.folded[key] = encode_row(row)
            self.wakes[key] = row.wake
        else:
            task = self.tasks[key]
            task.row, task.touched = row, True
        self._state(facts, key)
        return True
