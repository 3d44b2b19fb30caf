"""Records that the broker has lost, and logs other than the one the state was folded from."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import PolicyViolationError
from builders import AGENT, TASK, an_invocation, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation, keys_for

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ALERTS, INVOCATIONS

pytestmark = [pytest.mark.integration, pytest.mark.faults]

HOME = partition_of(TaskKey(AGENT, TASK).encode(), 4)


async def delete_once_allowed(admin: AIOKafkaAdminClient, place: TopicPartition, before: int) -> None:
    """Delete records; a broker applies a changed policy some time after it has acknowledged it, and refuses before."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(PolicyViolationError):
                await admin.delete_records({place: RecordsToDelete(before_offset=before)})
                return
            await asyncio.sleep(0.05)


async def test_records_that_retention_took_before_they_were_folded_are_announced_and_the_rest_goes_on(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    assert await worker.stop() == 0
    await installation.publish(*invocations("default", "S" * 10))
    async with installation.admin._admin() as admin:
        place = TopicPartition(installation.names(INVOCATIONS), HOME)
        await admin.delete_records({place: RecordsToDelete(before_offset=10)})  # offset 0 is the policy
    worker = await installation.worker()
    await installation.settled()
    alert = await installation.wait_for(ALERTS, m.Alert, lambda a: a.kind == "data_gap")
    assert (alert.severity, alert.number, alert.position) == ("critical", 4.0, m.Position(HOME, 10))
    assert "offsets 6 to 9 are gone" in alert.text
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert page["n_outcomes"] == 11


async def test_another_log_of_the_same_length_is_seen_by_its_records_and_refused(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    assert await worker.stop() == 0
    name = installation.names(INVOCATIONS)
    async with installation.admin._admin() as admin:
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.05)
    await installation.admin.apply()
    await installation.producer.stop()
    installation.producer = AIOKafkaProducer(bootstrap_servers=installation.kafka.bootstrap_servers)
    await installation.producer.start()
    await installation.publish(*invocations("default", "F" * 8))
    for partition in set(range(4)) - {HOME}:  # each of these partitions has held the policy
        for key in keys_for(partition, 4, 1):
            await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    worker = installation.start_worker()
    assert await asyncio.to_thread(worker.process.wait, 60) == 70
    log = worker.log.read_text()
    assert "than the one its state ends with" in log
    assert "has a different record at" in log
    assert "hint: was the topic recreated?" in log


async def test_a_state_that_is_gone_while_its_log_was_cut_is_refused(installation: Installation) -> None:
    worker = await installation.worker(worker_commit_interval_seconds="0.1")
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    assert await worker.stop() == 0
    async with installation.admin._admin() as admin:
        place = TopicPartition(installation.names(INVOCATIONS), HOME)
        await admin.delete_records({place: RecordsToDelete(before_offset=3)})
        await admin.delete_topics([installation.admin.changelog])
        while installation.admin.changelog in await admin.list_topics():
            await asyncio.sleep(0.05)
    await installation.admin.apply()
    worker = installation.start_worker()
    assert await asyncio.to_thread(worker.process.wait, 60) == 70
    assert "its state is gone and its log starts at 3" in worker.log.read_text()
    assert "hint: " in worker.log.read_text()


async def test_a_changelog_that_has_lost_its_beginning_is_refused_and_made_anew_from_the_log(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    assert await worker.stop() == 0
    async with installation.admin._admin() as admin:
        place = TopicPartition(installation.admin.changelog, HOME)
        kept = ConfigResource(ConfigResourceType.TOPIC, place.topic, {"cleanup.policy": "compact,delete"})
        await admin.alter_configs([kept])
        await delete_once_allowed(admin, place, before=2)
    await installation.admin.apply()
    worker = installation.start_worker()
    assert await asyncio.to_thread(worker.process.wait, 60) == 70
    assert "has lost its records before 2: rows are missing" in worker.log.read_text()
    assert f"hint: delete the topic {place.topic} and run `crl topics apply`" in worker.log.read_text()
    async with installation.admin._admin() as admin:
        await admin.delete_topics([place.topic])
        while place.topic in await admin.list_topics():
            await asyncio.sleep(0.05)
    await installation.admin.apply()
    await installation.worker()
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
