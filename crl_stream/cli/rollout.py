"""``crl rollout``: let a variant replace the active one in stages, and follow its progress."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.completing import complete_task, complete_variant
from crl_stream.cli.consequences import show_result, touches_of
from crl_stream.cli.orders import Actor, Epoch, Json, Reason, Task, Timeout, give_order, order
from crl_stream.cli.session import task_key
from crl_stream.cli.talk import show, show_json, show_table
from crl_stream.cli.tasks import require_known
from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.parts import Touches
from crl_stream.core.way_back import way_back
from crl_stream.errors import NotFound, UsageError
from crl_stream.kafka.commands import active_variant, home_of
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.wire.topics import TASKS

app = typer.Typer(help="Replace the active variant in stages, and show the progress.", no_args_is_help=True)


@app.command()
def start(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="The variant to roll out.", autocompletion=complete_variant)],
    stages: Annotated[
        str | None,
        typer.Option("--stages", help="Shares in percent, e.g. 5,25,50. Default: rollout.stages, else 5,25,50."),
    ] = None,
    outcomes: Annotated[
        int | None,
        typer.Option("--outcomes", min=1, help="Outcomes that each stage needs. Default: rollout.min_outcomes."),
    ] = None,
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Give a known variant a small share of the invocations, then more as long as it is not worse than the active one.

    After the last stage it becomes active. If it is degraded, all invocations use the active variant again, and the
    variant is quarantined.
    """
    shares = None if stages is None else _shares(stages)
    key, fields = task_key(task), dict[str, Any](variant_id=variant, stages=shares, min_outcomes=outcomes)
    give_order(context, m.StartRollout, key, epoch, reason, actor, timeout, json, **fields)


@app.command()
def status(
    context: typer.Context,
    task: Annotated[
        str | None,
        typer.Argument(metavar="[AGENT/TASK]", help="Only this task.", autocompletion=complete_task),
    ] = None,
    json: Json = False,
) -> None:
    """Show the rollouts in progress: stage, what both variants deliver, and what the next stage waits for.

    Reads topics and needs no worker.
    """
    key = None if task is None else task_key(task)
    found = asyncio.run(_read(context.obj.kafka, key))
    if key is not None and key not in found:
        raise NotFound(f"{key} is not known.", hint="crl status lists the tasks")
    rollouts = {name: snapshot.rollout for name, snapshot in sorted(found.items()) if snapshot.rollout is not None}
    if json:
        shown = [{"task": str(name), **msgspec.to_builtins(rollout)} for name, rollout in rollouts.items()]
        show_json({"rollouts": shown})
        return
    if not rollouts:
        show("No rollout is in progress.")
    for name, rollout in rollouts.items():
        for line in lines_of(str(name), rollout):
            show(line)
        rows = [
            _row(f"{rollout.variant_id} (candidate)", rollout.share, rollout.candidate),
            _row(f"{rollout.control_variant} (active)", 1.0 - rollout.share, rollout.control),
        ]
        show_table(("variant", "share", "outcomes", "success", "reward", "errors"), rows, empty="")


@app.command()
def pause(
    context: typer.Context,
    task: Task,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Keep a rollout at its stage until you resume it. It is still aborted if its candidate is degraded."""
    _order(context, m.PauseRollout, task, reason, actor, timeout, json)


@app.command()
def resume(
    context: typer.Context,
    task: Task,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Resume a paused rollout."""
    _order(context, m.ResumeRollout, task, reason, actor, timeout, json)


@app.command()
def promote(
    context: typer.Context,
    task: Task,
    full: Annotated[bool, typer.Option("--full", help="Skip the other stages: the candidate becomes active.")] = False,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Begin the next stage now, without waiting; after the last stage, the candidate becomes active."""
    _order(context, m.PromoteRollout, task, reason, actor, timeout, json, full=full)


@app.command()
def abort(
    context: typer.Context,
    task: Task,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """End a rollout: all invocations use the active variant again. The candidate is not quarantined."""
    _order(context, m.AbortRollout, task, reason, actor, timeout, json)


def lines_of(task: str, rollout: m.RolloutSnapshot) -> Iterator[str]:
    """Return lines that say how far a rollout has come and what it waits for."""
    stages = ", ".join(f"{100 * share:.3g} %" for share in rollout.stages)
    yield (
        f"{task}: {rollout.variant_id} gets {100 * rollout.share:.3g} % of the invocations "
        f"(stage {rollout.stage} of {len(rollout.stages)}: {stages})"
    )
    yield f"  started by {rollout.actor} at {rollout.since}; {rollout.rollout_id}"
    yield f"  the next stage waits for: {rollout.waits_for}"


def _row(variant: str, share: float, delivered: m.Delivered) -> tuple[str, ...]:
    figures = ("-", "-", "-")
    if delivered.n:
        figures = (f"{delivered.success_rate:.1%}", f"{delivered.avg_reward:.3f}", f"{delivered.error_rate:.1%}")
    return (variant, f"{100 * share:.3g} %", str(delivered.n), *figures)


def _shares(text: str) -> list[float]:
    """Return shares from 0 to 1; raises ``UsageError``."""
    try:
        shares = [float(part) / 100 for part in text.replace("%", "").split(",")]
    except ValueError:
        shares = []
    if not shares or not all(0.0 < share < 1.0 for share in shares) or len(shares) > 10:
        raise UsageError(f"{text!r} is not a list of shares.", hint="write percentages between 0 and 100: 5,25,50")
    return shares


async def _read(access: Access, key: TaskKey | None) -> dict[TaskKey, m.TaskSnapshot]:
    """Return the newest snapshot of every task, or of one."""
    found: dict[TaskKey, m.TaskSnapshot] = {}
    async with TopicReader(access) as reader:
        async for received in reader.each(TASKS, None if key is None else home_of(access, key)):
            snapshot = received.message
            if not isinstance(snapshot, m.TaskSnapshot) or (key is None and is_drill(snapshot.agent_name)):
                continue
            name = TaskKey(snapshot.agent_name, snapshot.task_type)
            known = found.get(name)
            if key in {None, name} and (known is None or _place(known) <= _place(snapshot)):
                found[name] = snapshot
    return found


def _place(snapshot: m.TaskSnapshot) -> tuple[int, int]:
    return snapshot.incarnation, snapshot.as_of.offset


def _order(
    context: typer.Context,
    kind: type[Any],
    task: str,
    reason: str,
    actor: str | None,
    timeout: float,
    json: bool,
    **fields: Any,
) -> None:
    """Send a command about the rollout in progress, and show the result."""
    key = task_key(task)

    async def find_and_order() -> tuple[m.CommandResult, str, Touches | None]:
        async with KafkaSession(context.obj.kafka) as kafka:
            await require_known(kafka, key)
            running = (await active_variant(kafka, key)).rollout
            if running is None:
                raise NotFound(
                    f"No rollout of {key} is in progress.", hint=f"crl rollout start {key} VARIANT begins one"
                )
            about = {"rollout_id": running.rollout_id, **fields}
            if kind is m.PromoteRollout:
                about["stage"] = running.stage
            result = await order(kafka, kind, key, epoch=None, reason=reason, actor=actor, timeout=timeout, **about)
            return result, running.variant_id, await touches_of(kafka, key)

    result, variant, touches = asyncio.run(find_and_order())
    show_result(result, touches, way_back(result.command, key, variant=variant), json=json)
