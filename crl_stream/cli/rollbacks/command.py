"""The group ``crl rollbacks``: what was rolled back, why, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.explain_text import page
from crl_stream.cli.rollbacks.source import newest_rollbacks
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.instant import from_text
from crl_stream.core.messages import RollbackEvent
from crl_stream.core.reach import past_words, touches_words
from crl_stream.errors import NotFound
from crl_stream.explaining.documents import Explanation
from crl_stream.explaining.fates import Event, status_of, undo_commands
from crl_stream.explaining.reading import read_explanation, read_fates
from crl_stream.kafka.session import KafkaSession
from crl_stream.proposals.standing import age_of
from crl_stream.settings.model import Kafka

app = typer.Typer(
    help="List rollbacks and who confirmed or undid them; `show ID` shows one with its evidence.",
    invoke_without_command=True,
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def rollbacks(
    context: typer.Context,
    agent: Annotated[str | None, typer.Option(help="Show only rollbacks of this agent.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many rollbacks, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List rollbacks, newest first, and who confirmed or undid them.

    Reads topics and needs no worker. Rollbacks of drills are listed only with --agent crl-drill.
    """
    if context.invoked_subcommand is not None:
        return
    newest, fates = asyncio.run(_list(context.obj.kafka, agent, limit))
    if json:
        show_json({"rollbacks": documents(newest, fates)})
        return
    now, undo = now_ms(), undo_commands(newest, fates)
    rows = [
        (
            event.rollback_id,
            event.timestamp,
            f"{event.agent_name}/{event.task_type}",
            f"{event.from_variant} -> {event.to_variant}",
            event.reason,
            _with_age(status_of(event, fates[event.rollback_id]), event, now),
            touches_words(event.touches),
            past_words(event.last_time),
            undo.get(event.rollback_id, ""),
        )
        for event in newest
    ]
    columns = ("id", "when", "task", "change", "reason", "review", "touches", "last time", "undo")
    show_table(columns, rows, empty="Nothing has been rolled back.")


def _with_age(status: str, event: RollbackEvent, now: int) -> str:
    """Return the status of a rollback, and how long one that was not reviewed has waited."""
    return f"{status} for {age_of(from_text(event.timestamp), now)}" if status == "not reviewed" else status


@app.command("show")
def show_rollback(
    context: typer.Context,
    rollback_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the rollback, as listed by crl rollbacks.")],
    json: Json = False,
) -> None:
    """Show one rollback: figures and limits, judged outcomes, evidence, candidates, and what became of it.

    The same as `crl explain ID`.
    """
    session = context.obj
    found = asyncio.run(read_explanation(session.connected, session.kafka, rollback_id))
    if found.kind != "rollback":
        hint = f"`crl rollbacks` lists the ids; `crl explain {rollback_id}` explains this one"
        raise NotFound(f"{rollback_id} is no rollback.", hint=hint)
    if json:
        show_json(_shown(found))
    else:
        show(page(found))


def _shown(found: Explanation) -> dict[str, Any]:
    """Return the rollback's message from the topic, with what became of it and the whole explanation."""
    limits = None if found.policy is None else found.policy.limits
    explanation = {name: value for name, value in msgspec.to_builtins(found).items() if name != "fact"}
    became = [
        {"what": step.what, "actor": step.actor, "timestamp": step.timestamp, "reason": step.words, "id": step.id}
        | ({} if step.detail is None else {"hindsight": step.detail})
        for step in found.since
        if step.id.partition("-")[0] not in {"rcpt", "ben"}
    ]
    return found.fact | {"review": found.review, "became": became, "limits": limits, "explanation": explanation}


def document(event: RollbackEvent, fate: Sequence[Event]) -> dict[str, Any]:
    """Return a rollback's message from the topic, with what became of the rollback."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return fields | {"review": status_of(event, fate), "became": [msgspec.to_builtins(one) for one in fate]}


def documents(newest: Sequence[RollbackEvent], fates: dict[str, list[Event]]) -> list[dict[str, Any]]:
    """Return the rollbacks with what became of them; ``undo`` is the command that would be accepted now, or null."""
    undo = undo_commands(newest, fates)
    return [document(one, fates[one.rollback_id]) | {"undo": undo.get(one.rollback_id)} for one in newest]


async def _list(kafka: Kafka, agent: str | None, limit: int) -> tuple[list[RollbackEvent], dict[str, list[Event]]]:
    async with KafkaSession(kafka) as session:
        newest = await newest_rollbacks(session, agent, limit)
        return newest, await read_fates(session, newest) if newest else {}
