"""Sends commands to the monitor and waits for its results."""

from __future__ import annotations

import asyncio
import getpass
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.errors import CommandRefused, NotFound, Unavailable, UsageError
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.wire.codec import Rejected, decode, encode, not_finite
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DECISIONS, FLEET_KEY, Topics

T = TypeVar("T")
VALID_SECONDS: Final = 60.0
"""How long a command is valid.  If it reaches the log later, it is refused, so it cannot take effect unexpectedly."""
NEEDS_REASON: Final = frozenset((m.RejectProposal,))
"""Commands that neither a terminal nor a page sends without a reason; for others, "no reason given" is shown."""


def check_reason(kind: type[Any], reason: str) -> None:
    """Raise ``UsageError`` if a command of this kind needs a reason and has none."""
    if kind in NEEDS_REASON and not reason.strip():
        raise UsageError("A rejection needs a reason.", hint="--reason TEXT; it is kept for analysis")


def task_command(kind: type[Any], key: TaskKey, *, actor: str | None = None, **fields: Any) -> Any:
    """Create a command for one task, with its id and times filled in."""
    return _command(kind, VALID_SECONDS, actor, agent_name=key.agent_name, task_type=key.task_type, **fields)


def fleet_command(
    kind: type[Any], *, valid_hours: float = VALID_SECONDS / 3_600, actor: str | None = None, **fields: Any
) -> Any:
    """Create a command for the whole fleet, with its id and times; a partition refuses it once it has expired."""
    return _command(kind, valid_hours * 3_600, actor, **fields)


def _command(kind: type[Any], valid_seconds: float, actor: str | None, **fields: Any) -> Any:
    now = time.time_ns() // 1_000_000
    return kind(
        schema_version=m.SCHEMA_VERSION,
        command_id=f"cmd-{uuid.uuid4().hex}",
        timestamp=to_text(now),
        expires_at=to_text(now + round(valid_seconds * 1_000)),
        actor=actor or default_actor(),
        **fields,
    )


def default_actor() -> str:
    """Return the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


async def active_variant(access: Access, key: TaskKey) -> m.ActiveVariant:
    """Return the task's active variant as runtimes see it; raise ``NotFound`` if it has none."""
    found = await newest_of(
        access, ACTIVE_VARIANTS, m.ActiveVariant, key, lambda a: (a.incarnation, a.epoch, a.position.offset)
    )
    if found is None:
        raise NotFound(f"Nothing is known of {key}.", hint="crl status lists all tasks")
    return found


async def newest_of(
    access: Access, topic: str, kind: type[T], key: TaskKey, place: Callable[[T], tuple[int, ...]]
) -> T | None:
    """Return a task's record on a compacted topic with the highest ``place``; None if there is none.

    The last record may be an older one, because a process that was paused can write late.
    """
    received = await TopicReader(access).read(topic, home_of(access, key))
    found = [one.message for one in received if isinstance(one.message, kind)]
    return max((one for one in found if (one.agent_name, one.task_type) == key), key=place, default=None)  # type: ignore[attr-defined]


def home_of(access: Access, key: TaskKey) -> int:
    """Return the partition of a task, which is the same on every topic."""
    return partition_of(key.encode(), KafkaSession.of(access).kafka.partitions)


async def give(access: Access, command: Any, timeout: float = 20.0) -> m.CommandResult:
    """Send a command for one task and wait for its result.

    Raises ``CommandRefused`` if the monitor refuses it, ``Unavailable`` if no worker answers within ``timeout``
    seconds, and ``UsageError`` if it is not a valid command.
    """
    key = TaskKey(command.agent_name, command.task_type)
    value = _checked(command, key.encode())
    partition = home_of(access, key)
    result: m.CommandResult | None = None
    async with KafkaSession.of(access) as session, TopicReader(session).following([DECISIONS], partition) as results:
        await _send(session, key.encode(), value, partition)
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
                hint="`crl status` shows whether a worker is running; `crl worker` starts one",
            ) from None
    assert result is not None
    if result.outcome == "refused":
        raise CommandRefused(f"{result.command} for {key} was refused: {result.detail}.", hint=_next_step(key, command))
    return result


class FleetAnswer(NamedTuple):
    """The outcome of a command for the whole fleet, partition by partition."""

    partitions: int
    results: dict[int, m.CommandResult]
    unsent: dict[int, str]
    """Partitions where the command could not be written, and why."""

    @property
    def silent(self) -> list[int]:
        """Partitions that received the command but have not answered."""
        return [p for p in range(self.partitions) if p not in self.results and p not in self.unsent]

    @property
    def applied(self) -> list[m.CommandResult]:
        """Results of the partitions that applied the command."""
        return [result for result in self.results.values() if result.outcome == "applied"]

    @property
    def tasks(self) -> int:
        """The number of tasks in the partitions that applied the command."""
        return sum(result.tasks or 0 for result in self.applied)


async def give_all(access: Access, command: m.FleetCommand, timeout: float = 20.0) -> FleetAnswer:
    """Write a command for the whole fleet to every partition and wait for every partition's result.

    A partition that does not accept it, or does not answer within ``timeout`` seconds, does not delay the others.
    Raises ``UsageError`` if it is not a valid command, and ``Unavailable`` if Kafka does not answer at all.
    """
    value = _checked(command, FLEET_KEY)
    async with KafkaSession.of(access) as session:
        return await _give_all(session, command.command_id, value, timeout)


async def _give_all(session: KafkaSession, command_id: str, value: bytes, timeout: float) -> FleetAnswer:
    reader = TopicReader(session)
    partitions = await reader.partitions(COMMANDS)
    results: dict[int, m.CommandResult] = {}
    async with reader.following([DECISIONS]) as stream:
        unsent = await _send_everywhere(session, value, partitions, timeout)
        waiting = set(range(partitions)) - set(unsent)
        try:
            async with asyncio.timeout(timeout):
                while waiting:
                    received = await anext(stream)
                    said = received.message
                    if isinstance(said, m.CommandResult) and said.command_id == command_id:
                        results[said.position.partition] = said
                        waiting.discard(said.position.partition)
        except TimeoutError:
            pass  # partitions that have not answered are listed as ``silent``
    return FleetAnswer(partitions, dict(sorted(results.items())), unsent)


async def _send_everywhere(session: KafkaSession, value: bytes, partitions: int, timeout: float) -> dict[int, str]:
    """Write to each partition separately; return those that did not accept it within ``timeout`` seconds, and why."""
    topic, unsent = Topics(session.kafka.topic_prefix)(COMMANDS), dict[int, str]()

    async def write(producer: AIOKafkaProducer, partition: int) -> None:
        try:
            async with asyncio.timeout(timeout):
                await producer.send_and_wait(topic, value, key=FLEET_KEY, partition=partition)
        except TimeoutError:
            unsent[partition] = f"the broker did not accept it within {timeout:.0f} s"
        except KafkaError as error:
            unsent[partition] = str(error) or type(error).__name__

    async with session.producing() as producer:
        await asyncio.gather(*[write(producer, partition) for partition in range(partitions)])
    return dict(sorted(unsent.items()))


def _checked(command: Any, key: bytes) -> bytes:
    """Return the command's bytes; raise ``UsageError`` if the monitor would reject them."""
    if (name := not_finite(command)) is not None:
        raise UsageError(
            f"{name} is {getattr(command, name)}, not a number.",
            hint="write a number",
        )
    value = encode(command)
    checked = decode(COMMANDS, value, key)
    if isinstance(checked, Rejected):
        raise UsageError(f"That is not a valid command: {checked.detail}", hint="see --help of the command")
    return value


async def _send(session: KafkaSession, key: bytes, value: bytes, partition: int) -> None:
    async with session.producing() as producer:
        topic = Topics(session.kafka.topic_prefix)(COMMANDS)
        await producer.send_and_wait(topic, value, key=key, partition=partition)


def _next_step(key: TaskKey, command: Any) -> str:
    look = f"crl window {key} shows the current state of the task"
    if isinstance(command, m.UndoRollback):
        return f"{look}; crl activate {key} VARIANT chooses a variant yourself"
    return look
