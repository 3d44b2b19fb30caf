"""One input topic that all contestants fold, and what their snapshots must contain."""

from __future__ import annotations

import asyncio
import contextlib
import time
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
from crl_stream.stages.inlet import reference_commands
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, POLICY_KEY, Topics

FILL_BYTES = 100_000
"""Size in bytes of a batch in the input topic; the broker gives all records of a batch the same timestamp."""


class Course(NamedTuple):
    """A filled input topic."""

    stack: Stack
    events: int
    tasks: int
    length: int
    """Consecutive outcomes of a task."""
    snapshot_seconds: float
    """Minimum seconds of log time between two snapshots of a task; the product's default is 1."""
    oracle: Oracle | None
    """The input outcomes, kept for checking the output."""
    written_per_second: float
    """Events per second while the topic was filled."""

    @property
    def flags(self) -> list[str]:
        """The settings of every worker on this course."""
        partitions = self.settings.kafka.partitions
        return [f"kafka.partitions={partitions}", f"limits.snapshot_seconds={self.snapshot_seconds}"]

    @property
    def settings(self) -> Settings:
        """The settings of the installation that owns the topic."""
        return self.stack.settings

    @property
    def source(self) -> str:
        """The name of the input topic on the broker."""
        return Topics(self.settings.kafka.topic_prefix)(INVOCATIONS)


@contextlib.contextmanager
def course(
    bootstrap_servers: str,
    events: int,
    tasks: int,
    length: int,
    *,
    partitions: int = 4,
    snapshot_seconds: float = 1.0,
    check: bool = True,
) -> Iterator[Course]:
    """Fill a topic; without ``check``, do not keep the input for comparison, which saves memory on a large topic."""
    flags = [f"kafka.partitions={partitions}", f"limits.snapshot_seconds={snapshot_seconds}"]
    with installation(bootstrap_servers, flags) as stack:
        oracle = Oracle() if check else None
        started = time.perf_counter()
        asyncio.run(_fill(stack.settings, events, tasks, length, oracle))
        rate = events / (time.perf_counter() - started)
        yield Course(stack, events, tasks, length, snapshot_seconds, oracle, rate)


async def _fill(settings: Settings, events: int, tasks: int, length: int, oracle: Oracle | None) -> None:
    kafka = settings.kafka
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_batch_size=FILL_BYTES)
    await producer.start()
    try:
        await _set_policy(producer, settings)
        batches: dict[int, tuple[Any, list[tuple[str, str, bool]]]] = {}
        sent: list[tuple[Any, list[tuple[str, str, bool]]]] = []

        async def send(home: int) -> None:
            builder, entries = batches.pop(home)
            sent.append((await producer.send_batch(builder, topic, partition=home), entries))

        for key, message in runs(events, tasks, length, timestamp=utc_now()):
            name, value = key.encode(), encode(message)
            home = partition_of(name, kafka.partitions)
            if home in batches and batches[home][0].append(timestamp=None, key=name, value=value) is None:
                await send(home)
            if home not in batches:
                batches[home] = producer.create_batch(), []
                batches[home][0].append(timestamp=None, key=name, value=value)
            if oracle is not None:
                batches[home][1].append((name.decode(), message.variant_id, message.status == "success"))
        for home in list(batches):
            await send(home)
        for future, entries in sent:
            appended = (await future).timestamp
            if oracle is not None:
                oracle.take(entries, appended)
    finally:
        await producer.stop()


async def _set_policy(producer: AIOKafkaProducer, settings: Settings) -> None:
    """Write the policy of ``settings`` as the worker and the inlet would, so that it applies from the first outcome."""
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
