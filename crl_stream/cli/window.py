"""``crl window``: show one task, its variants and windows, and why a better variant is not applied yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from crl_stream.cli.adoption import task_adoption
from crl_stream.cli.orders import Task
from crl_stream.cli.scorecards import task_scorecard
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.figures import counted
from crl_stream.errors import NotFound
from crl_stream.worker_views import ask, task_path


def window(
    context: typer.Context,
    task: Task,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="Only this variant.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a task's windows (S success, F failure, E error; newest last), Q-values and decisions.

    The lines below the table explain each variant's figures, and why a leading variant is not applied yet.
    """
    key = task_key(task)
    found = ask(context.obj.settings, task_path(key))
    variants = [v for v in found["variants"] if variant in {None, v["variant_id"]}]
    if variant is not None and not variants:
        raise NotFound(f"{task} has no variant {variant}.", hint=f"crl window {task} lists them")
    if json:
        show_json(found | {"variants": variants})
        return
    active = found["active_variant"] or "nothing"
    show(f"{task}: {active} is active, epoch {found['epoch']}, {counted(found['n_outcomes'], 'outcome')}")
    lines = (standing_orders, verification, common_cause, rollout, task_scorecard, task_adoption, judges)
    for words in (line for about in lines for line in about(found)):
        show(words)
    if why := found.get("no_rollback"):
        show(f"no rollback happens: {why}")
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
        show(f"{v['variant_id']}: {v['reason']}. {v['reasoning']}.")
        for line in guardrails(v):
            show(f"  {line}")
        if why := v.get("not_applied"):
            show(f"  not applied yet: {why}")
        if late := v.get("feedback_too_late"):
            what = "1 score" if late == 1 else f"{late} scores"
            show(
                f"  {what} came too late: the window no longer held {'its outcome' if late == 1 else 'their outcomes'}"
            )
    as_of = found["as_of"]
    show(f"as of crl.invocations {as_of['partition']}:{as_of['offset']}, {found['timestamp']}")


def judges(found: dict[str, Any]) -> Iterator[str]:
    """Return a line about each judge whose scores are brought to the scale of the task's first judge."""
    for judge in found.get("judges") or []:
        shifts = [(name, judge[f"{name}_shift"]) for name in ("quality", "reward")]
        words = [f"{name} {shift:+.3g}" for name, shift in shifts if shift]
        if words:
            yield f"scores of {judge['evaluator']} are shifted to the scale of the first judge: {', '.join(words)}"


def guardrails(variant: dict[str, Any]) -> Iterator[str]:
    """Return a line about each guardrail metric of a variant: its level, and what it is compared with."""
    for name, level in (variant.get("guardrails") or {}).items():
        if level["recent"] is None:
            continue
        against = "no baseline yet" if level["baseline"] is None else f"baseline {level['baseline']:.4g}"
        alert = "; an alert is open" if level["broken"] else ""
        yield f"{name} {level['recent']:.4g} over the last {counted(level['outcomes'], 'outcome')}, {against}{alert}"


def verification(found: dict[str, Any]) -> Iterator[str]:
    """Return a line about the latest rollback while it may still be taken back."""
    running = found.get("verification")
    if running is not None:
        so_far = f"{running['outcomes']} of {counted(running['outcomes_needed'], 'outcome')}"
        yield (
            f"{running['rollback_id']} is being verified: {so_far}; "
            f"it is taken back to {running['left_variant']} if they are worse"
        )


def rollout(found: dict[str, Any]) -> Iterator[str]:
    """Return a line about the rollout in progress."""
    running = found.get("rollout")
    if running is not None:
        yield (
            f"{running['variant_id']} is being rolled out: {100 * running['share']:.3g} % of the invocations, stage "
            f"{running['stage']} of {len(running['stages'])}; the next stage waits for: {running['waits_for']}"
        )


def standing_orders(found: dict[str, Any]) -> Iterator[str]:
    """Return lines that say who pinned or holds the task, or holds the fleet, why, and when that ends."""
    fleet = found.get("fleet_held")
    held = found["held"]
    own = None if held is None or held.get("scope") == "fleet" else held
    whole = "the fleet is held by"
    if fleet is not None and fleet.get("stops", "all") != "all":
        whole = "promotions are stopped in the whole fleet by"
    for words, order in (("pinned by", found["pinned"]), ("held by", own), (whole, fleet)):
        if order is None:
            continue
        limits = (order["until"], (left := order["outcomes_left"]) is not None and f"{left} more outcomes")
        until = " and ".join(limit for limit in limits if limit)
        why = order["reason"] or "no reason given"
        yield f"{words} {order['actor']} since {order['since']} until {until}: {why}"


def common_cause(found: dict[str, Any]) -> Iterator[str]:
    """Return a line about the task's incident: the provider or model that is failing, and how this ends."""
    failing = found.get("common_cause")
    if failing is not None:
        left = failing["outcomes_left"]
        yield (
            f"{failing['tag']} has been failing since {failing['since']} ({failing['incident_id']}): "
            f"{', '.join(failing['variants'])} fell together; they are neither replaced nor chosen automatically until "
            f"one recovers, until {failing['until']}, or for {left} more {'outcome' if left == 1 else 'outcomes'}; "
            f"crl resume {found['agent_name']}/{found['task_type']} ends this"
        )
