"""What became of a rollback: confirmed or undone, by whom and when, taken back, or replaced by a later change.

A rollback that shadow mode only reported is judged by what happened next.  Pure: the caller reads the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from crl_stream.core.messages import Activation, Adoption, CommandResult, Hindsight, RollbackEvent
from crl_stream.dashboard.adoption import followed

FATEFUL = (Activation, Adoption, CommandResult, Hindsight)
"""The messages of ``crl.decisions`` that can tell what became of a rollback."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event in the life of a rollback."""

    what: str
    """``adopted`` by the runtimes, ``confirmed``, ``undone``, ``taken back``, or ``followed`` by another change.

    For a rollback that shadow mode reported: ``right``, ``wrong``, or ``open`` if there were too few outcomes to tell.
    """
    actor: str
    timestamp: str
    reason: str
    id: str
    """The id of the command's result, of the activation, or of the judgement."""
    hindsight: Hindsight | None = None
    """The judgement with its figures, if the rollback was only reported."""


def status_of(event: RollbackEvent, fate: Iterable[Event]) -> str:
    """Return the fate in brief: ``undone by ada``, ``taken back``, ``not reviewed``, ``shadow: right``.

    ``shadow: not done`` means that the reported rollback has not been judged yet.
    """
    if not event.enforced:
        judged = [one.what for one in fate if one.hindsight is not None]
        return f"shadow: {judged[-1] if judged else 'not done'}"
    for what in ("undone", "confirmed"):
        for one in fate:
            if one.what == what:
                return f"{what} by {one.actor}"
    if any(one.what == "taken back" for one in fate):
        return "taken back"
    return "not reviewed"


def fates_of(
    events: Iterable[RollbackEvent], facts: Iterable[Any], confirmations: Mapping[str, str] | None = None
) -> dict[str, list[Event]]:
    """Return what happened to each of the rollbacks, by ``rollback_id`` and oldest first.

    ``facts`` are messages of ``crl.decisions``. ``confirmations`` is the rollback that each ``ConfirmRollback`` names,
    by ``command_id``; without it, the results of these commands tell it.
    """
    events = list(events)
    fates: dict[str, dict[str, Event]] = {event.rollback_id: {} for event in events}
    by_change = {(e.agent_name, e.task_type, e.epoch): e.rollback_id for e in events if e.enforced}
    aborted = {(e.agent_name, e.task_type, e.epoch): e.rollback_id for e in events if e.rollout_id}
    for message in facts:
        if isinstance(message, Hindsight):
            if message.rollback_id in fates:
                fates[message.rollback_id][message.hindsight_id] = event_of_hindsight(message)
            continue
        if isinstance(message, Adoption):
            rollback_id = by_change.get((message.agent_name, message.task_type, message.epoch))
            if rollback_id is not None:
                fates[rollback_id][message.adoption_id] = _adopted(message)
            continue
        found = _fate_in(message, confirmations, by_change, aborted)
        if found is not None and found[0] in fates:
            fates[found[0]][found[1].id] = found[1]
    return {name: sorted(found.values(), key=lambda one: one.timestamp) for name, found in fates.items()}


def _fate_in(
    message: Any,
    confirmations: Mapping[str, str] | None,
    by_change: dict[tuple[str, str, int], str],
    aborted: dict[tuple[str, str, int], str],
) -> tuple[str, Event] | None:
    if isinstance(message, CommandResult) and message.outcome == "applied":
        if message.command == "ConfirmRollback":
            # The detail of the result begins with the id: ``rb-... reviewed; v2 stays quarantined``.
            said = message.detail.split(" ", 1)[0]
            rollback_id = said if confirmations is None else confirmations.get(message.command_id)
            what = "confirmed"
        elif message.command == "UndoRollback":
            # Only the latest change can be undone: the one whose epoch precedes that of the undo.  If that change
            # aborted a rollout, undoing it begins no epoch.
            task = (message.agent_name or "", message.task_type or "")
            rollback_id = aborted.get((*task, message.epoch)) or by_change.get((*task, message.epoch - 1))
            what = "undone"
        else:
            return None
        if rollback_id is None:
            return None
        one = Event(
            what=what, actor=message.actor, timestamp=message.timestamp, reason=message.reason, id=message.result_id
        )
        return rollback_id, one
    if isinstance(message, Activation) and message.enforced and message.cause != "undo":
        rollback_id = by_change.get((message.agent_name, message.task_type, message.epoch - 1))
        if rollback_id is not None:
            why = f"{message.to_variant} became active ({message.cause}): {message.reasoning}"
            what = "taken back" if message.cause in {"rollback_verified_worse", "common_cause"} else "followed"
            return rollback_id, Event(
                what=what, actor="monitor", timestamp=message.timestamp, reason=why, id=message.activation_id
            )
    return None


def _adopted(message: Adoption) -> Event:
    return Event(
        what="adopted",
        actor="monitor",
        timestamp=message.timestamp,
        reason=followed(msgspec.to_builtins(message)),
        id=message.adoption_id,
    )


def event_of_hindsight(message: Hindsight) -> Event:
    """Return what a judgement of a reported rollback says."""
    figures = []
    if message.finding == "right":
        figures.append(f"{message.avoidable} of {message.bad} bad invocations avoidable")
    if message.caused:
        figures.append(f"{message.caused} more bad invocations with the rollback")
    return Event(
        what=message.finding,
        actor="monitor",
        timestamp=message.timestamp,
        reason="; ".join([message.reasoning, *figures]),
        id=message.hindsight_id,
        hindsight=message,
    )
