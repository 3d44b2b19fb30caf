"""The notes that make up the overview: what a rollback, an alert, a proposal or a snapshot adds to it.

This module decides which variants count as highly confident and which as degraded.  ``note_of`` makes the note for a
message.  ``said_by`` separates what the totals depend on from the figures that change with every outcome.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from crl_stream.core.drills import is_drill
from crl_stream.core.instant import from_text
from crl_stream.core.messages import (
    Alert,
    AlertNote,
    Proposal,
    ProposalNote,
    RollbackEvent,
    RollbackNote,
    Standing,
    TaskNote,
    TaskSnapshot,
    VariantSnapshot,
)
from crl_stream.core.policy import GUIDE

Note = RollbackNote | AlertNote | ProposalNote | TaskNote

OWN_ALERTS: Final = frozenset(("rollback_rate", "weekly_review", "daily_review"))
"""Kinds of alerts that the overview itself raises."""
ENOUGH: Final = GUIDE.default.degradation.min_recent
"""An active variant without a success counts as degraded after this many outcomes, even if its window is not full."""
_LIMITS: Final = GUIDE.default.auto_apply


class Said(NamedTuple):
    """The contents of a task's note."""

    time: int
    """When the note was made, in milliseconds."""
    counted: tuple[Any, ...]
    """The part of the contents that the totals depend on."""
    figures: tuple[Any, ...]
    """Q-values and visits, which change with every outcome."""


def said_by(note: TaskNote) -> Said:
    """Return the contents of a note in a form that can be compared with another note."""
    counted = (
        note.incarnation,
        note.active_variant,
        note.epoch,
        note.variants,
        note.no_target,
        note.no_rollback is None,
        {standing.variant_id for standing in note.high_confidence},
        {(standing.variant_id, standing.verdict) for standing in note.degraded},
        [one.rollback_id for one in note.unreviewed],
    )
    standings = (*note.high_confidence, *note.degraded)
    figures = [(s.variant_id, s.q_value, s.n_visits, s.active, s.reason, s.not_applied) for s in standings]
    return Said(from_text(note.timestamp), counted, (note.no_rollback, *figures))


def is_of_outcome(snapshot: TaskSnapshot) -> bool:
    """Return whether an outcome caused the snapshot; the other causes are rare: a command, or a tick after silence."""
    place = snapshot.as_of.offset
    return any(variant.window.offsets[-1:] == [place] for variant in snapshot.variants)


def note_of(message: Any) -> Note | None:
    """Return the note for a rollback, alert, proposal or snapshot.

    Return None for an alert that the overview itself has raised, and for everything about a drill, because drills are
    not part of the fleet.
    """
    if is_drill(message.agent_name):
        return None
    if isinstance(message, TaskSnapshot):
        return _task_note(message)
    if isinstance(message, RollbackEvent):
        return RollbackNote(
            rollback_id=message.rollback_id,
            timestamp=message.timestamp,
            agent_name=message.agent_name,
            task_type=message.task_type,
            from_variant=message.from_variant,
            to_variant=message.to_variant,
            reason=message.reason,
            epoch=message.epoch,
            enforced=message.enforced,
            undo_command=message.undo_command if message.enforced else None,
            touches=message.touches,
            last_time=message.last_time,
        )
    if isinstance(message, Proposal):
        return ProposalNote(
            proposal_id=message.proposal_id,
            timestamp=message.history[-1].timestamp if message.history else message.timestamp,
            agent_name=message.agent_name,
            task_type=message.task_type,
            proposal_type=message.proposal_type,
            target_variant=message.target_variant,
            status=message.status,
            confidence=message.confidence,
            revision=message.revision,
            expires_at=message.expires_at,
            made=message.timestamp,
            touches=message.touches,
            last_time=message.last_time,
            undo_command=message.undo_command,
        )
    assert isinstance(message, Alert)
    if message.kind in OWN_ALERTS:
        return None
    return AlertNote(
        alert_id=message.alert_id,
        timestamp=message.timestamp,
        kind=message.kind,
        severity=message.severity,
        subject=message.subject,
        text=message.text,
        cause_id=message.cause_id,
        agent_name=message.agent_name,
        task_type=message.task_type,
        undo_command=message.undo_command,
        resolved=message.resolved,
        position=message.position,
        touches=message.touches,
        last_time=message.last_time,
    )


def _task_note(snapshot: TaskSnapshot) -> TaskNote:
    proven = [
        v
        for v in snapshot.variants
        if v.q_value >= _LIMITS.q_threshold
        and v.n_visits >= _LIMITS.min_samples
        and not (v.degraded or v.quarantined or v.retired)
    ]
    return TaskNote(
        agent_name=snapshot.agent_name,
        task_type=snapshot.task_type,
        timestamp=snapshot.timestamp,
        incarnation=snapshot.incarnation,
        as_of=snapshot.as_of,
        active_variant=snapshot.active_variant,
        epoch=snapshot.epoch,
        variants=len(snapshot.variants),
        high_confidence=[_standing(v) for v in sorted(proven, key=lambda v: (-v.q_value, -v.n_visits, v.variant_id))],
        degraded=[_standing(v, reason) for v in snapshot.variants if (reason := _failing(v))],
        no_target=snapshot.no_target,
        no_rollback=snapshot.no_rollback,
        unreviewed=snapshot.unreviewed,
        touches=snapshot.touches,
        last_time=next((one for one in snapshot.last_times if one.change == "rollback"), None),
    )


def _failing(variant: VariantSnapshot) -> str:
    """Return why a variant counts as degraded: it is degraded itself, or it is active and has no success."""
    if variant.degraded:
        return variant.reason
    window = variant.window
    if variant.active and window.size >= ENOUGH and "S" not in window.outcomes:
        return f"No success in the last {window.size} outcomes"
    return ""


def _standing(variant: VariantSnapshot, reason: str = "") -> Standing:
    return Standing(
        variant_id=variant.variant_id,
        q_value=variant.q_value,
        n_visits=variant.n_visits,
        active=variant.active,
        reason=reason,
        verdict=variant.verdict if variant.degraded else None,
        since=variant.degraded_since,
        decision=variant.decision,
        not_applied=variant.not_applied,
    )
