"""``crl explain``: why something happened, and what has happened since."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from crl_stream.cli.explain_text import page
from crl_stream.cli.talk import show, show_json
from crl_stream.explaining.reading import read_explanation


def explain(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID|AGENT/TASK",
            help="Id of a rollback (rb-), proposal (prop-), decision (dec-), activation (act-), alert (alert-), "
            "rollout (ro-), command (cmd-) or any other fact; or a task, for its latest rollback.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain a rollback, proposal, decision, activation, alert or command: figures, causes, and what followed.

    Reads topics and needs no worker. With web.trace_url_template, the judged outcomes are linked to their traces.
    """
    session = context.obj
    found = asyncio.run(read_explanation(session.connected, session.kafka, name))
    if json:
        show_json(found)
    else:
        show(page(found))
