"""The last changes of a task by kind, and what became of them: what people read as "last time".

Of each kind, the last two are kept: while people review the latest one, the one before it is the "last time".
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.instant import to_text
from crl_stream.core.messages import LastTime
from crl_stream.core.messages.facts import AlertKind
from crl_stream.core.monitor.row import Past, TaskRow

_KEPT: Final = 2
_KIND_OF_CAUSE: Final = {
    "rollback": "rollback",
    "auto_apply": "promotion",
    "approval": "promotion",
    "rollout": "promotion",
    "command": "promotion",
}
"""The kind of change that an activation is, by its cause; the other causes end a change."""
_BACK: Final = {"rollback_verified_worse": "taken_back", "common_cause": "taken_back", "rollback": "rolled_back"}
"""What an activation does to the change before it, by its cause."""
KIND_OF_ALERT: Final[dict[AlertKind, str]] = {
    "degradation": "rollback",
    "rollback": "rollback",
    "rollback_taken_back": "rollback",
    "no_target": "rollback",
    "held_degradation": "rollback",
    "one_runtime": "rollback",
    "guardrail": "rollback",
    "common_cause": "rollback",
    "rollout_aborted": "rollback",
    "rollout_stalled": "promotion",
    "untested": "promotion",
}
"""The kind of change that an alert is about or leads to; other alerts are about none."""


def note_activation(row: TaskRow, to: str, cause: str, cause_id: str) -> None:
    """Remember the activation of ``to``, and what it means for the change before it; call this before it is made."""
    if row.active is None:
        return
    if (fate := _BACK.get(cause)) is not None:
        _settle(row, fate)
    if (kind := _KIND_OF_CAUSE.get(cause)) is not None:
        note(row, kind, cause_id, to, row.active, row.epoch + 1)


def note(row: TaskRow, kind: str, id_: str, to: str, from_variant: str | None = None, epoch: int = -1) -> None:
    """Remember a change; ``epoch`` is the one that it begins, -1 if it begins none."""
    same = [one for one in row.past if one.kind == kind][-_KEPT + 1 :]
    kept = [one for one in row.past if one.kind != kind or any(one is other for other in same)]
    row.past = [*kept, Past(kind, id_, row.time, from_variant, to, epoch)]


def note_review(row: TaskRow, id_: str, fate: str, actor: str) -> None:
    """Remember that a person has confirmed or undone the change with this id; what was settled before stays."""
    for one in row.past:
        if one.id == id_ and not one.fate:
            one.fate, one.actor = fate, actor


def note_undo(row: TaskRow, actor: str) -> None:
    """Remember that a person undoes the latest change; call this before it is undone."""
    _settle(row, "undone", actor)


def note_finding(row: TaskRow, epoch: int, variant_id: str, finding: str) -> None:
    """Remember whether the change that began ``epoch`` helped; the registration of its variant is judged by it too."""
    for one in row.past:
        if one.epoch == epoch or (one.kind == "registration" and one.to_variant == variant_id):
            one.finding = finding


def _settle(row: TaskRow, fate: str, actor: str = "") -> None:
    """Note what became of the change that made the active variant active; an aborted rollout begins an epoch too."""
    active = row.variants.get(row.active or "")
    for one in row.past:
        if active is not None and one.epoch == active.epoch:
            one.fate, one.actor = fate, actor


def last_time(row: TaskRow, kind: str, before: str = "") -> LastTime | None:
    """Return the task's last change of ``kind`` that is not ``before``; None if none is known."""
    found = next((one for one in reversed(row.past) if one.kind == kind and one.id != before), None)
    return None if found is None else told(found)


def told(one: Past) -> LastTime:
    """Return a remembered change as messages state it."""
    return LastTime(
        change=one.kind,  # type: ignore[arg-type]
        timestamp=to_text(one.time),
        to_variant=one.to_variant,
        from_variant=one.from_variant,
        id=one.id,
        fate=one.fate or None,  # type: ignore[arg-type]
        actor=one.actor or None,
        finding=one.finding or None,  # type: ignore[arg-type]
    )


def last_times(row: TaskRow) -> list[LastTime]:
    """Return the last change of each kind, oldest first."""
    last = {one.kind: one for one in row.past}
    return [told(one) for one in row.past if last[one.kind] is one]
