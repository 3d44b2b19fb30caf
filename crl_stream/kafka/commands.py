"""Sends commands to the monitor and waits for its results."""

from __future__ import annotations

import asyncio
import getpass
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final, Literal, NamedTuple, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.errors import CommandRefused, NotFound, Unavailable, UsageError
from crl_stream.kafka.connection import reaching_within
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access, KafkaSession
from crl_stream.wire.codec import Rejected, decode, encode, not_finite
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DECISIONS, FLEET_KEY, Topics

T = TypeVar("T")
HOW_TO_FIND_OUT: Final = "`crl audit` shows what became of the command"
REFUSALS: Final = (AuthenticationFailedError, MessageSizeTooLargeError, TopicAuthorizationFailedError)
"""Errors after which a command is certainly not on the topic."""
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


class Delivery:
    """How far a command has come, so that an error says whether it may still take effect."""

    def __init__(self, command: Any) -> None:
        self._id, self._until = command.command_id, command.expires_at
        self.state: Literal["not sent", "unknown", "sent"] = "not sent"

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Say in every ``Unavailable`` whether the command was sent, and how to find out if that is not known."""
        try:
            yield
        except Unavailable as error:
            if self.state == "not sent":
                raise Unavailable(f"{error.message} The command was not sent.", hint=error.hint) from error
            known = "The command was sent" if self.state == "sent" else "It is not known whether the command arrived"
            raise Unavailable(
                f"{error.message} {known}: {self._id} may take effect until {self._until}.", hint=HOW_TO_FIND_OUT
            ) from error

    async def send(self, producer: AIOKafkaProducer, topic: str, value: bytes, key: bytes, partition: int) -> None:
        """Write the command and note whether it arrived."""
        self.state = "unknown"
        try:
            await producer.send_and_wait(topic, value, key=key, partition=partition)
        except REFUSALS:
            self.state = "not sent"
            raise
        self.state = "sent"


async def give(access: Access, command: Any, timeout: float = 20.0) -> m.CommandResult:
    """Send a command for one task and wait for its result.

    Raises ``CommandRefused`` if the monitor refuses it, ``Unavailable`` if no worker answers within ``timeout``
    seconds, and ``UsageError`` if it is not a valid command.
    """
    key = TaskKey(command.agent_name, command.task_type)
    value = _checked(command, key.encode())
    delivery = Delivery(command)
    with delivery.telling():
        result = await _give(access, delivery, command, value, timeout)
    if result is None:
        raise Unavailable(
            f"No worker has answered within {timeout:.0f} s; {command.command_id} is on the topic, and a worker can "
            f"apply it until {command.expires_at}.",
            hint=f"`crl status` shows whether a worker is running; {HOW_TO_FIND_OUT}",
        )
    if result.outcome == "refused":
        raise CommandRefused(f"{result.command} for {key} was refused: {result.detail}.", hint=_next_step(key, command))
    return result


async def _give(
    access: Access, delivery: Delivery, command: Any, value: bytes, timeout: float
) -> m.CommandResult | None:
    """Send a command for one task; return its result, or None if there is none within ``timeout`` seconds."""
    key = TaskKey(command.agent_name, command.task_type)
    partition = home_of(access, key)
    async with KafkaSession.of(access) as session, AsyncExitStack() as stack:
        async with reaching_within(session.kafka, timeout):
            results = await stack.enter_async_context(TopicReader(session).following([DECISIONS], partition))
        async with session.producing() as producer:
            topic = Topics(session.kafka.topic_prefix)(COMMANDS)
            await delivery.send(producer, topic, value, key.encode(), partition)
        try:
            async with asyncio.timeout(timeout):
                async for received in results:
                    said = received.message
                    if isinstance(said, m.CommandResult) and said.command_id == command.command_id:
                        return said
        except TimeoutError:
            pass
    return None


class FleetAnswer(NamedTuple):
    """The outcome of a command for the whole fleet, partition by partition."""

    partitions: int
    results: dict[int, m.CommandResult]
    unsent: dict[int, str]
    """Partitions where the command is not known to be on the topic, and why."""

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
    delivery = Delivery(command)
    with delivery.telling():
        async with KafkaSession.of(access) as session:
            return await _give_all(session, delivery, command.command_id, value, timeout)


async def _give_all(
    session: KafkaSession, delivery: Delivery, command_id: str, value: bytes, timeout: float
) -> FleetAnswer:
    reader = TopicReader(session)
    results: dict[int, m.CommandResult] = {}
    async with AsyncExitStack() as stack:
        async with reaching_within(session.kafka, timeout):
            partitions = await reader.partitions(COMMANDS)
            stream = await stack.enter_async_context(reader.following([DECISIONS]))
        unsent = await _send_everywhere(session, delivery, value, partitions, timeout)
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


async def _send_everywhere(
    session: KafkaSession, delivery: Delivery, value: bytes, partitions: int, timeout: float
) -> dict[int, str]:
    """Write to each partition separately; return those that did not accept it within ``timeout`` seconds, and why."""
    topic, unsent = Topics(session.kafka.topic_prefix)(COMMANDS), dict[int, str]()

    async def write(producer: AIOKafkaProducer, partition: int) -> None:
        try:
            async with asyncio.timeout(timeout):
                await producer.send_and_wait(topic, value, key=FLEET_KEY, partition=partition)
        except TimeoutError:
            unsent[partition] = f"the broker has not confirmed it within {timeout:.0f} s"
        except KafkaError as error:
            unsent[partition] = str(error) or type(error).__name__

    async with session.producing() as producer:
        delivery.state = "unknown"
        await asyncio.gather(*[write(producer, partition) for partition in range(partitions)])
        delivery.state = "unknown" if unsent else "sent"
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


def _next_step(key: TaskKey, command: Any) -> str:
    look = f"crl window {key} shows the current state of the task"
    if isinstance(command, m.UndoRollback):
        return f"{look}; crl activate {key} VARIANT chooses a variant yourself"
    return look
