"""Finds what became of a rollback: confirmed or undone, by whom and when, taken back, or replaced by a later change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from crl_stream.core.messages import Activation, CommandResult, ConfirmRollback, RollbackEvent
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.wire.topics import COMMANDS, DECISIONS


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event in the life of a rollback."""

    what: str
    """``confirmed``, ``undone``, ``taken back``, or ``followed`` by another change of the active variant."""
    actor: str
    timestamp: str
    reason: str
    id: str
    """The id of the command's result, or of the activation."""


def status_of(event: RollbackEvent, fate: Iterable[Event]) -> str:
    """Return the fate in brief: ``undone by ada``, ``taken back``, ``not reviewed``, ``shadow: not done``."""
    if not event.enforced:
        return "shadow: not done"
    for what in ("undone", "confirmed"):
        for one in fate:
            if one.what == what:
                return f"{what} by {one.actor}"
    if any(one.what == "taken back" for one in fate):
        return "taken back"
    return "not reviewed"


async def read_fates(access: Access, events: Iterable[RollbackEvent]) -> dict[str, list[Event]]:
    """Return the events by rollback_id, oldest first, from ``crl.commands`` and ``crl.decisions``."""
    fates: dict[str, dict[str, Event]] = {event.rollback_id: {} for event in events}
    by_change = {(e.agent_name, e.task_type, e.epoch): e.rollback_id for e in events if e.enforced}
    confirmations: dict[str, str] = {}
    async with TopicReader(access) as reader:
        async for received in reader.each(COMMANDS):
            command = received.message
            if isinstance(command, ConfirmRollback) and command.rollback_id in fates:
                confirmations[command.command_id] = command.rollback_id
        async for received in reader.each(DECISIONS):
            found = _fate_in(received.message, confirmations, by_change)
            if found is not None:
                rollback_id, one = found
                fates[rollback_id][one.id] = one
    return {name: sorted(found.values(), key=lambda one: one.timestamp) for name, found in fates.items()}


def _fate_in(
    message: Any, confirmations: dict[str, str], by_change: dict[tuple[str, str, int], str]
) -> tuple[str, Event] | None:
    if isinstance(message, CommandResult) and message.outcome == "applied":
        if message.command == "ConfirmRollback":
            rollback_id, what = confirmations.get(message.command_id), "confirmed"
        elif message.command == "UndoRollback":
            # Only the latest change can be undone: the one whose epoch precedes that of the undo.
            change = (message.agent_name or "", message.task_type or "", message.epoch - 1)
            rollback_id, what = by_change.get(change), "undone"
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
