"""``crl demo``: the whole loop on a real broker, told line by line."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    context: typer.Context,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document a step; ends when the story is told.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Then the other loop: propose, review, try, promote, roll back, confirm.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End when the story is told, also on a terminal.")] = False,
) -> None:
    """A fleet of agents on a real broker: a variant collapses, is rolled back, and every runtime follows."""
    from crl_stream.cli.demo.story import run_demo

    raise typer.Exit(run_demo(context.obj, json=json, once=once, full=full))
