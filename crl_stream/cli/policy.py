"""``crl policy``: the policy that judges the fleet. ``apply`` changes it; starting a worker does not."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any, Final

import typer

from crl_stream.cli.consequences import show_consequences
from crl_stream.cli.orders import Actor, Reason
from crl_stream.cli.talk import say, show, show_json, show_table
from crl_stream.core.instant import to_text
from crl_stream.core.policy import GUIDE
from crl_stream.core.policy_difference import Difference, policy_differences
from crl_stream.core.reach import touched, touches_words
from crl_stream.core.way_back import way_back
from crl_stream.errors import UsageError
from crl_stream.kafka.commands import default_actor
from crl_stream.kafka.fleet_orders import EVERY_TASK
from crl_stream.kafka.fleet_policy import FleetPolicy, Ordered, differences_of, read_fleet_policy, send_policy, set_by
from crl_stream.kafka.session import KafkaSession
from crl_stream.settings import Settings

app = typer.Typer(help="Show, compare and apply the policy that judges the whole fleet.", no_args_is_help=True)

DIFFERENT = 3
FOLLOW_SECONDS = 10.0
"""Seconds that ``apply`` waits for running workers."""
FIRST: Final = "There was no policy before it: to change it, change your settings, then: crl policy apply"
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("show")
def show_policy(context: typer.Context, json: Json = False) -> None:
    """Show the policy in force, who set it and when, and how it differs from the guide."""
    fleet = asyncio.run(read_fleet_policy(context.obj.connected))
    found = policy_differences(GUIDE, fleet.policies)
    if json:
        show_json(_described(fleet) | {"settings": [{"setting": d.setting, "value": d.other} for d in found]})
        return
    if not fleet.exists:
        say("No policy yet: the first worker sends the one in its settings; `crl policy apply` sends yours.")
        return
    show(_line(fleet))
    rows = [(d.setting, _shown(d.other), _shown(d.one)) for d in found]
    show_table(("setting", "value", "guide"), rows, empty="It follows the guide to the letter.")


@app.command()
def diff(context: typer.Context, json: Json = False) -> None:
    """Compare the policy in force with your settings; exit code 3 if they differ."""
    settings = context.obj.connected
    fleet = asyncio.run(read_fleet_policy(settings))
    found = differences_of(settings, fleet.policies) if fleet.exists else []
    differs = bool(found) or not fleet.exists
    if json:
        show_json(_compared(fleet, settings, found))
    elif not fleet.exists:
        say("No policy yet: the first worker sends the one in its settings; `crl policy apply` sends yours.")
    else:
        _show_differences(fleet, found)
        say(
            "Run `crl replay` to try your settings on the log, and `crl policy apply` to apply them."
            if found
            else "Your settings are in force."
        )
    if differs:
        raise typer.Exit(DIFFERENT)


@app.command()
def apply(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    reason: Reason = "",
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Apply the policy in your settings to the whole fleet, after showing the changes.

    `crl replay` shows first what your settings would have decided about the outcomes that the topics still hold.
    """
    settings = context.obj.connected
    fleet = asyncio.run(read_fleet_policy(settings))
    found = differences_of(settings, fleet.policies) if fleet.exists else []
    if fleet.exists and not found:
        if json:
            show_json(_compared(fleet, settings, found) | {"applied": False})
        else:
            say(f"Nothing to do: policy {settings.policies.digest()} is already in force.")
        return
    if not json:
        _show_differences(fleet, found)
    if not yes:
        if json or not sys.stdin.isatty():
            raise UsageError("The policy of the whole fleet would change.", hint="add --yes, or run it on a terminal")
        typer.confirm(
            f"Judge the whole fleet by policy {settings.policies.digest()} from now on?", abort=True, err=True
        )
    told = actor or default_actor()
    pending = asyncio.run(_apply(settings, fleet, told, reason or "crl policy apply"))
    back = way_back("SetPolicy") if fleet.exists else FIRST
    if json:
        done = {"applied": True, "actor": told, "pending": pending, "touches": EVERY_TASK, "way_back": back}
        show_json(_compared(fleet, settings, found) | done)
        return
    say(f"policy {settings.policies.digest()} is set by {told}: {became(fleet, pending)}")
    show_consequences(touched(touches_words(EVERY_TASK)), back)


async def _apply(settings: Settings, before: FleetPolicy, actor: str, reason: str) -> list[int] | None:
    """Send the policy; return the partitions that have not folded it in time, or None if no worker has ever run."""
    async with KafkaSession(settings.kafka) as session:
        sent = await send_policy(session, settings.policies, actor=actor, reason=reason)
        return await follow_policy(settings, session, before, sent)


async def follow_policy(
    settings: Settings, session: KafkaSession, before: FleetPolicy, sent: Ordered
) -> list[int] | None:
    """Wait until running workers have folded the policy ``sent``; ``before`` is what was read before it.

    Return the partitions that have not folded it in time, or None if no worker has ever run.
    """
    if not before.rows:
        return None
    until = asyncio.get_running_loop().time() + FOLLOW_SECONDS
    while True:
        now = await read_fleet_policy(settings, session)
        pending = [p for p, row in now.rows.items() if row.commanded.get(now.home, -1) < sent.offset]
        if not pending or asyncio.get_running_loop().time() > until:
            return pending
        await asyncio.sleep(0.2)


def became(before: FleetPolicy, pending: list[int] | None) -> str:
    """Return a phrase about the partitions where a policy is in force, given what ``follow_policy`` returned."""
    if pending is None:
        return "it takes effect once a worker is running"
    if pending:
        listed = ", ".join(map(str, pending))
        return f"partitions {listed} will apply it once a worker reads them; `crl status` shows whether one does"
    return f"in force in all {len(before.rows)} partitions that have outcomes"


def _line(fleet: FleetPolicy) -> str:
    pending = f"; pending in partitions {', '.join(map(str, fleet.pending))}" if fleet.pending else ""
    return f"policy {fleet.policies.digest()}{set_by(fleet.actor, fleet.time)}{pending}"


def _show_differences(fleet: FleetPolicy, found: list[Difference]) -> None:
    if not fleet.exists:
        show("No policy is in force yet.")
        return
    show(_line(fleet))
    rows = [(d.setting, _shown(d.one), _shown(d.other)) for d in found]
    show_table(("setting", "in force", "yours"), rows, empty="No setting differs.")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _described(fleet: FleetPolicy) -> dict[str, Any]:
    return {
        "in_force": fleet.policies.digest() if fleet.exists else None,
        "set_by": fleet.actor or None,
        "set_at": to_text(fleet.time) if fleet.time else None,
        "reason": (fleet.ordered.reason if fleet.ordered else "") or None,
        "pending": fleet.pending,
    }


def _compared(fleet: FleetPolicy, settings: Settings, found: list[Difference]) -> dict[str, Any]:
    return {
        **_described(fleet),
        "yours": settings.policies.digest(),
        "differences": [{"setting": d.setting, "in_force": d.one, "yours": d.other} for d in found],
    }
