"""``crl quarantine``: the variants that were rolled back and are waiting for an operator."""

from __future__ import annotations

from typing import Annotated

import typer

from crl_stream.cli.orders import Actor, Json, Reason, Task, Timeout, give_order
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import show_json, show_table
from crl_stream.core import messages as m
from crl_stream.worker_views import ask

app = typer.Typer(help="List variants in quarantine, or release one.", no_args_is_help=True)


@app.command("list")
def list_quarantined(context: typer.Context, json: Json = False) -> None:
    """List quarantined variants by task."""
    page = ask(context.obj.settings, "/api/tasks")
    found = [
        {"task": f"{t['agent_name']}/{t['task_type']}", "variant_id": variant, "active_variant": t["active_variant"]}
        for t in page["tasks"]
        for variant in t["quarantined"]
    ]
    if json:
        show_json({"quarantined": found, "partial": page["partial"]})
        return
    rows = [(f["task"], f["variant_id"], f["active_variant"]) for f in found]
    show_table(("task", "in quarantine", "active instead"), rows, empty="Nothing is in quarantine.")


@app.command()
def lift(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="The variant.")],
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Lift the quarantine of a variant, so that it can be chosen again."""
    give_order(context, m.LiftQuarantine, task_key(task), None, reason, actor, timeout, json, variant_id=variant)
