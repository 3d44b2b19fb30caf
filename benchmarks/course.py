"""One input topic that all contestants fold, and what its snapshots must say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from benchmarks.oracle import Oracle
from benchmarks.outcomes import runs
from benchmarks.stack import Stack, installation
from crl_stream.client.publisher import utc_now
from crl_stream.core import messages as m
from crl_stream.settings import Settings
from crl_stream.topology.inlet import reference_commands
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, POLICY_KEY, Topics

EVERY_TENTH = "limits.snapshot_seconds=0"
"""Ours, too, publishes a snapshot for each tenth outcome, however fast they come; its default is one a second."""


class Course(NamedTuple):
    """An input topic, filled."""

    stack: Stack
    events: int
    tasks: int
    length: int
    """Outcomes of a task in a row."""
    oracle: Oracle | None
    """What was put in, for whoever checks what came out."""

    @property
    def settings(self) -> Settings:
        """Of the installation that owns the topic."""
        return self.stack.settings

    @property
    def source(self) -> str:
        """The broker's name of the input topic."""
        return Topics(self.settings.kafka.topic_prefix)(INVOCATIONS)


@contextlib.contextmanager
def course(
    bootstrap_servers: str, events: int, tasks: int, length: int, *, partitions: int = 4, check: bool = True
) -> Iterator[Course]:
    """Fill a topic; without ``check`` nothing is expected, which saves the memory of a large one."""
    with installation(bootstrap_servers, [f"kafka.partitions={partitions}", EVERY_TENTH]) as stack:
        oracle = Oracle() if check else None
        asyncio.run(_fill(stack.settings, events, tasks, length, oracle))
        yield Course(stack, events, tasks, length, oracle)


async def _fill(settings: Settings, events: int, tasks: int, length: int, oracle: Oracle | None) -> None:
    kafka = settings.kafka
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_batch_size=500_000)
    await producer.start()
    try:
        await _set_policy(producer, settings)
        builders: dict[int, Any] = {}
        waiting: list[Any] = []
        for key, message in runs(events, tasks, length, timestamp=utc_now()):
            name = key.encode()
            home = partition_of(name, kafka.partitions)
            if oracle is not None:
                oracle.take(name.decode(), message.variant_id, success=message.status == "success")
            record = {"timestamp": None, "key": name, "value": encode(message)}
            if (builder := builders.get(home)) is None or builder.append(**record) is None:
                if builder is not None:
                    waiting.append(await producer.send_batch(builder, topic, partition=home))
                builders[home] = producer.create_batch()
                builders[home].append(**record)
        for home, builder in builders.items():
            waiting.append(await producer.send_batch(builder, topic, partition=home))
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


async def _set_policy(producer: AIOKafkaProducer, settings: Settings) -> None:
    """The policy of the settings in force from the first outcome on, as the worker and the inlet would put it there."""
    topics, kafka, policies = Topics(settings.kafka.topic_prefix), settings.kafka, settings.policies
    command = m.SetPolicy(
        schema_version=m.SCHEMA_VERSION,
        command_id=f"policy-{policies.digest()}",
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        actor="benchmarks",
        reason="in force from the first outcome on",
        policy=policies,
        policy_hash=policies.digest(),
    )
    home, value = partition_of(POLICY_KEY, kafka.partitions), encode(command)
    sent = await producer.send_and_wait(topics(COMMANDS), value, key=POLICY_KEY, partition=home)
    record: Any = _Command(sent.offset, sent.timestamp, POLICY_KEY, value, ())
    for output in reference_commands(home, kafka.partitions, [record]):
        await producer.send_and_wait(topics(output.topic), output.value, key=output.key, partition=output.partition)


class _Command(NamedTuple):
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[()]
