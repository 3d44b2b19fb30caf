"""Applies one note to the row that it is about; each function returns False if the note contained nothing new."""

from __future__ import annotations

from collections.abc import Sequence

from crl_stream.core.instant import from_text
from crl_stream.core.messages import AlertNote, ProposalNote, Standing, TaskNote
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.overview.rows import (
    INCIDENTS,
    MEMORY,
    MOMENTS,
    AlertEntry,
    Listed,
    ProposalEntry,
    TaskEntry,
    is_ended_by_task,
)


def take_task(row: TaskEntry, note: TaskNote) -> bool:
    """Apply the note of a task: the highest (incarnation, as_of.offset) wins, and alerts that it contradicts end."""
    version = (note.incarnation, note.as_of.offset)
    if version <= (row.log_incarnation, row.log_offset):
        return False
    time = from_text(note.timestamp)
    since = {variant.variant_id: variant.since for variant in row.degraded}
    row.log_incarnation, row.log_offset = version
    row.time, row.epoch, row.active = time, note.epoch, note.active_variant
    row.variants, row.no_target, row.no_rollback = note.variants, note.no_target, note.no_rollback
    # Anyone who can write the topic can repeat an id; the ranking needs each one once.
    row.unreviewed = list({one.rollback_id: one for one in note.unreviewed}.values())
    row.touches, row.last_time = note.touches, note.last_time
    row.high_confidence = _listed(note.high_confidence, {}, 0)
    row.degraded = _listed(note.degraded, since, time)
    for entry in row.alerts.values():
        if entry.note is not None and is_ended_by_task(entry.note, entry.time, entry.offset, row):
            entry.note = None
    return True


def _listed(standings: Sequence[Standing], since: dict[str, int], time: int) -> list[Listed]:
    once = {v.variant_id: v for v in standings}
    return [
        Listed(
            v.variant_id,
            v.q_value,
            v.n_visits,
            v.active,
            v.reason,
            from_text(v.since) if v.since else since.get(v.variant_id, time),
            v.verdict,
            v.decision,
            v.not_applied,
        )
        for v in once.values()
    ]


def take_proposal(row: TaskEntry, note: ProposalNote, now: int) -> bool:
    """Apply the note of a proposal: the highest revision wins; ``now`` is when the note was appended."""
    known = row.proposals.get(note.proposal_id)
    if known is not None and note.revision <= known.revision:
        return False
    kept = note if note.status in OPEN_STATUSES else None
    entry = ProposalEntry(note.revision, from_text(note.timestamp), from_text(note.expires_at), kept)
    if known is None and _is_forgotten(entry, now):
        return False
    row.proposals[note.proposal_id] = entry
    for proposal_id in [name for name, other in row.proposals.items() if _is_forgotten(other, now)]:
        del row.proposals[proposal_id]
    return True


def _is_forgotten(entry: ProposalEntry, now: int) -> bool:
    end = entry.time if entry.note is None else max(entry.time, entry.expires)
    return end <= now - MEMORY


def take_alert(row: TaskEntry, note: AlertNote, now: int) -> bool:
    """Apply the note of an alert: the latest about a (kind, subject) wins; ``now`` is when the note was appended."""
    if note.kind in MOMENTS:
        return False
    name = f"{note.kind} {note.subject}"
    known = row.alerts.get(name)
    time, offset = from_text(note.timestamp), -1 if note.position is None else note.position.offset
    if known is not None and (time, offset) <= (known.time, known.offset):
        return False
    is_open = note.severity == "critical" and not note.resolved and not is_ended_by_task(note, time, offset, row)
    entry = AlertEntry(time, offset, note if is_open else None)
    if known is None and _is_past(entry, now):
        return False
    row.alerts[name] = entry
    for other in [other for other, said in row.alerts.items() if _is_past(said, now)]:
        del row.alerts[other]
    return True


def _is_past(entry: AlertEntry, now: int) -> bool:
    return entry.time <= now - MEMORY and (entry.note is None or entry.note.kind in INCIDENTS)
