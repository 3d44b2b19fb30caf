"""Orders to the monitor: sent, and waited for until the monitor has said what became of them."""

from __future__ import annotations

import asyncio
import getpass
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from crl_stream.connection import connection_options, reaching
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import CommandRefused, NotFound, Unavailable, UsageError
from crl_stream.settings.model import Kafka
from crl_stream.topic_reader import TopicReader
from crl_stream.wire.codec import Rejected, decode, encode, not_finite
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DECISIONS, Topics

VALID_SECONDS: Final = 60.0
"""An order that reaches the log later is refused: nobody is surprised by an order of last week."""


def task_command(kind: type[Any], key: TaskKey, *, actor: str | None = None, **fields: Any) -> Any:
    """A command for one task, with its id and times filled in."""
    now = datetime.now(UTC)
    return kind(
        schema_version=m.SCHEMA_VERSION,
        command_id=f"cmd-{uuid.uuid4().hex}",
        timestamp=_text(now),
        expires_at=_text(now + timedelta(seconds=VALID_SECONDS)),
        actor=actor or default_actor(),
        agent_name=key.agent_name,
        task_type=key.task_type,
        **fields,
    )


def default_actor() -> str:
    """Who is at the keyboard."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


async def active_variant(kafka: Kafka, key: TaskKey) -> m.ActiveVariant:
    """The task's active variant as runtimes see it; ``NotFound`` when there is none."""
    reader, partition = TopicReader(kafka), home_of(kafka, key)
    found = [r.message for r in await reader.read(ACTIVE_VARIANTS, partition) if r.message is not None]
    mine: list[m.ActiveVariant] = [a for a in found if (a.agent_name, a.task_type) == key]
    if not mine:
        raise NotFound(f"Nothing is known of {key}.", hint="crl status lists the tasks there are")
    return max(mine, key=lambda a: (a.incarnation, a.epoch, a.position.offset))


def home_of(kafka: Kafka, key: TaskKey) -> int:
    """The partition of a task, on every topic."""
    return partition_of(key.encode(), kafka.partitions)


async def give(kafka: Kafka, command: Any, timeout: float = 20.0) -> m.CommandResult:
    """Send a command for one task and wait for its result.

    ``CommandRefused`` when the monitor refuses, ``Unavailable`` when no worker answers within ``timeout`` seconds,
    ``UsageError`` when it is not a valid command.
    """
    key = TaskKey(command.agent_name, command.task_type)
    if (name := not_finite(command)) is not None:
        raise UsageError(f"{name} is {getattr(command, name)}, not a number.", hint="see crl --help")
    value = encode(command)
    checked = decode(COMMANDS, value, key.encode())
    if isinstance(checked, Rejected):
        raise UsageError(f"That is no valid command: {checked.detail}", hint="see crl --help")
    partition = home_of(kafka, key)
    result: m.CommandResult | None = None
    async with TopicReader(kafka).following([DECISIONS], partition) as results:
        await _send(kafka, key.encode(), value, partition)
        try:
            async with asyncio.timeout(timeout):
                async for received in results:
                    said = received.message
                    if isinstance(said, m.CommandResult) and said.command_id == command.command_id:
                        result = said
                        break
        except TimeoutError:
            raise Unavailable(
                f"No worker has answered within {timeout:.0f} s; the command is on the topic until "
                f"{command.expires_at}.",
                hint="is a worker running? `crl worker` starts one, `crl status` asks it",
            ) from None
    assert result is not None
    if result.outcome == "refused":
        raise CommandRefused(f"{result.command} for {key} was refused: {result.detail}.", hint=_next_step(key))
    return result


async def _send(kafka: Kafka, key: bytes, value: bytes, partition: int) -> None:
    producer = AIOKafkaProducer(**connection_options(kafka), acks="all", enable_idempotence=True)
    with reaching(kafka):
        try:
            await producer.start()
            await producer.send_and_wait(Topics(kafka.topic_prefix)(COMMANDS), value, key=key, partition=partition)
        finally:
            await producer.stop()


def _next_step(key: TaskKey) -> str:
    return f"crl window {key} shows how the task stands now"


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
