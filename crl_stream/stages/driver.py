"""The stages in memory: a log, its commands, changelogs and topics, without a broker.

Tests use it for scenarios and as an oracle, and ``crl replay`` runs on it.  It accepts messages or raw bytes, folds
them as the worker does, and gives access to every topic.  A crash is an element of the input: what was written is kept,
and what was in memory is lost.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.proposer.remedies import Remedies
from crl_stream.stages.entries import Entry, command_positions, decode_batch
from crl_stream.stages.fold import Counts, Folded
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.inspection import snapshot
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.stages.tags import fold_tags
from crl_stream.stages.topology import FIRST, INLET, MONITOR, PROPOSER, TAGS
from crl_stream.stages.waiting import Waiting, fleet_of
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Header, Output
from crl_stream.wire.topics import DEAD_LETTERS, FLEET_KEY, POLICY_KEY, TICK_KEY, TOPIC_OF

_LOG: Final = MONITOR.source
_COMMANDS: Final = INLET.source


class Crash(enum.Enum):
    """The process dies while it handles the messages piped since the last batch; the value says how far it got."""

    AFTER_FOLD = "outputs and rows are lost"
    AFTER_OUTPUTS = "outputs are written, rows are lost"
    AFTER_SOME_ROWS = "outputs and the first row are written, the partition row is lost"
    AFTER_ROWS = "everything is written, nothing is committed"


class ProposerCrash(NamedTuple):
    """The process dies while the proposer is working, after the monitor has finished its batch."""

    point: Crash


class Stored(NamedTuple):
    """A record in memory, with the interface of ``wire.records.Record``."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class TopologyDriver:
    """Runs the stages on bytes, in one process, with any number of partitions.

    ``start`` is the append time of the first record and ``tick`` the time between records, both in milliseconds.
    The proposer runs after the monitor if its catalogue, ``remedies``, is given.
    """

    def __init__(
        self,
        *,
        partitions: int = 1,
        start: int = 1_763_562_600_000,
        tick: int = 1_000,
        remedies: Remedies | None = None,
        rows_per_tick: int = 1_000,
    ) -> None:
        self.rows_per_tick = rows_per_tick
        self.partitions, self.clock, self.tick, self.remedies = partitions, start, tick, remedies
        self.topics: dict[str, list[list[Stored]]] = defaultdict(lambda: [[] for _ in range(partitions)])
        self.changelog: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self.counts: list[Counts] = []
        self.proposals_changelog: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self.proposer_counts: list[Counts] = []
        self.tags_changelog: dict[bytes, bytes] = {}
        self.tags_counts: list[Counts] = []
        self._read_commands = [0] * partitions
        self._render: Callable[[Any], Any] | None = None
        self._waits: list[Waiting] | None = None
        """The index of each partition's waiting rows; None unless ``fall_silent`` is running."""
        self._command_ids = 0

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int | None = None,
        headers: tuple[Header, ...] = (),
        timestamp: int | None = None,
    ) -> Stored:
        """Append one record to a topic, as a broker with LogAppendTime would."""
        if timestamp is None:
            timestamp, self.clock = self.clock, self.clock + self.tick
        if partition is None:
            partition = partition_of(key or b"", self.partitions)
        log = self.topics[topic][partition]
        record = Stored(len(log), timestamp, key, value, headers)
        log.append(record)
        return record

    def pipe(self, *elements: Any) -> list[Output]:
        """Append messages, then fold everything that is unread as one batch per partition.

        An element is an ``Invocation``, ``Feedback`` or command, a ``Tick`` (one for each partition), raw bytes
        (keyed by ``a/b``), a pair (key, value) of bytes, or a ``Crash`` or ``ProposerCrash``, which ends a batch.
        """
        outputs: list[Output] = []
        for element in elements:
            if isinstance(element, Crash | ProposerCrash):
                self._work(element)
            else:
                self._put(element)
        outputs += self._work(None)
        return outputs

    def pipe_each(self, elements: Iterable[Any]) -> list[Output]:
        """Do the same as ``pipe``, but with one batch per element."""
        return [output for element in elements for output in self.pipe(element)]

    def fall_silent(self, milliseconds: int = 2_000) -> list[Output]:
        """Let ``milliseconds`` pass without messages, and append the ticks that the partitions' owners would append.

        Time continues from the newest record of the log, or from the driver's clock if that is ahead.
        """
        outputs: list[Output] = []
        now = max([self.clock, *(log[-1].timestamp for log in self.topics[_LOG] if log)])
        end = now + milliseconds
        self._waits = waits = [Waiting.of(changelog) for changelog in self.changelog]
        while True:
            first = min([rows.next for rows in waits if rows.next is not None], default=None)
            if first is None or first > end:
                break
            now = max(now, first)
            for partition, rows in enumerate(waits):
                if rows.next is not None and rows.next <= now:
                    self._tick(partition, now, until=rows.until(now, self.rows_per_tick))
            outputs += self._work(None)
        self._waits = None
        self.clock = end
        return outputs

    def _tick(self, partition: int, timestamp: int | None = None, until: int | None = None) -> None:
        value = encode(m.Tick(schema_version=m.SCHEMA_VERSION, up_to_ms=until))
        self.append(_LOG, value, TICK_KEY, partition=partition, timestamp=timestamp)

    def _put(self, element: Any) -> None:
        if isinstance(element, m.Invocation | m.Feedback):
            self.append(_LOG, encode(element), TaskKey(element.agent_name, element.task_type).encode())
        elif isinstance(element, m.Tick):
            for partition in range(self.partitions):
                self._tick(partition, until=element.up_to_ms)
        elif isinstance(element, m.SetPolicy):
            self.append(_COMMANDS, encode(element), POLICY_KEY)
        elif isinstance(element, m.FleetCommand | m.ReportTag):
            for partition in range(self.partitions):
                self.append(_COMMANDS, encode(element), FLEET_KEY, partition=partition)
        elif isinstance(element, m.Command):
            key = TaskKey(element.agent_name, element.task_type).encode()  # type: ignore[attr-defined]
            self.append(_COMMANDS, encode(element), key)
        elif isinstance(element, bytes):
            self.append(_LOG, element, b"a/b")
        else:
            key, value = element
            self.append(_LOG, value, key)
        self._run_inlet()

    def _run_inlet(self) -> None:
        for partition, log in enumerate(self.topics[_COMMANDS]):
            fresh = log[self._read_commands[partition] :]
            self._read_commands[partition] = len(log)
            for output in reference_commands(partition, self.partitions, fresh):
                self._publish(output)

    def _publish(self, output: Output) -> None:
        self.append(output.topic, output.value, output.key, partition=output.partition, headers=output.headers)

    def _work(self, crash: Crash | ProposerCrash | None) -> list[Output]:
        if isinstance(crash, Crash):
            return self._monitor(crash)
        outputs = self._monitor(None)
        while said := self._announced():
            folded = fold_tags(
                self.partitions, self.tags_changelog.get(partition_key(FIRST)), self.tags_changelog, said
            )
            outputs += self._write(self.tags_changelog, FIRST, folded, None, self.tags_counts)
            self._run_inlet()
            outputs += self._monitor(None)
        return outputs + self._propose(None if crash is None else crash.point)

    def _announced(self) -> Sequence[Stored]:
        state = decode_partition(self.tags_changelog.get(partition_key(FIRST)))
        return self.topics[TAGS.source][FIRST][state.next_offset :]

    def _monitor(self, crash: Crash | None) -> list[Output]:
        outputs: list[Output] = []
        # A forwarded record is new in its target partition, so repeat until no partition has unread records.
        while any(self._waiting(partition) for partition in range(self.partitions)):
            for partition in range(self.partitions):
                if waiting := self._waiting(partition):
                    folded = self._fold(partition, waiting)
                    outputs += self._write(self.changelog[partition], partition, folded, crash, self.counts)
                    self._keep_index(partition, folded)
            if crash is not None:
                break
        return outputs

    def _waiting(self, partition: int) -> Sequence[Stored]:
        state = decode_partition(self.changelog[partition].get(partition_key(partition)))
        return self.topics[_LOG][partition][state.next_offset :]

    def _fold(self, partition: int, records: Sequence[Stored]) -> Folded:
        return self._fold_entries(partition, decode_batch(records))

    def _fold_entries(self, partition: int, entries: Sequence[Entry]) -> Folded:
        commands = {place: self._command(*place) for place in command_positions(entries)}
        changelog, waits = self.changelog[partition], self._waits
        before = changelog.get(partition_key(partition))
        waiting = None if waits is None else waits[partition]
        return fold_batch(
            partition, self.partitions, before, changelog, entries, commands, waiting, render=self._render
        )

    def _keep_index(self, partition: int, folded: Folded) -> None:
        """Update the index of waiting rows after a batch; rebuild it if the fleet's hold has changed."""
        if self._waits is None:
            return
        if self._waits[partition].fleet == fleet_of(decode_partition(folded.partition_row)):
            self._waits[partition].settle(folded.wakes, folded.born)
        else:
            self._waits[partition] = Waiting.of(self.changelog[partition])

    def _command(self, partition: int, offset: int) -> bytes | None:
        logs = self.topics[_COMMANDS]
        if not 0 <= partition < len(logs) or not 0 <= offset < len(logs[partition]):
            return None
        return logs[partition][offset].value

    def _propose(self, crash: Crash | None) -> list[Output]:
        outputs: list[Output] = []
        if self.remedies is None:
            return outputs
        for partition, changelog in enumerate(self.proposals_changelog):
            state = changelog.get(partition_key(partition))
            log = self.topics[PROPOSER.source][partition]
            # The topic is compacted, so an offset is not an index.
            first = bisect_left(log, decode_partition(state).next_offset, key=lambda record: record.offset)
            if first < len(log):
                outputs += self._propose_from(partition, decode_snapshots(log[first:]), self.remedies, crash)
        return outputs

    def _propose_from(
        self, partition: int, entries: Sequence[Entry], remedies: Remedies, crash: Crash | None
    ) -> list[Output]:
        changelog = self.proposals_changelog[partition]
        state = changelog.get(partition_key(partition))
        folded = propose_batch(partition, self.partitions, state, changelog, entries, remedies)
        return self._write(changelog, partition, folded, crash, self.proposer_counts)

    def _write(
        self, changelog: dict[bytes, bytes], partition: int, folded: Folded, crash: Crash | None, counts: list[Counts]
    ) -> list[Output]:
        if crash is Crash.AFTER_FOLD:
            return []
        for output in folded.outputs:
            self._publish(output)
        if crash is Crash.AFTER_OUTPUTS:
            return folded.outputs
        rows = list(folded.rows.items())
        if crash is Crash.AFTER_SOME_ROWS:
            changelog.update(rows[:1])
            return folded.outputs
        changelog.update(rows)
        changelog[partition_key(partition)] = folded.partition_row
        counts.append(folded.counts)
        return folded.outputs

    # -- reading -----------------------------------------------------------------------------------
    def records(self, topic: str) -> Iterator[Stored]:
        """Yield every record of a topic, partition by partition."""
        for log in self.topics[topic]:
            yield from log

    def read(self, topic: str) -> list[Any]:
        """Return every message of a topic; use ``records`` for dead letters."""
        if topic == DEAD_LETTERS:
            raise ValueError("dead letters are not messages: use records()")
        found = []
        for record in self.records(topic):
            decoded = decode_record(topic, record)
            if isinstance(decoded, Rejected):
                raise AssertionError(f"{topic} has an unreadable record: {decoded}")
            found.append(decoded.message)
        return found

    def proposals(self) -> list[m.Proposal]:
        """Return the newest revision of each proposal, in the order in which the proposals were made."""
        newest: dict[str, m.Proposal] = {}
        for proposal in self.read(TOPIC_OF[m.Proposal]):
            known = newest.get(proposal.proposal_id)
            if known is None or proposal.revision > known.revision:
                newest[proposal.proposal_id] = proposal
        return list(newest.values())

    def rows(self) -> dict[bytes, bytes]:
        """Return all task rows by key."""
        return _rows(self.changelog)

    def proposal_rows(self) -> dict[bytes, bytes]:
        """Return all rows of the proposer by task key."""
        return _rows(self.proposals_changelog)

    def snapshot(self, agent_name: str, task_type: str) -> m.TaskSnapshot:
        """Return the current snapshot of a task; raise ``KeyError`` if nothing was applied to it."""
        key = TaskKey(agent_name, task_type).encode()
        partition = partition_of(key, self.partitions)
        changelog = self.changelog[partition]
        return snapshot(partition, changelog.get(partition_key(partition)), changelog[key], now=0)


def _rows(changelogs: list[dict[bytes, bytes]]) -> dict[bytes, bytes]:
    return {
        key: value
        for partition, changelog in enumerate(changelogs)
        for key, value in changelog.items()
        if key != partition_key(partition)
    }
