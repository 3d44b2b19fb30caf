"""The commands of an operator: undo, confirm, pin, unpin, hold, resume, activate, register, retire.

Each is sent to ``crl.commands`` with the epoch it is meant for, so it cannot change a newer state than the operator
saw. Each waits for the monitor's result. A command for an unknown task is refused, because a mistyped name would create
a task permanently; only ``register`` is exempt.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_stream.cli.completing import complete_task, complete_variant
from crl_stream.cli.consequences import show_result, touches_of
from crl_stream.cli.fleet import order_fleet
from crl_stream.cli.rollbacks.source import find_rollback
from crl_stream.cli.session import task_key
from crl_stream.cli.tasks import require_known
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages.parts import Touches
from crl_stream.core.way_back import way_back
from crl_stream.errors import NotFound, UsageError
from crl_stream.kafka.commands import active_variant, give, task_command
from crl_stream.kafka.connection import reaching_within
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.wire.strict_json import Bad, parse_object

Task = Annotated[
    str,
    typer.Argument(metavar="AGENT/TASK", help="The task, as agent_name/task_type.", autocompletion=complete_task),
]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Your reason; it is published with the result.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Your name in the record. Default: your login.")]
Epoch = Annotated[
    int | None,
    typer.Option("--epoch", help="The epoch you mean; refused if the task has a newer one. Default: the current one."),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the monitor.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
NewTask = Annotated[bool, typer.Option("--new-task", help="Send the command even if the task is not known yet.")]
TaskOrAll = Annotated[
    str | None,
    typer.Argument(
        metavar="[AGENT/TASK]", help="The task, as agent_name/task_type; or --all.", autocompletion=complete_task
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="The whole fleet: every task, including future ones.")]
PromotionsOnly = Annotated[
    bool,
    typer.Option("--promotions-only", help="With --all: stop only promotions; rollbacks still happen."),
]
Hours = Annotated[float | None, typer.Option("--hours", help="Hours. Default: the policy's.")]
Parent = Annotated[str | None, typer.Option(help="The variant it was derived from.", autocompletion=complete_variant)]
Provider = Annotated[str | None, typer.Option(help="Provider of the model.")]
Model = Annotated[str | None, typer.Option(help="The model.")]
ModelTier = Annotated[str | None, typer.Option(help="Class of the model, as your runtimes call it.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature, 0 to 2.")]
Ref = Annotated[str | None, typer.Option(help="Where its configuration is kept, such as langfuse:refund@12.")]


def undo(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="AGENT/TASK|ROLLBACK_ID", help="The task, or the id of a rollback.")],
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Undo the latest change of a task, and hold automatic changes for a while."""
    rollback_id = None if "/" in target else target
    about = task_key(target) if rollback_id is None else rollback_id
    give_order(context, m.UndoRollback, about, epoch, reason, actor, timeout, json, rollback_id=rollback_id)


def confirm(
    context: typer.Context,
    rollback_id: Annotated[str, typer.Argument(help="Id of the rollback, as listed by crl rollbacks.")],
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Mark a rollback as reviewed; the variant stays in quarantine."""
    give_order(context, m.ConfirmRollback, rollback_id, None, reason, actor, timeout, json, rollback_id=rollback_id)


def pin(
    context: typer.Context,
    task: Task,
    variant: Annotated[
        str | None,
        typer.Argument(
            help="The variant to activate and pin. Default: the active one.", autocompletion=complete_variant
        ),
    ] = None,
    hours: Hours = None,
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    new_task: NewTask = False,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Prevent promotions until unpinned; rollbacks still happen, unless the task or the fleet is held."""
    key, fields = task_key(task), {"variant_id": variant, "hours": hours}
    may_be_new = None if variant is None else new_task  # a new task has no active variant to pin
    give_order(context, m.PinVariant, key, epoch, reason, actor, timeout, json, may_be_new=may_be_new, **fields)


def unpin(
    context: typer.Context,
    task: Task,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """End a pin."""
    give_order(context, m.UnpinVariant, task_key(task), None, reason, actor, timeout, json)


def hold(
    context: typer.Context,
    task: TaskOrAll = None,
    everything: Everything = False,
    promotions_only: PromotionsOnly = False,
    hours: Hours = None,
    reason: Reason = "",
    actor: Actor = None,
    new_task: NewTask = False,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Stop all automatic changes of a task, or of the fleet with --all, even rollbacks, until resumed.

    With --all --promotions-only, rollbacks still protect the fleet. Alerts continue and name you. The hold ends after
    --hours (default: operations.hold_hours of the policy).
    """
    if not _one_task(task, everything):
        stops = "promotions" if promotions_only else "all"
        order_fleet(context.obj, m.HoldAll, reason, actor, timeout, json, hours=hours, stops=stops)
        return
    assert task is not None
    if promotions_only:
        raise UsageError("--promotions-only needs --all.", hint=f"crl pin {task} stops the promotions of one task")
    key = task_key(task)
    give_order(context, m.HoldTask, key, None, reason, actor, timeout, json, may_be_new=new_task, hours=hours)


def resume(
    context: typer.Context,
    task: TaskOrAll = None,
    everything: Everything = False,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """End the hold of a task, or of the fleet with --all; tasks with their own hold stay held."""
    if not _one_task(task, everything):
        order_fleet(context.obj, m.ResumeAll, reason, actor, timeout, json)
        return
    assert task is not None
    give_order(context, m.ResumeTask, task_key(task), None, reason, actor, timeout, json)


def activate(
    context: typer.Context,
    task: Task,
    variant: Annotated[
        str, typer.Argument(help="The variant that runtimes should use.", autocompletion=complete_variant)
    ],
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    untested: Annotated[
        bool, typer.Option("--untested", help="Allow a variant without outcomes; the record and an alert mention this.")
    ] = False,
    new_task: NewTask = False,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Make a known variant the active one."""
    key, fields = task_key(task), {"variant_id": variant, "untested": untested}
    give_order(context, m.ActivateVariant, key, epoch, reason, actor, timeout, json, may_be_new=new_task, **fields)


def register(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="Name of the new variant.")],
    parent: Parent = None,
    provider: Provider = None,
    model: Model = None,
    model_tier: ModelTier = None,
    temperature: Temperature = None,
    configuration: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="What runtimes get for it: a JSON object, at most 16 KiB; @- reads stdin."
        ),
    ] = None,
    ref: Ref = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Add a variant with its configuration; the result says how often runtimes will explore it.

    It becomes active when its outcomes justify it, or immediately with crl activate --untested.
    """
    give_order(
        context,
        m.RegisterVariant,
        task_key(task),
        None,
        reason,
        actor,
        timeout,
        json,
        may_be_new=True,
        variant_id=variant,
        parent=parent,
        provider=provider,
        model=model,
        model_tier=model_tier,
        temperature=temperature,
        configuration=None if configuration is None else object_of(configuration),
        ref=ref,
    )


def object_of(given: str, option: str = "configuration", example: str = '{"model": "m-1"}') -> dict[str, Any]:
    """Return the JSON object in ``given``, or in the file that it names after an ``@``."""
    if given.startswith("@"):
        try:
            data = sys.stdin.buffer.read() if given == "@-" else Path(given[1:]).read_bytes()
        except OSError as error:
            raise UsageError(
                f"{given[1:]} cannot be read: {error.strerror or error}.",
                hint=f"--{option} @FILE names a JSON file",
            ) from None
    else:
        data = given.encode(errors="replace")
    found = parse_object(data)
    if isinstance(found, Bad):
        raise UsageError(
            f"The {option} is not a JSON object: {found.detail}.",
            hint=f"write --{option} '{example}', or @FILE to read it from a file",
        )
    return found


def retire(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="The variant to retire.", autocompletion=complete_variant)],
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Never choose or explore a variant again; refused while it is active."""
    give_order(context, m.RetireVariant, task_key(task), None, reason, actor, timeout, json, variant_id=variant)


def accept(
    context: typer.Context,
    task: Task,
    variant: Annotated[
        str | None,
        typer.Argument(
            help="The degraded variant, or one with a broken guardrail. Default: the active one.",
            autocompletion=complete_variant,
        ),
    ] = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Accept a lasting change: compare a variant with what it delivers, or costs, now."""
    give_order(context, m.AcceptLevel, task_key(task), None, reason, actor, timeout, json, variant_id=variant)


def _one_task(task: str | None, everything: bool) -> bool:
    """Return True for one task, False for the fleet; raises ``UsageError`` if neither or both are named."""
    if (task is not None) == everything:
        raise UsageError(
            "Name either a task or the whole fleet." if everything else "Name a task or the whole fleet.",
            hint="AGENT/TASK names one task, --all the whole fleet",
        )
    return not everything


_EPOCH_MATTERS = (m.UndoRollback, m.ActivateVariant, m.PinVariant, m.StartRollout)


def give_order(
    context: typer.Context,
    kind: type[Any],
    about: TaskKey | str,
    epoch: int | None,
    reason: str,
    actor: str | None,
    timeout: float,
    json: bool,
    *,
    may_be_new: bool | None = None,
    **fields: Any,
) -> None:
    """Send a command about a task, or about a rollback by its id, and show the result.

    ``may_be_new`` is None where ``--new-task`` would not help.
    """

    async def find_and_order() -> tuple[m.CommandResult, m.ActiveVariant | None, Touches | None]:
        async with KafkaSession(context.obj.kafka) as kafka:
            async with reaching_within(context.obj.kafka, timeout):
                key, at = (about, epoch) if isinstance(about, TaskKey) else await _task_of(kafka, about, kind, epoch)
                if not may_be_new:
                    or_else = "" if may_be_new is None else "; --new-task creates a new task"
                    await require_known(kafka, key, or_else=or_else)
                before = await _active_before(kafka, key) if kind in _NAMES_WHAT_WAS else None
            at = before.epoch if at is None and before is not None and kind in _EPOCH_MATTERS else at
            result = await order(kafka, kind, key, epoch=at, reason=reason, actor=actor, timeout=timeout, **fields)
            return result, before, await touches_of(kafka, key)

    result, before, touches = asyncio.run(find_and_order())
    show_result(result, touches, _back(result, before, fields), json=json)


_NAMES_WHAT_WAS = (m.UndoRollback, m.PinVariant, m.UnpinVariant)
"""Commands whose way back names the variant that was active before."""


async def _active_before(access: Access, key: TaskKey) -> m.ActiveVariant | None:
    try:
        return await active_variant(access, key)
    except NotFound:
        return None


def _back(result: m.CommandResult, before: m.ActiveVariant | None, fields: dict[str, Any]) -> str:
    """Return how a command that was applied is undone; ``before`` is what was active, as far as it is needed."""
    task = f"{result.agent_name}/{result.task_type}"
    known: dict[str, Any] = {"epoch": result.epoch, "proposal_id": result.proposal_id}
    known |= {"rollback_id": fields.get("rollback_id"), "variant": fields.get("variant_id") or "VARIANT"}
    if before is None:
        return way_back(result.command, task, **known)
    known["before"] = before.variant_id
    new_epoch = result.epoch != before.epoch
    if result.command == "UndoRollback" and not new_epoch:
        # An aborted rollout was undone: its variant may be chosen again, and nothing else changed.
        return way_back("LiftQuarantine", task, **known)
    if result.command == "UnpinVariant":
        known["variant"] = before.variant_id
    back = way_back(result.command, task, **known)
    if result.command == "PinVariant" and new_epoch:
        back += f"; to make {before.variant_id} active again: crl undo {task} --epoch {result.epoch}"
    return back


async def _task_of(access: Access, rollback_id: str, kind: type[Any], epoch: int | None) -> tuple[TaskKey, int | None]:
    """Return the task of a rollback, and the epoch that a command about it is meant for."""
    event = await find_rollback(access, rollback_id)
    at = event.epoch if epoch is None and kind in _EPOCH_MATTERS else epoch
    return TaskKey(event.agent_name, event.task_type), at


async def order(
    access: Access, kind: type[Any], key: TaskKey, *, epoch: int | None, timeout: float = 20.0, **fields: Any
) -> m.CommandResult:
    """Send one command and return the monitor's result; ``epoch`` defaults to the current one."""
    if epoch is None and kind in _EPOCH_MATTERS:
        try:
            epoch = (await active_variant(access, key)).epoch
        except NotFound:
            if fields.get("variant_id") is None:
                raise
            epoch = 0  # a command may name a variant before any outcome does
    return await give(access, task_command(kind, key, expected_epoch=epoch, **fields), timeout)
