"""``crl demo``: the whole loop on a real broker, narrated line by line."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    context: typer.Context,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document per step, and exit after the story.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Add the second loop: propose, review, try, promote, roll back, confirm.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Exit after the story, even on a terminal.")] = False,
) -> None:
    """Show a fleet of agents on a real broker: a variant collapses, is rolled back, and every runtime follows."""
    from crl_stream.cli.demo.story import run_demo

    raise typer.Exit(run_demo(context.obj, json=json, once=once, full=full))
