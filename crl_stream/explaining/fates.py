"""Reads what became of rollbacks from ``crl.commands`` and ``crl.decisions``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from crl_stream.core.messages import (
    Activation,
    Adoption,
    Benefit,
    CommandResult,
    ConfirmRollback,
    Hindsight,
    RollbackEvent,
)
from crl_stream.explaining.adoption import followed


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event in the life of a rollback."""

    what: str
    """``adopted`` by the runtimes, ``confirmed``, ``undone``, ``taken back``, or ``followed`` by another change.

    Whether it ``helped``, ``hurt`` or made ``no change``, or that this is ``open``: judged by later outcomes.

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


def undo_commands(events: Iterable[RollbackEvent], fates: Mapping[str, Iterable[Event]]) -> dict[str, str]:
    """Return the commands that undo rollbacks, by ``rollback_id``; without rollbacks that ``crl undo`` would refuse.

    It refuses all but a task's latest change.  A rollout that a person aborted since is not among the fates.
    """
    latest: dict[tuple[str, str], RollbackEvent] = {}
    for event in events:
        if event.enforced:
            task = (event.agent_name, event.task_type)
            latest[task] = max(event, latest.get(task, event), key=lambda one: one.epoch)
    return {
        event.rollback_id: event.undo_command
        for event in latest.values()
        if not any(one.what in {"undone", "taken back", "followed"} for one in fates[event.rollback_id])
    }


FATEFUL: Final = (Activation, Adoption, Benefit, CommandResult, Hindsight)
"""The messages of ``crl.decisions`` that can tell what became of a rollback."""


def fates_of(events: Iterable[RollbackEvent], facts: Iterable[Any]) -> dict[str, list[Event]]:
    """Return what became of each of the rollbacks, by ``rollback_id`` and oldest first.

    ``facts`` are messages of ``crl.decisions``; the commands themselves are not needed.
    """
    fates = Fates(events)
    for message in facts:
        fates.take(message)
    return fates.found()


class Fates:
    """Collects what became of some rollbacks, from the messages of ``crl.commands`` and then ``crl.decisions``.

    Without the commands, the results of confirmations tell which rollback each is about.
    """

    def __init__(self, events: Iterable[RollbackEvent]) -> None:
        events = list(events)
        self._found: dict[str, dict[str, Event]] = {event.rollback_id: {} for event in events}
        self._by_change = {(e.agent_name, e.task_type, e.epoch): e.rollback_id for e in events if e.enforced}
        self._aborted = {(e.agent_name, e.task_type, e.epoch): e.rollback_id for e in events if e.rollout_id}
        self._confirmations: dict[str, str] = {}

    def take(self, message: Any) -> None:
        """Take one message into account; commands must come before their results."""
        if isinstance(message, ConfirmRollback):
            if message.rollback_id in self._found:
                self._confirmations[message.command_id] = message.rollback_id
        elif isinstance(message, Hindsight):
            if message.rollback_id in self._found:
                self._found[message.rollback_id][message.hindsight_id] = judged(message)
        elif isinstance(message, Adoption | Benefit):
            rollback_id = self._by_change.get((message.agent_name, message.task_type, message.epoch))
            if rollback_id is not None:
                one = _adopted(message) if isinstance(message, Adoption) else _benefited(message)
                self._found[rollback_id][one.id] = one
        else:
            found = _fate_in(message, self._confirmations, self._by_change, self._aborted)
            if found is not None:
                rollback_id, one = found
                if rollback_id in self._found:
                    self._found[rollback_id][one.id] = one

    def found(self) -> dict[str, list[Event]]:
        """Return the events by rollback_id, oldest first."""
        return {name: sorted(found.values(), key=lambda one: one.timestamp) for name, found in self._found.items()}


def _fate_in(
    message: Any,
    confirmations: dict[str, str],
    by_change: dict[tuple[str, str, int], str],
    aborted: dict[tuple[str, str, int], str],
) -> tuple[str, Event] | None:
    rollback_id: str | None
    if isinstance(message, CommandResult) and message.outcome == "applied":
        if message.command == "ConfirmRollback":
            # The detail of the result begins with the id: ``rb-... reviewed; v2 stays quarantined``.
            said = message.detail.partition(" ")[0]
            rollback_id, what = confirmations.get(message.command_id, said), "confirmed"
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


def _benefited(message: Benefit) -> Event:
    return Event(
        what=message.finding.replace("_", " "),
        actor="monitor",
        timestamp=message.timestamp,
        reason=message.reasoning,
        id=message.benefit_id,
    )


def judged(message: Hindsight) -> Event:
    """Return how a rollback that was only reported was judged, with its figures."""
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
