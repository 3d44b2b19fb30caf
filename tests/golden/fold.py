"""Folds the recorded hour through the stages, in batches of any size and with crashes between them.

Neither batches nor crashes change the results, except that some records occur twice after a crash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import cycle, pairwise
from typing import Any

from crl_stream.core import messages as m
from crl_stream.core.overview import daily_review, weekly_review
from crl_stream.settings import load_remedies
from crl_stream.stages import refill
from crl_stream.stages.driver import Crash, ProposerCrash, Stored, TopologyDriver
from crl_stream.stages.incidents import data_gap_alert
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.stages.topology import TALLY
from crl_stream.wire.codec import decode, encode
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, OVERVIEW, TAG_CONDITIONS

from .storage import REMEDIES, ROWS, Input, Line

PARTITIONS = 3
START = 1_763_562_600_000
"""The time at which the hour begins: 2025-11-19T14:30:00Z."""
LOOKS = 8
"""Number of times that the rows are recorded during the hour; a batch ends at each of these moments."""
CRASHES: Sequence[Crash | ProposerCrash] = (*Crash, *(ProposerCrash(point) for point in Crash))


class _Replay(TopologyDriver):
    """A driver whose log is already complete: forwarded records are collected, but not appended again."""

    def __init__(self) -> None:
        super().__init__(partitions=PARTITIONS, start=START, remedies=load_remedies(REMEDIES))
        self.forwarded: dict[int, list[Line]] = defaultdict(list)

    def append(self, topic: str, value: bytes | None, key: bytes | None, **given: Any) -> Stored:
        """Append a record to a topic; a record without a timestamp was written by the fold."""
        if given.get("timestamp") is not None:
            return super().append(topic, value, key, **given)
        if topic == INVOCATIONS:
            self.forwarded[given["partition"]].append(Line(key, value, given.get("headers", ())))
            return Stored(-1, START, key, value)
        # Batches and crashes change the order of records from different topics.  With one timestamp for all of them,
        # that order does not matter.
        return super().append(topic, value, key, **given | {"timestamp": START})

    def _announced(self) -> Sequence[Stored]:
        """Return nothing, because the commands of the hour already include the reports about tags."""
        return ()


def fold_hour(inputs: Sequence[Input], size: int, *, crashing: bool = False) -> dict[str, list[Line]]:
    """Fold the hour, ``size`` records at a time, and return all results; with ``crashing``, fold each batch twice."""
    driver, streams = _Replay(), dict[str, list[Line]]()
    crashes = cycle(CRASHES)
    for end, batch in _batches(inputs, size):
        for one in batch:
            if one.topic == ROWS:
                assert one.key is not None
                assert one.value is not None
                driver.changelog[one.partition][one.key] = one.value
                continue
            stored = driver.append(
                one.topic, one.value, one.key, partition=one.partition, headers=one.headers, timestamp=one.timestamp
            )
            assert stored.offset == one.offset
        if crashing:
            driver.pipe(next(crashes))
        driver.pipe()
        if end:
            streams |= _rows_of(driver, f"after {len(driver.topics[INVOCATIONS][0])} records of partition 0")
    streams |= topics_of(driver)
    streams |= {f"{INVOCATIONS} forwarded to {target}": lines for target, lines in driver.forwarded.items()}
    streams |= _inlet(inputs)
    streams |= _refill(driver)
    if not crashing:
        total = [sum(figures) for figures in zip(*driver.counts, strict=True)]
        streams["counts"] = [Line(None, repr(total).encode())]
    return streams | _overview(driver, size)


def _batches(inputs: Sequence[Input], size: int) -> Iterator[tuple[bool, Sequence[Input]]]:
    """Split the records into batches, and mark those after which the rows are recorded."""
    looks = [len(inputs) * number // LOOKS for number in range(LOOKS + 1)]
    for start, end in pairwise(looks):
        for at in range(start, end, size):
            yield at + size >= end, inputs[at : min(at + size, end)]


def _rows_of(driver: TopologyDriver, when: str) -> dict[str, list[Line]]:
    tables = {"monitor": driver.changelog, "proposer": driver.proposals_changelog}
    return {
        f"rows of the {stage} in partition {partition} {when}": [Line(*row) for row in sorted(changelog.items())]
        for stage, changelogs in tables.items()
        for partition, changelog in enumerate(changelogs)
    }


def topics_of(driver: TopologyDriver) -> dict[str, list[Line]]:
    """Return everything the stages have written to their topics."""
    return {
        f"{topic} partition {partition}": _in_order(topic, [Line(r.key, r.value, r.headers) for r in log])
        for topic, logs in driver.topics.items()
        if topic not in (INVOCATIONS, COMMANDS)
        for partition, log in enumerate(logs)
        if log
    }


def _in_order(topic: str, lines: list[Line]) -> list[Line]:
    """Return the lines; those of ``crl.tags`` sorted, because all partitions of the log write them to one."""
    return sorted(lines, key=lambda line: line.value or b"") if topic == TAG_CONDITIONS else lines


def _inlet(inputs: Sequence[Input]) -> dict[str, list[Line]]:
    """Return what the inlet writes for the commands: references and dead letters."""
    streams: dict[str, list[Line]] = defaultdict(list)
    for one in inputs:
        if one.topic == COMMANDS:
            for output in reference_commands(one.partition, PARTITIONS, [Stored(*one[2:])]):
                name = f"inlet of partition {one.partition} to {output.topic} partition {output.partition}"
                streams[name].append(Line(output.key, output.value, output.headers))
    return streams


def _refill(driver: TopologyDriver) -> dict[str, list[Line]]:
    """Return the records of the compacted topics, rebuilt from the rows."""
    streams = {}
    for partition, (tasks, proposals) in enumerate(zip(driver.changelog, driver.proposals_changelog, strict=True)):
        found = [
            *refill.tasks(partition, tasks[partition_key(partition)], sorted(tasks.items())),
            *refill.proposals(partition, sorted(proposals.items())),
        ]
        streams[f"refill of partition {partition}"] = [Line(output.key, output.value) for output in found]
    return streams


def _overview(driver: TopologyDriver, size: int) -> dict[str, list[Line]]:
    """Return the notes of all topics in order of time, and the overview's rows, its alerts and its last page."""
    notes = []
    for topic in TALLY.sources:
        for partition, log in enumerate(driver.topics[topic]):
            distinct = dict.fromkeys((record.key, record.value) for record in log)
            records = [Stored(offset, START, *pair) for offset, pair in enumerate(distinct)]
            for output in note_records(topic, partition, records, SentNotes()):
                assert output.value is not None
                message = decode(output.topic, output.value, output.key).message  # type: ignore[union-attr]
                notes.append((message.timestamp, len(notes), output))
    notes.sort(key=lambda note: note[:2])
    log = [Stored(at, START + 1_000 * at, output.key, output.value) for at, (_, _, output) in enumerate(notes)]
    rows: dict[bytes, bytes] = {}
    partition_row, alerts, page = None, [], b""
    for at in range(0, len(log), size):
        folded = fold_notes(partition_row, rows, log[at : at + size])
        rows |= folded.rows
        partition_row = folded.partition_row
        # Keep only the last page, because the number of pages depends on the batches.
        page = next((o.value or b"" for o in folded.outputs if o.topic == OVERVIEW), page)
        alerts += [Line(o.key, o.value, o.headers) for o in folded.outputs if o.topic != OVERVIEW]
    shown: m.Overview = decode(OVERVIEW, page, b"overview").message  # type: ignore[union-attr]
    daily = daily_review(shown, START, START + 2 * 86_400_000, (1.0, 3.0, 7.0))
    assert partition_row is not None
    assert daily is not None
    return {
        "notes of the tally": [Line(record.key, record.value) for record in log],
        "rows of the overview": [*(Line(*row) for row in sorted(rows.items())), Line(b"!", partition_row)],
        "alerts of the overview": alerts,
        "page of the overview": [Line(b"overview", page)],
        "alerts of the services": [
            Line(None, encode(weekly_review(shown, START + 7 * 86_400_000))),
            Line(None, encode(daily)),
            Line(None, encode(data_gap_alert(1, 5, 9, START, decode_partition(driver.changelog[1][partition_key(1)])))),
        ],
    }
