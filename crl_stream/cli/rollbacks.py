"""``crl rollbacks``: what was rolled back, and why."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from crl_stream.cli.talk import show_json, show_table
from crl_stream.core.messages import RollbackEvent
from crl_stream.topic_reader import TopicReader
from crl_stream.wire.topics import ROLLBACKS


def rollbacks(
    context: typer.Context,
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List rollbacks, newest first.  Reads the topic; needs no worker."""
    # After a crash one may be there twice, with the same id and bytes.
    found: dict[str, RollbackEvent] = {}
    for received in asyncio.run(TopicReader(context.obj.kafka).read(ROLLBACKS)):
        event = received.message
        if isinstance(event, RollbackEvent) and agent in {None, event.agent_name}:
            found[event.rollback_id] = event
    newest = sorted(found.values(), key=lambda e: (e.timestamp, e.rollback_id), reverse=True)[:limit]
    if json:
        show_json({"rollbacks": newest})
        return
    rows = [
        (
            event.timestamp,
            f"{event.agent_name}/{event.task_type}",
            f"{event.from_variant} -> {event.to_variant}",
            event.reason + ("" if event.enforced else " (shadow: not done)"),
            event.rollback_id,
        )
        for event in newest
    ]
    show_table(("when", "task", "change", "reason", "id"), rows, empty="Nothing was rolled back.")
