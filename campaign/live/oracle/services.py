"""The services' topics and tables, compared with a fold of the topics they read."""

from __future__ import annotations

from typing import Any

from campaign.live.oracle.findings import Findings
from campaign.live.oracle.folds import Folds, compare_rows, newest_rows
from campaign.live.oracle.reading import Topic
from crl_stream.settings.remedies import load_remedies
from crl_stream.stages.overview import fold_notes
from crl_stream.stages.partition import partition_key
from crl_stream.stages.proposer import decode_snapshots, propose_batch
from crl_stream.stages.tally import SentNotes, note_records
from crl_stream.stages.topology import FIRST, OVERVIEW_PAGE, PROPOSER, TALLY

[_PAGE] = OVERVIEW_PAGE.standing


async def fold_services(topics: Topic, folds: Folds, findings: Findings) -> None:
    """Compare rows, notes and the page; ``folds`` compares the proposals along with the other outputs."""
    await _fold_proposals(topics, folds, findings)
    possible: set[Any] = set()
    notes = await topics.all(topics.names(OVERVIEW_PAGE.source), 0)
    there = {(note.key, note.value) for note in notes}
    for topic in TALLY.sources:
        for partition in folds.partitions:
            async for portion in topics.portions(topics.names(topic), partition):
                each = {
                    (o.key, o.value)
                    for record in portion
                    for o in note_records(topic, partition, [record], SentNotes())
                }
                possible |= each
                if topic != PROPOSER.source and (missing := each - there):
                    findings.complain("lost", len(missing), f"{topic} {partition}: not noted: {min(missing)}")
    if more := there - possible:
        findings.complain("foreign", len(more), f"a note about something that is not on any topic: {min(more)}")
    await _fold_page(topics, notes, findings)


async def _fold_proposals(topics: Topic, folds: Folds, findings: Findings) -> None:
    changelog, remedies = topics.names.changelog(topics.request.app_id, "proposals"), load_remedies()
    for partition in folds.partitions:
        rows: dict[bytes, bytes] = {}
        state = None
        async for portion in topics.portions(topics.names(PROPOSER.source), partition):
            folded = propose_batch(partition, len(folds.partitions), state, rows, decode_snapshots(portion), remedies)
            rows |= folded.rows
            state = folded.partition_row
            folds.want(folded.outputs)
        found = await newest_rows(topics, changelog, partition, PROPOSER.table, findings)
        wanted = rows | ({partition_key(partition): state} if state is not None else {})
        compare_rows(f"proposer {partition}", found, wanted, findings)


async def _fold_page(topics: Topic, notes: list[Any], findings: Findings) -> None:
    folded = fold_notes(None, {}, notes)
    changelog = topics.names.changelog(topics.request.app_id, "overview")
    found = await newest_rows(topics, changelog, FIRST, OVERVIEW_PAGE.table, findings)
    compare_rows(
        "overview", found, folded.rows | ({partition_key(FIRST): folded.partition_row} if notes else {}), findings
    )
    pages = [output.value for output in folded.outputs if output.topic == _PAGE]
    shown = [record.value for record in await topics.all(topics.names(_PAGE), 0)]
    if pages and pages[-1] not in shown:
        findings.complain("wrong_rows", 1, "no page that includes all notes was published")
    elif pages:
        findings.stale_last += shown[-1] != pages[-1]
