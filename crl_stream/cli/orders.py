"""The orders of an operator: undo, confirm, pin, unpin, hold, resume, activate, register, retire.

Each is a command on ``crl.commands`` that names the epoch it was given for, so that an order about what one saw
cannot hit what is there by now.  Each waits for the monitor's word.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from crl_stream.cli.session import Session, task_key
from crl_stream.cli.talk import show, show_json
from crl_stream.commanding import active_variant, give, task_command
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import NotFound
from crl_stream.topic_reader import TopicReader
from crl_stream.wire.topics import ROLLBACKS

Task = Annotated[str, typer.Argument(metavar="AGENT/TASK", help="The task, as agent_name/task_type.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it is published with the result.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who gives the order; default: your login.")]
Epoch = Annotated[
    int | None, typer.Option("--epoch", help="The epoch it is given for; refused when it has moved on. Default: now's.")
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the monitor.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Hours = Annotated[float | None, typer.Option("--hours", help="How long; default: the policy's.")]


def undo(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="AGENT/TASK|ROLLBACK_ID", help="The task, or its rollback's id.")],
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Take the latest change of a task back, and hold automatic changes for a while."""
    rollback_id = None if "/" in target else target
    if rollback_id is None:
        key = task_key(target)
    else:
        event = asyncio.run(find_rollback(context.obj, rollback_id))
        key, epoch = TaskKey(event.agent_name, event.task_type), event.epoch if epoch is None else epoch
    _order(context, m.UndoRollback, key, epoch, reason, actor, timeout, json, rollback_id=rollback_id)


def confirm(
    context: typer.Context,
    rollback_id: Annotated[str, typer.Argument(help="Id of the rollback; crl rollbacks lists them.")],
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Mark a rollback as reviewed; the variant stays in quarantine."""
    event = asyncio.run(find_rollback(context.obj, rollback_id))
    key = TaskKey(event.agent_name, event.task_type)
    _order(context, m.ConfirmRollback, key, None, reason, actor, timeout, json, rollback_id=rollback_id)


def pin(
    context: typer.Context,
    task: Task,
    variant: Annotated[str | None, typer.Argument(help="Made active first; default: whatever is active.")] = None,
    hours: Hours = None,
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """No promotion until unpinned; a rollback still protects."""
    _order(context, m.PinVariant, task_key(task), epoch, reason, actor, timeout, json, variant_id=variant, hours=hours)


def unpin(
    context: typer.Context,
    task: Task,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """End a pin."""
    _order(context, m.UnpinVariant, task_key(task), None, reason, actor, timeout, json)


def hold(
    context: typer.Context,
    task: Task,
    hours: Hours = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Nothing automatic until resumed, not even a rollback; alerts go on and name you."""
    _order(context, m.HoldTask, task_key(task), None, reason, actor, timeout, json, hours=hours)


def resume(
    context: typer.Context,
    task: Task,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """End a hold."""
    _order(context, m.ResumeTask, task_key(task), None, reason, actor, timeout, json)


def activate(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="The variant that runtimes are to use.")],
    epoch: Epoch = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Make a known variant the active one."""
    _order(context, m.ActivateVariant, task_key(task), epoch, reason, actor, timeout, json, variant_id=variant)


def register(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="Name of the new variant.")],
    parent: Annotated[str | None, typer.Option(help="The variant it was made from.")] = None,
    provider: Annotated[str | None, typer.Option(help="Who serves the model.")] = None,
    model: Annotated[str | None, typer.Option(help="The model.")] = None,
    model_tier: Annotated[str | None, typer.Option(help="Class of the model, as your runtimes name it.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature, 0 to 2.")] = None,
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Make a variant known with its configuration; it is explored, never activated before it has outcomes."""
    fields = {"parent": parent, "provider": provider, "model": model, "model_tier": model_tier}
    _order(
        context,
        m.RegisterVariant,
        task_key(task),
        None,
        reason,
        actor,
        timeout,
        json,
        variant_id=variant,
        temperature=temperature,
        **fields,
    )


def retire(
    context: typer.Context,
    task: Task,
    variant: Annotated[str, typer.Argument(help="The variant never to be used again.")],
    reason: Reason = "",
    actor: Actor = None,
    timeout: Timeout = 20.0,
    json: Json = False,
) -> None:
    """Never choose or explore a variant again; refused while it is active."""
    _order(context, m.RetireVariant, task_key(task), None, reason, actor, timeout, json, variant_id=variant)


_EPOCH_MATTERS = (m.UndoRollback, m.ActivateVariant, m.PinVariant)


def _order(
    context: typer.Context,
    kind: type[Any],
    key: TaskKey,
    epoch: int | None,
    reason: str,
    actor: str | None,
    timeout: float,
    json: bool,
    **fields: Any,
) -> None:
    result = asyncio.run(
        order(context.obj, kind, key, epoch=epoch, reason=reason, actor=actor, timeout=timeout, **fields)
    )
    if json:
        show_json(result)
    else:
        show(f"{key}: {result.detail} ({result.result_id}, epoch {result.epoch})")


async def order(
    session: Session, kind: type[Any], key: TaskKey, *, epoch: int | None, timeout: float = 20.0, **fields: Any
) -> m.CommandResult:
    """Give one order and return the monitor's word; what one saw is the epoch of this moment unless given."""
    kafka = session.kafka
    if epoch is None and kind in _EPOCH_MATTERS:
        try:
            epoch = (await active_variant(kafka, key)).epoch
        except NotFound:
            if fields.get("variant_id") is None:
                raise
            epoch = 0  # a variant may be named before the first outcome names one
    return await give(kafka, task_command(kind, key, expected_epoch=epoch, **fields), timeout)


async def find_rollback(session: Session, rollback_id: str) -> m.RollbackEvent:
    """The rollback with this id; ``NotFound`` when there is none."""
    for received in await TopicReader(session.kafka).read(ROLLBACKS):
        if isinstance(received.message, m.RollbackEvent) and received.message.rollback_id == rollback_id:
            return received.message
    raise NotFound(f"There is no rollback {rollback_id}.", hint="crl rollbacks lists them")
