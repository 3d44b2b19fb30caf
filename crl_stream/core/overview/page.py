"""Builds the page about the whole system from the totals and from the rows that the page lists."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.messages import (
    AlertNote,
    Overview,
    Position,
    ProposalNote,
    RollbackNote,
    TaskStanding,
    WaitingRollback,
)
from crl_stream.core.overview.ledger import Ledger
from crl_stream.core.overview.ranking import SHOWN, Rank
from crl_stream.core.overview.rows import Listed
from crl_stream.core.version import ENGINE_VERSION


def make_page(ledger: Ledger, partition: int) -> Overview:
    """Return the page as of the last note that changed it; ``partition`` is the partition of the notes."""
    totals = ledger.totals
    return Overview(
        timestamp=to_text(totals.page_time),
        as_of=Position(partition, totals.page_offset),
        incarnation=totals.page_incarnation,
        tasks=totals.tasks,
        agents=totals.agents,
        q_table_entries=totals.entries,
        rollback_times=[to_text(time) for time, _ in totals.enforced],
        rollbacks=[_rollback(ledger, note) for note in totals.recent],
        pending_proposals=totals.proposals.total,
        proposals=[_proposal(ledger, rank) for rank in totals.proposals.best[:SHOWN]],
        n_high_confidence=totals.high_confidence.total,
        high_confidence=[_standing(ledger, rank, "high_confidence") for rank in totals.high_confidence.best[:SHOWN]],
        n_degraded=totals.degraded.total,
        degraded=[_standing(ledger, rank, "degraded") for rank in totals.degraded.best[:SHOWN]],
        n_open_alerts=totals.alerts.total,
        open_alerts=[_alert(ledger, rank) for rank in sorted(totals.alerts.best[:SHOWN], key=lambda rank: rank[1:])],
        engine_version=ENGINE_VERSION,
        n_unreviewed=totals.unreviewed.total,
        unreviewed=[_unreviewed(ledger, rank) for rank in totals.unreviewed.best[:SHOWN]],
    )


def _rollback(ledger: Ledger, note: RollbackNote) -> RollbackNote:
    """Return the note of a rollback, with its undo command only while it is the latest change of its task."""
    task = ledger.task(TaskKey(note.agent_name, note.task_type).encode())
    return replace(note, undo_command=None) if task.epoch > note.epoch else note


def _proposal(ledger: Ledger, rank: Rank) -> ProposalNote:
    note = ledger.task(rank[2].encode()).proposals[rank[3]].note
    assert note is not None
    return note


def _alert(ledger: Ledger, rank: Rank) -> AlertNote:
    note = ledger.task(rank[2].encode()).alerts[rank[3]].note
    assert note is not None
    return note


def _unreviewed(ledger: Ledger, rank: Rank) -> WaitingRollback:
    task, row = TaskKey.parse(rank[2]), ledger.task(rank[2].encode())
    one = next(one for one in row.unreviewed if one.rollback_id == rank[3])
    return WaitingRollback(
        agent_name=task.agent_name,
        task_type=task.task_type,
        rollback_id=one.rollback_id,
        from_variant=one.from_variant,
        since=one.since,
    )


def _standing(ledger: Ledger, rank: Rank, name: Literal["high_confidence", "degraded"]) -> TaskStanding:
    task, row = TaskKey.parse(rank[2]), ledger.task(rank[2].encode())
    listed: list[Listed] = getattr(row, name)
    variant = next(variant for variant in listed if variant.variant_id == rank[3])
    return TaskStanding(
        agent_name=task.agent_name,
        task_type=task.task_type,
        variant_id=variant.variant_id,
        q_value=variant.q,
        n_visits=variant.n,
        active=variant.active,
        reason=variant.reason,
        since=to_text(variant.since) if variant.since else None,
        verdict=variant.verdict,
        decision=variant.decision,
        not_applied=variant.not_applied,
        no_rollback=row.no_rollback if variant.active else None,
        touches=row.touches if name == "degraded" else None,
        last_time=row.last_time if name == "degraded" else None,
    )
