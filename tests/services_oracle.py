"""Computes what the services' topics and tables must contain, by folding the topics that they read."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.overview.notes import note_of, said_by
from crl_stream.kafka.reader import TopicReader
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.stages.topology import FIRST, OVERVIEW_PAGE, PROPOSER, TALLY, Stage
from crl_stream.wire.topics import ALERTS, PROPOSALS, ROLLBACKS

[_PAGE] = OVERVIEW_PAGE.standing


async def rows_of(installation: Installation, stage: Stage) -> dict[int, dict[bytes, bytes]]:
    """Return the last record per key of each partition of a table's changelog."""
    plain = TopicReader(installation.kafka.model_copy(update={"topic_prefix": ""}))
    found: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    for received in await plain.read(installation.names.changelog(installation.app_id, stage.table.name)):
        found[received.record.partition][received.record.key] = received.record.value
    return found


async def records_of(installation: Installation, topic: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for received in await installation.records(topic):
        found[received.record.partition].append(received.record)
    return found


async def services_settled(installation: Installation, seconds: float = 60.0) -> None:
    """Wait until every snapshot is folded, every record is noted, and every note is folded."""
    async with asyncio.timeout(seconds):
        while not await _is_settled(installation):
            await asyncio.sleep(0.1)


async def _is_settled(installation: Installation) -> bool:
    proposer = await rows_of(installation, PROPOSER)
    for partition, records in (await records_of(installation, PROPOSER.source)).items():
        row = decode_partition(proposer[partition].get(partition_key(partition)))
        if row.next_offset <= records[-1].offset:
            return False
    there = {(r.key, r.value) for r in (await records_of(installation, OVERVIEW_PAGE.source))[0]}
    for topic in TALLY.sources:
        if topic == PROPOSER.source:
            continue  # not every snapshot is noted, but the last figures of every task are
        for partition, records in (await records_of(installation, topic)).items():
            wanted = note_records(topic, partition, records, SentNotes())
            if not {(o.key, o.value) for o in wanted} <= there:
                return False
    if await _last_figures(installation, PROPOSER.source) != await _last_figures(installation, OVERVIEW_PAGE.source):
        return False
    events = (await records_of(installation, OVERVIEW_PAGE.source))[0]
    overview = (await rows_of(installation, OVERVIEW_PAGE))[0]
    state = decode_partition(overview.get(partition_key(FIRST)))
    return bool(events) and state.next_offset > events[-1].offset


async def _last_figures(installation: Installation, topic: str) -> dict[tuple[str, str], Any]:
    """Return the figures in the newest snapshot, or the newest note, of every task."""
    newest: dict[tuple[str, str], m.TaskNote] = {}
    for message in await installation.messages(topic):
        note = note_of(message) if isinstance(message, m.TaskSnapshot) else message
        if isinstance(note, m.TaskNote):
            key = note.agent_name, note.task_type
            known = newest.get(key)
            if known is None or (known.incarnation, known.as_of.offset) <= (note.incarnation, note.as_of.offset):
                newest[key] = note
    return {key: said_by(note)[1:] for key, note in newest.items()}


async def assert_services_equal_the_fold(installation: Installation, seconds: float = 20.0) -> m.Overview:
    """Wait until rows, proposals and the page match what the fold produces, and return the page.

    A tick may publish a snapshot at any time, so what is read at one moment may not be folded yet.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return await _compare_with_the_fold(installation)
        except AssertionError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)


async def _compare_with_the_fold(installation: Installation) -> m.Overview:
    partitions = installation.kafka.partitions
    rows, found = await rows_of(installation, PROPOSER), await records_of(installation, PROPOSALS)
    for partition, records in (await records_of(installation, PROPOSER.source)).items():
        folded = propose_batch(partition, partitions, None, {}, decode_snapshots(records), load_remedies())
        key = partition_key(partition)
        assert {k: v for k, v in rows[partition].items() if k != key} == folded.rows
        assert rows[partition][key] == folded.partition_row
        wanted = [(o.key, o.value) for o in folded.outputs if o.topic == PROPOSALS]
        assert list(dict.fromkeys((r.key, r.value) for r in found[partition])) == wanted
    events = (await records_of(installation, OVERVIEW_PAGE.source))[0]
    possible = {
        (output.key, output.value)
        for topic in TALLY.sources
        for partition, records in (await records_of(installation, topic)).items()
        for record in records  # each record alone, as if nothing had been noted before
        for output in note_records(topic, partition, [record], SentNotes())
    }
    assert {(record.key, record.value) for record in events} <= possible, "a note has no source on any topic"
    folded = fold_notes(None, {}, events)
    there = (await rows_of(installation, OVERVIEW_PAGE))[0]
    assert {k: v for k, v in there.items() if k != partition_key(FIRST)} == folded.rows
    [page] = [o.value for o in folded.outputs if o.topic == _PAGE][-1:]
    shown = (await records_of(installation, _PAGE))[0][-1]
    assert shown.value == page
    overview: m.Overview = (await installation.messages(_PAGE))[-1]
    return overview


async def assert_services_settled(installation: Installation) -> None:
    """Wait for the monitor and the services, then compare the services with the fold."""
    await installation.settled()
    await services_settled(installation)
    await assert_services_equal_the_fold(installation)


async def assert_files_and_alerts_equal_the_topics(installation: Installation) -> None:
    """Check that the files agree with the topics, line for line, and that every alert was sent."""
    folder = installation.folder / "telemetry" / "crl"
    rollbacks = {e.rollback_id for e in await installation.messages(ROLLBACKS)}
    steps = {(p.proposal_id, p.status, p.revision) for p in await installation.messages(PROPOSALS)}
    alerts = {a.alert_id for a in await installation.messages(ALERTS)}
    async with asyncio.timeout(60):
        while len(lines(folder / "rollback_events.jsonl")) < len(rollbacks):
            await asyncio.sleep(0.1)
        while len(lines(folder / "variant_proposals.jsonl")) < len(steps):
            await asyncio.sleep(0.1)
        while not alerts <= {line["id"] for line in lines(installation.folder / "alerts.jsonl")}:
            await asyncio.sleep(0.1)
    written = [line["rollback_id"] for line in lines(folder / "rollback_events.jsonl")]
    assert sorted(written) == sorted(rollbacks)
    taken = [
        (line["proposal_id"], line["status"], line["revision"]) for line in lines(folder / "variant_proposals.jsonl")
    ]
    assert sorted(taken) == sorted(steps)
    assert {line["id"] for line in lines(installation.folder / "alerts.jsonl")} == alerts


def lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file that may not exist yet."""
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


async def start_all(installation: Installation, **settings: str) -> list[Any]:
    """Start the monitor and the services, and wait until they are ready.

    Snapshots are not delayed, so that every burst of outcomes ends with one.
    """
    channel = '[notifiers.ops]\nkind = "file"\npath = "alerts.jsonl"\n'
    (installation.folder / "channels.toml").write_text(channel, encoding="utf-8")
    workers = [
        installation.start_worker(
            ("-m", "crl_stream", "worker", "--role", role),
            limits_snapshot_seconds="0",
            review_schedule="* * * * *",
            config=str(installation.folder / "channels.toml"),
            **settings,
        )
        for role in ("monitor", "services")
    ]
    for worker in workers:
        await worker.ready()
    return workers
