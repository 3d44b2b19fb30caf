"""``crl window``: one task, its variants, their windows, and why a better one is not applied yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.orders import Task
from crl_stream.cli.session import Session, task_key
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.core.candidacy import leaders, obstacles, sentence
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import TaskSnapshot
from crl_stream.core.policy import Policy
from crl_stream.errors import CrlError, NotFound
from crl_stream.policy_history import find_policies, known_policies
from crl_stream.worker_views import ask, task_path


def window(
    context: typer.Context,
    task: Task,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="Only this one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a task's windows (S success, F failure, E error; the newest last), Q-values and decisions.

    Below the table: what each variant's figures mean, and why one that leads is not applied yet.
    """
    key = task_key(task)
    found = ask(context.obj.settings, task_path(key))
    variants = [v for v in found["variants"] if variant in {None, v["variant_id"]}]
    if variant is not None and not variants:
        raise NotFound(f"{task} has no variant {variant}.", hint=f"crl window {task} lists them")
    waiting = _waiting(context.obj, key, found)
    if json:
        show_json(found | {"variants": variants, "not_applied": {name: why for name, (why, _) in waiting.items()}})
        return
    active = found["active_variant"] or "nothing"
    show(f"{task}: {active} is active, epoch {found['epoch']}, {found['n_outcomes']} outcomes")
    for words in standing_orders(found):
        show(words)
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
        if v["variant_id"] in waiting:
            show(f"{waiting[v['variant_id']][1]}.")
    as_of = found["as_of"]
    show(f"as of crl.invocations {as_of['partition']}:{as_of['offset']}, {found['timestamp']}")


def standing_orders(found: dict[str, Any]) -> Iterator[str]:
    """Who has pinned or held the task, or holds the fleet, until when and why."""
    fleet = found.get("fleet_held")
    held = found["held"]
    own = None if held is None or held.get("scope") == "fleet" else held
    for words, order in (("pinned by", found["pinned"]), ("held by", own), ("the fleet is held by", fleet)):
        if order is None:
            continue
        limits = (order["until"], (left := order["outcomes_left"]) is not None and f"{left} more outcomes")
        until = " and ".join(limit for limit in limits if limit)
        why = order["reason"] or "no reason given"
        yield f"{words} {order['actor']} since {order['since']} until {until}: {why}"


def _waiting(session: Session, key: TaskKey, found: dict[str, Any]) -> dict[str, tuple[list[str], str]]:
    """Of each variant that leads: what stands in its way, and the same as a sentence."""
    try:
        snapshot = msgspec.convert(found, TaskSnapshot)
    except msgspec.ValidationError:
        return {}  # a worker of another release; what it says itself is shown all the same
    ahead = leaders(snapshot)
    if not ahead:
        return {}
    policy = _policy_of(session, key, snapshot.policy_hash)
    if policy is None:
        unknown = f"the policy in force, {snapshot.policy_hash}, cannot be read from crl.commands"
        return {v.variant_id: ([unknown], f"{v.variant_id} leads; why it is not applied: {unknown}") for v in ahead}
    return {v.variant_id: (obstacles(snapshot, v, policy), sentence(snapshot, v, policy)) for v in ahead}


def _policy_of(session: Session, key: TaskKey, digest: str) -> Policy | None:
    policies = known_policies(session.settings, digest)
    if policies is None:
        try:
            policies = asyncio.run(find_policies(session.kafka, digest))
        except CrlError:
            return None  # the line says that it cannot be read; what was asked for is there
    return None if policies is None else policies.for_task(key)
