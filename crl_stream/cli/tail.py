"""``crl tail``: follow what the monitor publishes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from crl_stream.cli.silence import KafkaSilence
from crl_stream.cli.talk import say, show, show_json
from crl_stream.core import messages as m
from crl_stream.errors import UsageError
from crl_stream.explaining.adoption import followed
from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.visible import visible
from crl_stream.wire.dead_letter import read_letter, read_mark
from crl_stream.wire.topics import (
    ALERTS,
    DEAD_LETTERS,
    DECISIONS,
    DEGRADATIONS,
    INVOCATIONS,
    MESSAGES,
    PROPOSALS,
    RECEIPTS,
    ROLLBACKS,
)

_USUAL = (DEGRADATIONS, ROLLBACKS, DECISIONS, PROPOSALS, ALERTS, DEAD_LETTERS)


def tail(
    context: typer.Context,
    topics: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC]...", help="Topics without their prefix, e.g. rollbacks alerts."),
    ] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with all existing records.")] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after this many records.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
) -> None:
    """Follow topics until Ctrl-C. Default: degradations, rollbacks, decisions, proposals, alerts, dead letters."""
    chosen = [_named(name) for name in topics] if topics else list(_USUAL)
    # SetPolicy is sent once per partition and is of little use to a person.
    every = json or context.find_root().params.get("verbose", False)
    asyncio.run(_follow(context.obj, chosen, from_beginning, count, json, every))


def _named(name: str) -> str:
    full = name if name.startswith("crl.") else f"crl.{name}"
    if full not in MESSAGES:
        names = ", ".join(topic.removeprefix("crl.") for topic in MESSAGES)
        raise UsageError(f"There is no topic {name}.", hint=f"one of {names}")
    return full


async def _follow(
    session: Any, topics: list[str], from_beginning: bool, count: int | None, json: bool, every: bool
) -> None:
    seen = 0
    kafka = session.kafka
    silence = KafkaSilence(kafka.bootstrap_servers, "waiting for it; Ctrl-C gives up")
    following = TopicReader(kafka).following(topics, from_beginning=from_beginning, silence=silence.note)
    async with following as received:
        say(f"following {', '.join(topics)}; Ctrl-C stops it")
        async for one in received:
            if not every and isinstance(one.message, m.CommandResult) and one.message.command == "SetPolicy":
                continue
            if json:
                show_json(_document(one))
            else:
                show(line_of(one))
            seen += 1
            if count is not None and seen >= count:
                return


def _document(received: Received) -> dict[str, Any]:
    record = received.record
    body: dict[str, Any] = {"topic": received.topic, "partition": record.partition, "offset": record.offset}
    if received.topic == DEAD_LETTERS and (mark := read_mark(record.headers)) is not None:
        return body | {"replayed": mark._asdict()}
    if received.topic == DEAD_LETTERS:
        return body | read_letter(record.headers)._asdict() | {"value": _text(record.value)}
    return body | {"message": received.message if received.message is not None else _text(record.value)}


def line_of(received: Received) -> str:
    """Return one line about any record, for people."""
    record, message = received.record, received.message
    task = f"{getattr(message, 'agent_name', '')}/{getattr(message, 'task_type', '')}"
    what = _text(record.value)
    if received.topic == DEAD_LETTERS and (mark := read_mark(record.headers)) is not None:
        what = f"replayed {mark.topic} {mark.partition}:{mark.offset} as {mark.to_partition}:{mark.to_offset}, "
        what += f"by {mark.actor}"
    elif received.topic == DEAD_LETTERS:
        letter = read_letter(record.headers)
        what = f"dead letter {letter.topic} {letter.partition}:{letter.offset} {letter.reason}: {letter.detail}"
    elif isinstance(message, m.RollbackEvent):
        what = f"ROLLBACK {task}: {message.from_variant} -> {message.to_variant}, {message.reason}"
        what += f" (epoch {message.epoch}); {message.undo_command}"
    elif isinstance(message, m.DegradationAlert):
        what = f"{message.state} {task} {message.variant_id}: {message.reason}"
    elif isinstance(message, m.Decision):
        what = f"{message.decision} {task} {message.variant_id}: {message.reasoning}"
    elif isinstance(message, m.Activation):
        what = f"active {task}: {message.from_variant or 'nothing'} -> {message.to_variant} ({message.cause})"
    elif isinstance(message, m.RolloutStep):
        what = f"rollout {message.step.replace('_', ' ')} {task}: {message.variant_id} gets {100 * message.share:.3g} %"
        what += f" ({message.reasoning})"
    elif isinstance(message, m.Hindsight):
        what = f"rollback {message.finding} {task}: {message.reasoning} ({message.rollback_id})"
    elif isinstance(message, m.Benefit):
        what = f"{message.cause} {message.finding.replace('_', ' ')} {task}: {message.reasoning} ({message.cause_id})"
    elif isinstance(message, m.Adoption):
        what = f"adopted {task} {message.variant_id}, epoch {message.epoch}: "
        what += followed(msgspec.to_builtins(message))
    elif isinstance(message, m.CommandResult):
        what = f"{message.command} {message.outcome} {task} by {message.actor}: {message.detail}"
    elif isinstance(message, m.Proposal):
        what = f"proposal {message.status} {task}: {message.proposal_type} {message.target_variant}, "
        what += f"confidence {message.confidence:.0%} ({message.proposal_id})"
    elif isinstance(message, m.Alert):
        what = f"{message.severity.upper()} {message.text}"
    elif isinstance(message, m.Invocation):
        what = f"{message.status} {task} {message.variant_id} {message.invocation_id}"
    elif received.topic == RECEIPTS and isinstance(message, m.Receipt):
        what = f"{message.runtime_id} uses {message.variant_id} of {task}, epoch {message.epoch}"
    elif received.topic == INVOCATIONS and isinstance(message, m.CommandRef):
        what = f"reference to command {message.partition}:{message.offset}"
    elif isinstance(message, m.MirrorLabel):
        what = f"{message.store}: {message.label} of {message.prompt} at {message.left or 'nothing'} for {task}, "
        what += f"epoch {message.epoch}" + (f"; left alone: {message.conflict.reason}" if message.conflict else "")
    elif isinstance(message, m.Tick):
        what = "tick: marks the passing of time for waiting rows of this partition"
    stamp = time_of(message)
    # One record, one line: a reason with a line feed must not look like another record.
    return visible(f"{stamp}  {what}" if stamp else what)


def time_of(message: Any) -> str:
    """Return the time of a message (for a proposal, of its newest revision), or an empty string."""
    if isinstance(message, m.Proposal) and message.history:
        return message.history[-1].timestamp
    return getattr(message, "timestamp", "")


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")
