"""``crl why-not``: why nothing happened to a task that looks bad, or to a variant that leads."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from crl_stream.cli.clock import now_ms
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import show, show_json
from crl_stream.cli.why_not_text import page
from crl_stream.explaining.why_not import read_why_not


def why_not(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="AGENT/TASK", help="The task, as agent_name/task_type.")],
    variant: Annotated[
        str | None, typer.Argument(metavar="[VARIANT]", help="Ask about this variant only.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show the conditions of every automatic step.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show why a bad variant is not rolled back, or a leading one not promoted: every condition, with its figures.

    Reads the task's row from Kafka and needs no worker. The first condition that is false is marked.
    """
    session, key = context.obj, task_key(task)
    found = asyncio.run(read_why_not(session.connected, session.kafka, key, now_ms(), variant))
    if json:
        show_json(found)
    else:
        show(page(found, every=every))
