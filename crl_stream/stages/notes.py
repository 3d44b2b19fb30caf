"""The tally stage: records of the topics of the tasks become notes in the one partition of ``crl.overview-events``.

It keeps nothing that must last: what it has noted already is in a ``Noted`` of the caller's, and losing that only
repeats notes, which the fold (``stages.overview``) recognises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

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
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode_record, encode
from crl_stream.wire.complaints import TIMESTAMP_HINT
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.records import Output, Record
from crl_stream.wire.topics import ALERTS, OVERVIEW_EVENTS, PROPOSALS, ROLLBACKS, TASKS

SOURCES: Final = (ROLLBACKS, ALERTS, PROPOSALS, TASKS)
"""The topics that are noted."""
NOTES_PARTITION: Final = 0
OWN_KINDS: Final = frozenset(("rollback_rate", "weekly_review"))
"""Alerts that the overview itself makes."""
FIGURES_MS: Final = 60_000
"""How long the Q-value and visits of a noted variant may lag behind while its task is busy, in the time of its log."""

Note = RollbackNote | AlertNote | ProposalNote | TaskNote

_ENOUGH: Final = GUIDE.default.degradation.min_recent
"""Outcomes without a success from which on an active variant is counted as degraded, before its window is full."""
_LIMITS: Final = GUIDE.default.auto_apply


class Noted:
    """The last note of each task that this process sent, of one partition of ``crl.tasks``.

    Make a new one at each assignment: what another process has noted in between is not in it.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, tuple[int, tuple[Any, ...], tuple[Any, ...]]] = {}
        self.waiting: dict[bytes, tuple[float, TaskNote]] = {}
        """Figures that were not told, and when they came, the longest ago first."""

    def is_news(self, key: bytes, note: TaskNote, *, busy: bool = True, now: float = 0.0) -> bool:
        """Whether the note says anything else than the last one; it then counts as sent.

        What the task is counted for goes out at once.  Figures alone move with every snapshot of a busy task: they go
        out once in ``FIGURES_MS``, and when they are the last ones: of a task that has fallen silent (not ``busy``), or
        by ``silent``.  ``now`` is when the note came, by any clock in seconds.
        """
        time, counted, figures = said_by(note)
        last = self._last.get(key)
        self.waiting.pop(key, None)
        if last is not None and last[1] == counted:
            if last[2] == figures:
                return False
            if busy and time - last[0] < FIGURES_MS:
                self.waiting[key] = now, note
                return False
        self._last[key] = (time, counted, figures)
        return True

    def silent(self, before: float) -> list[tuple[bytes, TaskNote]]:
        """The figures that wait since ``before`` or longer: no snapshot has come after them."""
        found = []
        for key, (came, note) in self.waiting.items():
            if came > before:
                break
            found.append((key, note))
        return found

    def sent(self, key: bytes, note: TaskNote) -> None:
        """Figures that waited are told; newer ones that have come meanwhile go on waiting."""
        if (waits := self.waiting.get(key)) is not None and waits[1] is note:
            del self.waiting[key]
            self._last[key] = said_by(note)


def said_by(note: TaskNote) -> tuple[int, tuple[Any, ...], tuple[Any, ...]]:
    """When a note was made, what its task is counted for, and its figures."""
    counted = (
        note.incarnation,
        note.active_variant,
        note.epoch,
        note.variants,
        note.no_target,
        note.no_rollback is None,
        {standing.variant_id for standing in note.high_confidence},
        {(standing.variant_id, standing.verdict) for standing in note.degraded},
    )
    standings = (*note.high_confidence, *note.degraded)
    figures = [(s.variant_id, s.q_value, s.n_visits, s.active, s.reason, s.not_applied) for s in standings]
    return from_text(note.timestamp), counted, (note.no_rollback, *figures)


def note_records(topic: str, partition: int, records: Sequence[Record], noted: Noted, now: float = 0.0) -> list[Output]:
    """The notes of some records of one of ``SOURCES``, in order; a dead letter for each that cannot be read.

    ``now`` is as for ``Noted.is_news``.
    """
    outputs: list[Output] = []
    for record in records:
        decoded = decode_record(topic, record)
        if isinstance(decoded, Rejected):
            outputs.append(dead_letter(record, topic, partition, decoded.reason, decoded.detail))
            continue
        message = decoded.message
        note = note_of(message)
        if note is None:
            continue
        if (fault := fault_of(note)) is not None:
            outputs.append(dead_letter(record, topic, partition, fault.reason, fault.detail))
            continue
        key = _key_of(note)
        if not isinstance(note, TaskNote) or noted.is_news(key, note, busy=_is_of_outcome(message), now=now):
            outputs.append(output_of(key, note))
    return outputs


def output_of(key: bytes, note: Note) -> Output:
    """A note as a record."""
    return Output(OVERVIEW_EVENTS, NOTES_PARTITION, key, encode(note))


def _is_of_outcome(snapshot: TaskSnapshot) -> bool:
    """Whether an outcome caused the snapshot; others are seldom: a tick, which comes after silence, or an order."""
    place = snapshot.as_of.offset
    return any(variant.window.offsets[-1:] == [place] for variant in snapshot.variants)


def fault_of(note: Note) -> Rejected | None:
    """What the schema of a note leaves open: that its instants are on a calendar, and its numbers in a row."""
    for name in ("timestamp", "expires_at"):
        text = getattr(note, name, None)
        try:
            if text is not None:
                from_text(text)
        except ValueError:
            return Rejected(reasons.BAD_TIMESTAMP, f"{name}: {TIMESTAMP_HINT}")
    position = getattr(note, "as_of", None) or getattr(note, "position", None)
    numbers = [] if position is None else [position.partition, position.offset]
    numbers += [s.n_visits for s in (*note.high_confidence, *note.degraded)] if isinstance(note, TaskNote) else []
    if any(abs(number) >= 2**63 for number in numbers):
        return Rejected(reasons.OUT_OF_RANGE, "a number is beyond what is allowed")
    return None


def _key_of(note: Note) -> bytes:
    if isinstance(note, AlertNote) and (note.agent_name is None or note.task_type is None):
        return note.subject.encode()
    return f"{note.agent_name}/{note.task_type}".encode()


def note_of(message: Any) -> Note | None:
    """The note of a message of ``SOURCES``; None for an alert that the overview made itself."""
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
        )
    assert isinstance(message, Alert)
    if message.kind in OWN_KINDS:
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
    )


def _failing(variant: VariantSnapshot) -> str:
    """Why a variant is counted as degraded: its open alert, or that it is active and has had no success yet."""
    if variant.degraded:
        return variant.reason
    window = variant.window
    if variant.active and window.size >= _ENOUGH and "S" not in window.outcomes:
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
