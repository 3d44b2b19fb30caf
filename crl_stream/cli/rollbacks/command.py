"""The group ``crl rollbacks``: what was rolled back, why, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.rollbacks.fates import read_fates
from crl_stream.cli.rollbacks.page import page
from crl_stream.cli.rollbacks.source import find_rollback, newest_rollbacks
from crl_stream.cli.session import Session
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import RollbackEvent
from crl_stream.core.policy import Policy
from crl_stream.dashboard.fates import Event, status_of
from crl_stream.kafka.policy_history import find_policies, known_policies
from crl_stream.kafka.session import KafkaSession
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
        show_json({"rollbacks": [document(event, fates[event.rollback_id]) for event in newest]})
        return
    rows = [
        (
            event.rollback_id,
            event.timestamp,
            f"{event.agent_name}/{event.task_type}",
            f"{event.from_variant} -> {event.to_variant}",
            event.reason,
            status_of(event, fates[event.rollback_id]),
        )
        for event in newest
    ]
    show_table(("id", "when", "task", "change", "reason", "review"), rows, empty="Nothing has been rolled back.")


@app.command("show")
def show_rollback(
    context: typer.Context,
    rollback_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the rollback, as listed by crl rollbacks.")],
    json: Json = False,
) -> None:
    """Show one rollback: figures and limits, judged outcomes, evidence, candidates, and what became of it."""
    event, fate, policy = asyncio.run(_look(context.obj, rollback_id))
    if json:
        limits = None if policy is None else msgspec.to_builtins(policy.degradation)
        show_json(document(event, fate) | {"limits": limits})
    else:
        show(page(event, fate, policy))


def document(event: RollbackEvent, fate: Sequence[Event]) -> dict[str, Any]:
    """Return a rollback's message from the topic, with what became of the rollback."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return fields | {"review": status_of(event, fate), "became": [msgspec.to_builtins(one) for one in fate]}


async def _list(kafka: Kafka, agent: str | None, limit: int) -> tuple[list[RollbackEvent], dict[str, list[Event]]]:
    async with KafkaSession(kafka) as session:
        newest = await newest_rollbacks(session, agent, limit)
        return newest, await read_fates(session, newest) if newest else {}


async def _look(crl: Session, rollback_id: str) -> tuple[RollbackEvent, list[Event], Policy | None]:
    async with KafkaSession(crl.kafka) as session:
        event = await find_rollback(session, rollback_id)
        fates = await read_fates(session, [event])
        return event, fates[rollback_id], await _policy_of(crl, session, event)


async def _policy_of(crl: Session, session: KafkaSession, event: RollbackEvent) -> Policy | None:
    policies = known_policies(crl.settings, event.policy_hash)
    if policies is None:
        policies = await find_policies(session, event.policy_hash)
    return None if policies is None else policies.for_task(TaskKey(event.agent_name, event.task_type))
