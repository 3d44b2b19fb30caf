"""``crl audit``: who did what, when and why. Covers people's commands, their results and the monitor's own changes.

It reads only the topics, and keeps only the newest entries, so memory does not grow with the topics.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
import typer

from crl_stream.cli.session import task_key
from crl_stream.cli.talk import show_json, show_table
from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.kafka.commands import active_variant, home_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.settings.model import Kafka
from crl_stream.wire.topics import COMMANDS, DECISIONS, ROLLBACKS

MONITOR: Final = "monitor"
"""The actor shown for changes that no person commanded."""
_ORDERED: Final = frozenset(("command", "undo", "approval"))
"""Causes of activations that need no entry, because the result of a command already reports them."""


class Entry(msgspec.Struct, kw_only=True):
    """An action that was taken, or a command that has no result yet."""

    timestamp: str
    task: str | None
    """The task that the action is about; None for the whole fleet."""
    actor: str
    action: str
    outcome: str
    """What became of the action: ``applied``, ``refused``, ``done``, ``shadow`` or ``unanswered``."""
    detail: str
    reason: str
    id: str
    partitions: int = 1
    """Number of partitions that have answered a command for the whole fleet."""


class Newest:
    """The newest entries of the audit, up to a limit, each once; of one actor, if it is given.

    The actor of a page is ``web:NAME``, and ``NAME`` alone means this person too, wherever they acted.
    """

    def __init__(self, limit: int, actor: str | None = None) -> None:
        self.limit = limit
        self._people = None if actor is None else {actor, f"web:{actor}"}
        self._heap: list[tuple[str, str]] = []
        self._entries: dict[str, Entry] = {}

    def take(self, entry: Entry) -> None:
        """Keep the entry while it is one of the newest; an entry with a known id is ignored."""
        if entry.id in self._entries or (self._people is not None and entry.actor not in self._people):
            return
        place = (entry.timestamp, entry.id)
        if len(self._heap) >= self.limit:
            if place <= self._heap[0]:
                return
            _, gone = heapq.heapreplace(self._heap, place)
            del self._entries[gone]
        else:
            heapq.heappush(self._heap, place)
        self._entries[entry.id] = entry

    def get(self, name: str) -> Entry | None:
        """Return the entry with this id, or None if it is not kept."""
        return self._entries.get(name)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries, newest first."""
        for _, name in sorted(self._heap, reverse=True):
            yield self._entries[name]


def audit(
    context: typer.Context,
    task: Annotated[
        str | None,
        typer.Argument(metavar="[AGENT/TASK]", help="Show only this task, and commands for the whole fleet."),
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option("--actor", help="Show only what this person did, in terminals and on pages."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Show at most this many entries, newest first.")
    ] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who did what, when and why, newest first: commands, their results, automatic changes.

    A drill is shown only if its task is named.
    """
    key = None if task is None else task_key(task)
    found = list(asyncio.run(_read(context.obj.kafka, key, limit, actor)))
    if json:
        show_json({"audit": found})
        return
    rows = [(e.timestamp, e.actor, e.action, e.outcome, e.task or "the fleet", e.detail, e.reason, e.id) for e in found]
    columns = ("when", "who", "what", "outcome", "task", "detail", "why", "id")
    about = ("" if key is None else f" on {key}") + ("" if actor is None else f" by {actor}")
    show_table(columns, rows, empty=f"No action{about} is recorded yet.")


async def _read(kafka: Kafka, key: TaskKey | None, limit: int, actor: str | None) -> Newest:
    """Return the entries; raise ``NotFound`` if they are about one task, of which nothing is known."""
    async with KafkaSession(kafka) as session:
        found = await read_audit(session, key, limit, actor)
        if key is not None and all(entry.task is None for entry in found):
            await active_variant(session, key)
        return found


async def read_audit(access: Access, key: TaskKey | None, limit: int, actor: str | None = None) -> Newest:
    """Return the newest ``limit`` entries of one task, or of all tasks; of one ``actor``, if it is given."""
    orders, found, answered = Newest(limit, actor), Newest(limit, actor), set[str]()
    home = None if key is None else home_of(access, key)
    async with TopicReader(access) as reader:
        async for received in reader.each(COMMANDS, home):
            if isinstance(received.message, m.Command) and _concerns(received.message, key):
                orders.take(_order(received.message))
        async for received in reader.each(DECISIONS, home):
            if not _concerns(received.message, key):
                continue
            if isinstance(received.message, m.CommandResult):
                if orders.get(received.message.command_id) is not None:
                    answered.add(received.message.command_id)
                _take_result(found, received.message)
            elif isinstance(received.message, m.Activation) and _says_something_new(received.message):
                found.take(_activation(received.message))
            elif isinstance(received.message, m.RolloutStep) and _says_something_new(received.message):
                found.take(_rollout_step(received.message))
        async for received in reader.each(ROLLBACKS, home):
            if isinstance(received.message, m.RollbackEvent) and _concerns(received.message, key):
                found.take(_rollback(received.message))
    for order in orders:
        if order.id not in answered:
            found.take(order)
    return found


def _concerns(message: Any, key: TaskKey | None) -> bool:
    if message is None:
        return False
    task = getattr(message, "agent_name", None), getattr(message, "task_type", None)
    if key is None:
        return not is_drill(task[0])  # drills that cron runs would soon push out everything else
    return task in {(None, None), tuple(key)}


def _says_something_new(fact: m.Activation | m.RolloutStep) -> bool:
    """Return whether a fact needs an entry; it does not if a command result, a rollback or an activation says more."""
    if isinstance(fact, m.RolloutStep):
        return fact.actor == MONITOR and fact.rollback_id is None and fact.step != "completed"
    return fact.cause not in _ORDERED and fact.cause != "rollback"


def _task_of(message: Any) -> str | None:
    agent_name = getattr(message, "agent_name", None)
    return None if agent_name is None else f"{agent_name}/{message.task_type}"


def _order(command: m.Command) -> Entry:
    until = f", valid until {command.expires_at}" if command.expires_at else ""
    return Entry(
        timestamp=command.timestamp,
        task=_task_of(command),
        actor=command.actor,
        action=type(command).__name__,
        outcome="unanswered",
        detail=f"no worker has answered{until}",
        reason=command.reason,
        id=command.command_id,
    )


def _take_result(found: Newest, result: m.CommandResult) -> None:
    whole_fleet = result.agent_name is None
    name = result.command_id if whole_fleet else result.result_id
    known = found.get(name)
    if known is not None and whole_fleet:
        known.partitions += 1
        if known.outcome != result.outcome:
            known.outcome = "applied"
        known.detail = (
            f"{result.detail.partition(': ')[0].partition(' in partition')[0]} in {known.partitions} partitions"
        )
        return
    found.take(
        Entry(
            timestamp=result.timestamp,
            task=_task_of(result),
            actor=result.actor,
            action=result.command,
            outcome=result.outcome,
            detail=result.detail,
            reason=result.reason,
            id=name,
        )
    )


def _activation(activation: m.Activation) -> Entry:
    change = f"{activation.from_variant or 'nothing'} -> {activation.to_variant}, {activation.cause}"
    what = f"activated {activation.to_variant}"
    return _automatic(activation, activation.activation_id, what, change, activation.reasoning)


def _rollout_step(step: m.RolloutStep) -> Entry:
    """Build an entry for an automatic step of a rollout; steps commanded by people have command results instead."""
    return Entry(
        timestamp=step.timestamp,
        task=_task_of(step),
        actor=MONITOR,
        action=f"rollout {step.step.replace('_', ' ')}",
        outcome="done",
        detail=f"{step.variant_id} gets {100 * step.share:.3g} %",
        reason=step.reasoning,
        id=step.step_id,
    )


def _rollback(event: m.RollbackEvent) -> Entry:
    change = f"{event.from_variant} -> {event.to_variant}"
    return _automatic(event, event.rollback_id, f"rolled back {event.from_variant}", change, event.reason)


def _automatic(fact: m.Activation | m.RollbackEvent, name: str, action: str, detail: str, reason: str) -> Entry:
    """Build an entry for what the monitor did on its own, or would have done in shadow mode."""
    return Entry(
        timestamp=fact.timestamp,
        task=_task_of(fact),
        actor=MONITOR,
        action=action,
        outcome="done" if fact.enforced else "shadow",
        detail=detail,
        reason=reason,
        id=name,
    )
