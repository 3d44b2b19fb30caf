"""``crl status``: every task at a glance."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crl_stream.cli.talk import say, show_json, show_table
from crl_stream.worker_views import ask, views_url


def status(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every task: active variant, epoch, what is wrong.  Asks a worker."""
    settings = context.obj.settings
    page = ask(settings, "/api/tasks")
    if json:
        show_json(page)
        return
    rows = [
        (
            f"{task['agent_name']}/{task['task_type']}",
            task["active_variant"],
            task["epoch"],
            "" if task["q_value"] is None else f"{task['q_value']:.2f}",
            task["n_outcomes"],
            task["variants"],
            _state(task),
        )
        for task in page["tasks"]
    ]
    columns = ("task", "active", "epoch", "Q", "outcomes", "variants", "state")
    show_table(columns, rows, empty="No task yet: nothing was published.")
    if page["partial"]:
        say(f"incomplete: no answer from {', '.join(page['silent'])}")
    say(f"from {views_url(settings)}/api/tasks")


def _state(task: dict[str, Any]) -> str:
    words = []
    if task["active_variant"] in task["degraded"]:
        words.append("DEGRADED, no target" if task["no_target"] else "DEGRADED")
    words += [word for word in ("held", "pinned") if task[word]]
    if task["quarantined"]:
        words.append(f"quarantine: {', '.join(task['quarantined'])}")
    return "; ".join(words) or "healthy"
