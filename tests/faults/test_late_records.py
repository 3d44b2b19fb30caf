"""After stale writes by a process that has lost its partition, the newest record becomes the last one again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, invocations
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, TASKS, VARIANTS

pytestmark = [pytest.mark.integration, pytest.mark.faults]

KEY = TaskKey(AGENT, TASK).encode()
HOME = partition_of(KEY, 4)
TOPICS = (ACTIVE_VARIANTS, VARIANTS, TASKS)


async def values(installation: Installation, topic: str) -> list[bytes | None]:
    return [received.record.value for received in await installation.records(topic) if received.record.key == KEY]


async def old_and_new(installation: Installation) -> dict[str, tuple[Any, Any]]:
    """Return the first and the last record of the task on each topic, and check that they differ."""
    await installation.publish(*invocations("default", "SSSSS"), *invocations("v2", "S"))
    await installation.order(a_command(m.ActivateVariant, variant_id="v2"))
    await installation.settled()
    found = {topic: await values(installation, topic) for topic in TOPICS}
    assert all(len(set(each)) > 1 for each in found.values())
    return {topic: (each[0], each[-1]) for topic, each in found.items()}


async def newest_is_last(installation: Installation, found: dict[str, tuple[Any, Any]]) -> None:
    async with asyncio.timeout(60):
        for topic, (old, new) in found.items():
            while (there := await values(installation, topic))[-1] != new:
                assert old in there
                await asyncio.sleep(0.2)


async def test_an_old_record_that_is_written_late_is_covered_by_the_newest_though_nothing_else_happens(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    found = await old_and_new(installation)
    for topic, (old, _) in found.items():
        await installation.send(old, KEY, topic, HOME)
    await newest_is_last(installation, found)
    _, page = await worker.get("/api/worker")
    assert page["counters"]["mended"] == len(TOPICS)
    assert "old records follow newer ones" in worker.log.read_text()


async def test_an_old_record_that_came_while_nobody_owned_the_partition_is_covered_by_the_next_owner(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    found = await old_and_new(installation)
    worker.kill()
    for topic, (old, _) in found.items():
        await installation.send(old, KEY, topic, HOME)
    worker = await installation.worker()
    await newest_is_last(installation, found)
    assert worker.process.poll() is None


async def test_an_owner_that_comes_back_writes_nothing_when_nobody_has_written_late(installation: Installation) -> None:
    worker = await installation.worker()
    await old_and_new(installation)
    before = {topic: await values(installation, topic) for topic in TOPICS}
    assert await worker.stop() == 0
    worker = await installation.worker()
    await installation.publish(*invocations("v2", "S" * 3))
    await installation.settled()
    assert {topic: (await values(installation, topic))[: len(before[topic])] for topic in TOPICS} == before
    _, page = await worker.get("/api/worker")
    assert page["counters"]["mended"] == 0
