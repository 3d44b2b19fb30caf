"""Folds the log once, from the beginning, through the pure layers, and compares the result with the topics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from campaign.live.oracle.findings import Findings
from campaign.live.oracle.reading import Topic
from campaign.live.oracle.recount import Place, Recount
from crl_stream.core.overview.notes import OWN_ALERTS
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.topology import INLET, MONITOR, PROPOSER, Goes, Table, outputs_of
from crl_stream.wire.codec import Rejected, decode
from crl_stream.wire.dead_letter import read_letter, read_mark
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ALERTS, DEAD_LETTERS, DECISIONS, PARTITION_ROW

OUTPUTS: Final = (*outputs_of(INLET, MONITOR), *PROPOSER.standing)
SHELL_KINDS: Final = OWN_ALERTS | {"data_gap"}
"""Kinds of alerts that do not follow from the log."""
JOINT: Final = frozenset(sink.topic for sink in MONITOR.sinks if sink.goes is Goes.FIRST)
"""Topics with one partition, to which all partitions of the log write; each keeps only its own order."""


class Folds:
    """Expected outputs by topic and partition, filled by the folds and compared at the end."""

    def __init__(self, topics: Topic, recount: Recount, findings: Findings) -> None:
        self.topics, self.recount, self.findings = topics, recount, findings
        self.partitions = range(topics.request.partitions)
        self.wanted: dict[tuple[str, int], list[Any]] = defaultdict(list)
        self.in_log: dict[int, set[Any]] = {partition: set() for partition in self.partitions}
        """Records that must be in the log: references and forwarded records."""

    async def run(self) -> None:
        """Fold the log, and compare everything that the monitor and the inlet write."""
        commands = await self._fold_commands()
        rows: dict[bytes, bytes] = {}
        for partition in self.partitions:
            rows |= await self._fold_log(partition, commands)
        self.recount.compare_rows(rows, self.findings)

    async def _fold_commands(self) -> dict[tuple[int, int], bytes | None]:
        found: dict[tuple[int, int], bytes | None] = {}
        for partition in self.partitions:
            async for portion in self.topics.portions(self.topics.names(INLET.source), partition):
                self.recount.take(INLET.source, partition, portion)
                found |= {(partition, record.offset): record.value for record in portion}
                self.want(reference_commands(partition, len(self.partitions), portion))
        return found

    async def _fold_log(self, partition: int, commands: dict[tuple[int, int], bytes | None]) -> dict[bytes, bytes]:
        """Fold a partition, and compare its rows; return the rows that are in the changelog."""
        key, state = partition_key(partition), None
        rows: dict[bytes, bytes] = {}
        there: set[Any] = set()
        count = 0
        async for portion in self.topics.log(self.topics.names(MONITOR.source), partition):
            count += len(portion)
            self.recount.take(MONITOR.source, partition, portion)
            entries = decode_batch(portion)
            named = {place: commands.get(place) for place in command_positions(entries)}
            folded = fold_batch(partition, len(self.partitions), state, rows, entries, named)
            rows |= folded.rows
            state = folded.partition_row
            self.want(folded.outputs)
            there |= {
                (r.key, r.value, tuple(r.headers)) for r in portion if r.headers or b'"command_ref"' in (r.value or b"")
            }
        self.in_log[partition] = there
        self.findings.records += count
        changelog = self.topics.names.changelog(self.topics.request.app_id)
        found = await newest_rows(self.topics, changelog, partition, MONITOR.table, self.findings)
        compare_rows(f"monitor {partition}", found, rows | ({key: state} if state is not None else {}), self.findings)
        return found

    def want(self, outputs: Iterable[Output]) -> None:
        """Add outputs that must be on the topics."""
        for output in outputs:
            what = (output.key, output.value, output.headers)
            self.wanted[output.topic, output.partition].append(
                what if output.topic == MONITOR.source else _identity(output.topic, output)
            )

    # -- comparisons -------------------------------------------------------------------------------
    async def compare(self) -> None:
        """Compare all output topics with the expected outputs, once everything is folded."""
        findings = self.findings
        letters: dict[Place, set[bytes | None]] = defaultdict(set)
        results: list[bytes] = []
        for partition in self.partitions:
            missing = set(self.wanted[MONITOR.source, partition]) - self.in_log[partition]
            if missing:
                findings.complain(
                    "lost", len(missing), f"missing in partition {partition} of the log: {min(missing, key=repr)}"
                )
        for topic in OUTPUTS:
            if topic in PROPOSER.standing and not self.topics.request.services:
                continue
            for partition in range(1) if topic in JOINT else self.partitions:
                records = [
                    r for r in await self.topics.all(self.topics.names(topic), partition) if self._is_folded(topic, r)
                ]
                found = [_identity(topic, record) for record in records]
                distinct = list(dict.fromkeys(found))
                findings.outputs += len(distinct)
                findings.same_id_duplicates += len(found) - len(distinct)
                self._compare(topic, partition, distinct)
                if topic == DEAD_LETTERS:
                    for _, value, _, source, place, offset in distinct:
                        letters[source, place, offset].add(value)
                elif topic == DECISIONS:
                    results += [value for _, value in distinct]
                elif topic in MONITOR.standing:
                    self._compare_last(topic, partition, records)
        self.recount.compare_letters(letters, findings)
        self.recount.compare_answers(results, findings)
        self.recount.compare_sent(findings)

    def _is_folded(self, topic: str, record: Any) -> bool:
        """Return whether a stage wrote the record, rather than a person or the worker around the stages."""
        if topic == DEAD_LETTERS:
            return read_mark(record.headers) is None
        if topic != ALERTS:
            return True
        decoded = decode(topic, record.value, record.key)
        kind = None if isinstance(decoded, Rejected) else decoded.message.kind
        self.findings.gaps += kind == "data_gap"
        return kind not in SHELL_KINDS

    def _compare(self, topic: str, partition: int, distinct: list[Any]) -> None:
        wanted, where = list(dict.fromkeys(self.wanted[topic, partition])), f"{topic} {partition}"
        there, should = set(distinct), set(wanted)
        if lost := should - there:
            self.findings.complain("lost", len(lost), f"{where}: missing: {min(lost, key=repr)}")
        if more := there - should:
            self.findings.complain("foreign", len(more), f"{where}: not from the fold: {min(more, key=repr)}")
        # Several stages write to the same partitions of dead letters, and each keeps only its own order.
        if topic != DEAD_LETTERS and topic not in JOINT and there == should and distinct != wanted:
            self.findings.complain("disordered", 1, f"{where}: the order differs from the log")

    def _compare_last(self, topic: str, partition: int, records: list[Any]) -> None:
        """Count keys whose last record is not the newest, which misleads only readers that start after a compaction."""
        last = {record.key: record.value for record in records}
        self.findings.stale_last += sum(
            last.get(key) != value for key, value in dict(self.wanted[topic, partition]).items()
        )


async def newest_rows(
    topics: Topic, changelog: str, partition: int, table: Table | None, findings: Findings
) -> dict[bytes, bytes]:
    """Return the rows of a changelog as recovery would: for each key the row with the newest position."""

    def place(key: bytes, value: bytes) -> tuple[int, int]:
        if key.startswith(PARTITION_ROW):
            state = decode_partition(value)
            return state.incarnation, state.next_offset
        assert table is not None
        return table.position(value)

    newest: dict[bytes, bytes] = {}
    late: set[bytes] = set()
    async for portion in topics.portions(changelog, partition):
        for record in portion:
            known = newest.get(record.key)
            if known is None or place(record.key, known) <= place(record.key, record.value):
                newest[record.key] = record.value
                late.discard(record.key)
            else:
                late.add(record.key)
    findings.late_rows += len(late)
    return newest


def compare_rows(where: str, found: dict[bytes, bytes], wanted: dict[bytes, bytes], findings: Findings) -> None:
    """Check that the rows ``found`` and ``wanted`` are equal, bit for bit."""
    findings.rows += len(wanted)
    wrong = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if wrong:
        findings.complain("wrong_rows", len(wrong), f"{where}: rows {wrong[:5]} differ from the fold")


def _identity(topic: str, record: Any) -> Any:
    if topic == DEAD_LETTERS:
        letter = read_letter(record.headers)
        return record.key, record.value, letter.reason, letter.topic, letter.partition, letter.offset
    return record.key, record.value
