"""``crl window``: one task, its variants, their windows."""

from __future__ import annotations

from typing import Annotated

import typer

from crl_stream.cli.orders import Task
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import say, show, show_json, show_table
from crl_stream.errors import NotFound
from crl_stream.worker_views import ask, task_path


def window(
    context: typer.Context,
    task: Task,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="Only this one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a task's windows (S success, F failure, E error; the newest last), Q-values and decisions."""
    found = ask(context.obj.settings, task_path(task_key(task)))
    variants = [v for v in found["variants"] if variant in {None, v["variant_id"]}]
    if variant is not None and not variants:
        raise NotFound(f"{task} has no variant {variant}.", hint=f"crl window {task} lists them")
    if json:
        show_json(found | {"variants": variants})
        return
    active = found["active_variant"] or "nothing"
    show(f"{task}: {active} is active, epoch {found['epoch']}, {found['n_outcomes']} outcomes")
    for name in ("pinned", "held"):
        if order := found[name]:
            limits = (order["until"], (left := order["outcomes_left"]) is not None and f"{left} more outcomes")
            until = " and ".join(limit for limit in limits if limit)
            why = order["reason"] or "no reason given"
            say(f"{name} by {order['actor']} since {order['since']} until {until}: {why}")
    rows = [
        (
            ("* " if v["active"] else "  ") + v["variant_id"] + (" (quarantine)" if v["quarantined"] else ""),
            v["window"]["outcomes"],
            f"{v['window']['success_rate']:.0%}",
            f"{v['success_rate']:.0%}",
            v["n_visits"],
            f"{v['q_value']:.2f}",
            v["verdict"],
            v["decision"],
        )
        for v in variants
    ]
    show_table(
        ("variant", "window", "recent", "lifetime", "n", "Q", "verdict", "decision"),
        rows,
        empty="No variant is known yet.",
    )
    for v in variants:
        say(f"{v['variant_id']}: {v['reason']}. {v['reasoning']}.")
        if why := v.get("not_applied"):
            say(f"  not applied yet: {why}")
        if late := v.get("feedback_too_late"):
            what = "1 score" if late == 1 else f"{late} scores"
            say(f"  {what} came too late: the window no longer held {'its outcome' if late == 1 else 'their outcomes'}")
    as_of = found["as_of"]
    say(f"as of crl.invocations {as_of['partition']}:{as_of['offset']}, {found['timestamp']}")
