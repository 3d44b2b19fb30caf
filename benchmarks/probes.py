"""Creates the outcomes whose effects are timed, and other outcomes that keep the worker busy in the meantime."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from crl_stream.client.publisher import utc_now
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ROLLBACKS

GOOD, BAD = "api-baseline", "api-optimized"
AGENT = "probe"
BACKGROUND_TASKS = 200


def story() -> list[m.Invocation]:
    """Return the outcomes up to and including the one that reveals the degradation, found with the engine itself."""
    driver = TopologyDriver()
    made: list[m.Invocation] = []

    def publish(variant: str, status: str) -> None:
        made.append(_outcome(TaskKey(AGENT, "task"), f"inv-{len(made)}", variant, status))
        driver.pipe(made[-1])

    # The other variant stays just below the requirements of auto-apply, so nothing is promoted.
    for _ in range(20):
        publish(BAD, "success")
    for number in range(10):
        publish(GOOD, "failure" if number % 10 == 9 else "success")
    while not driver.read(ROLLBACKS):
        publish(BAD, "failure")
    return made


def _outcome(key: TaskKey, invocation_id: str, variant: str, status: str) -> m.Invocation:
    return m.Invocation(
        schema_version=1,
        invocation_id=invocation_id,
        timestamp=utc_now(),
        agent_name=key.agent_name,
        task_type=key.task_type,
        variant_id=variant,
        status=status,  # type: ignore[arg-type]
    )


def healthy(number: int, invocation_id: str) -> m.Invocation:
    """Return an outcome of one of the background tasks."""
    return _outcome(TaskKey("other", f"task-{number % BACKGROUND_TASKS}"), invocation_id, GOOD, "success")


def aimed_at(message: m.Invocation, key: TaskKey) -> m.Invocation:
    """Return a copy of an outcome for the task ``key``."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return m.Invocation(**(fields | {"agent_name": key.agent_name, "task_type": key.task_type}))


async def fill_topic(servers: str, topic: str, partitions: int, messages: Sequence[m.Invocation]) -> None:
    """Append outcomes to a topic, each to the partition of its task."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=20, max_batch_size=200_000)
    await producer.start()
    try:
        waiting = []
        for message in messages:
            key = TaskKey(message.agent_name, message.task_type).encode()
            home = partition_of(key, partitions)
            waiting.append(await producer.send(topic, encode(message), key=key, partition=home))
            if len(waiting) >= 20_000:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
