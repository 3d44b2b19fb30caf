"""What the services' topics and tables must hold, by folding what they read as it stands on the broker."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from installation import Installation

from crl_stream.core import messages as m
from crl_stream.settings.remedies import load_remedies
from crl_stream.topic_reader import TopicReader
from crl_stream.topology.notes import SOURCES, Noted, note_records
from crl_stream.topology.overview import fold_notes
from crl_stream.topology.partition import decode_partition, partition_key
from crl_stream.topology.proposer import decode_snapshots, propose_batch
from crl_stream.wire.topics import OVERVIEW, OVERVIEW_EVENTS, PROPOSALS, TASKS


async def rows_of(installation: Installation, table: str) -> dict[int, dict[bytes, bytes]]:
    """The last record per key of each partition of a table's changelog."""
    plain = TopicReader(installation.kafka.model_copy(update={"topic_prefix": ""}))
    found: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    for received in await plain.read(installation.names.changelog(installation.app_id, table)):
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
    proposer = await rows_of(installation, "proposals")
    for partition, records in (await records_of(installation, TASKS)).items():
        row = decode_partition(proposer[partition].get(partition_key(partition)))
        if row.next_offset <= records[-1].offset:
            return False
    there = {(r.key, r.value) for r in (await records_of(installation, OVERVIEW_EVENTS))[0]}
    for topic in SOURCES:
        if topic == TASKS:
            continue  # not every snapshot is noted
        for partition, records in (await records_of(installation, topic)).items():
            wanted = note_records(topic, partition, records, Noted())
            if not {(o.key, o.value) for o in wanted} <= there:
                return False
    events = (await records_of(installation, OVERVIEW_EVENTS))[0]
    overview = (await rows_of(installation, "overview"))[0]
    state = decode_partition(overview.get(partition_key(0)))
    return bool(events) and state.next_offset > events[-1].offset


async def assert_services_equal_the_fold(installation: Installation) -> m.Overview:
    """Rows bit for bit, distinct proposals in their order, the page the one of all notes; returns the page."""
    partitions = installation.kafka.partitions
    rows, found = await rows_of(installation, "proposals"), await records_of(installation, PROPOSALS)
    for partition, records in (await records_of(installation, TASKS)).items():
        folded = propose_batch(partition, partitions, None, {}, decode_snapshots(records), load_remedies())
        key = partition_key(partition)
        assert {k: v for k, v in rows[partition].items() if k != key} == folded.rows
        assert rows[partition][key] == folded.partition_row
        wanted = [(o.key, o.value) for o in folded.outputs if o.topic == PROPOSALS]
        assert list(dict.fromkeys((r.key, r.value) for r in found[partition])) == wanted
    events = (await records_of(installation, OVERVIEW_EVENTS))[0]
    folded = fold_notes(None, {}, events)
    there = (await rows_of(installation, "overview"))[0]
    assert {k: v for k, v in there.items() if k != partition_key(0)} == folded.rows
    [page] = [o.value for o in folded.outputs if o.topic == OVERVIEW][-1:]
    shown = (await records_of(installation, OVERVIEW))[0][-1]
    assert shown.value == page
    overview: m.Overview = (await installation.messages(OVERVIEW))[-1]
    return overview
