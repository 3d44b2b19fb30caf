"""Topics that are deleted, recreated or extended behind a worker's back are noticed and reported within 15 s."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from builders import AGENT, a_command, invocations
from installation import Installation, WorkerProcess

from crl_stream.client import Resolver
from crl_stream.core import messages as m
from crl_stream.errors import Unavailable
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.settings import load_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, COMMANDS, INVOCATIONS, TASKS, VARIANTS

pytestmark = pytest.mark.integration
NOTICED_WITHIN = 15.0


async def ended(worker: WorkerProcess, seconds: float = NOTICED_WITHIN + 10.0) -> tuple[int, str, list[Any]]:
    """Return the exit code and log of a worker that ends on its own, and its findings on ``/readyz`` until then."""
    begun, unready_after, said = time.monotonic(), None, list[Any]()
    while worker.process.poll() is None:
        assert time.monotonic() - begun < seconds, worker.log.read_text()[-2000:]
        try:
            status, page = await worker.get("/readyz")
        except (aiohttp.ClientError, OSError):  # the worker ended between two requests
            unready_after = unready_after or time.monotonic() - begun
            await asyncio.sleep(0.05)
            continue
        if status == 503:
            unready_after = unready_after or time.monotonic() - begun
            said += [finding for finding in page["findings"] if finding["name"] == "topics"]
        await asyncio.sleep(0.1)
    # Without an answer of 503 the worker ended between two requests; then its end is when it noticed.
    assert (unready_after or time.monotonic() - begun) < NOTICED_WITHIN
    return worker.process.returncode, worker.log.read_text(), said


async def until_outcomes(worker: WorkerProcess, count: int) -> None:
    async with asyncio.timeout(60):
        while [task["n_outcomes"] for task in (await worker.get("/api/tasks"))[1]["tasks"]] != [count]:
            await asyncio.sleep(0.1)


async def delete(installation: Installation, topic: str) -> None:
    async with installation.admin._admin() as admin:
        await admin.delete_topics([topic])
        async with asyncio.timeout(30):
            while topic in await admin.list_topics():  # the broker still lists a deleted topic for a moment
                await asyncio.sleep(0.05)


async def test_missing_replicas_do_not_keep_apply_waiting_for_the_settings_that_it_did_correct(
    installation: Installation,
) -> None:
    """``crl topics apply`` cannot correct the number of replicas, so waiting for a correction would fail."""
    kafka = installation.kafka.model_copy(update={"replication_factor": 2})
    admin, topic = TopicAdmin(kafka, installation.app_id), installation.names(TASKS)
    async with installation.admin._admin() as client:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "1"})])
    async with asyncio.timeout(30):
        while not any(difference.kind == "config" for difference in await admin.differences()):
            await asyncio.sleep(0.05)
    changed = await admin.apply()
    assert f"set cleanup.policy=compact on {topic}" in changed
    assert {difference.kind for difference in await admin.differences()} == {"replication"}


async def test_a_topic_that_never_appears_is_said_with_the_way_out(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl_stream.kafka.admin._APPEAR_SECONDS", 0.5)
    admin, topic = TopicAdmin(installation.kafka, installation.app_id), installation.names(TASKS)
    find = admin._find

    async def without_tasks(client: Any) -> Any:
        return {name: found for name, found in (await find(client)).items() if name != topic}

    monkeypatch.setattr(admin, "_find", without_tasks)
    with pytest.raises(Unavailable, match=f"{topic} does not exist") as caught:
        await admin.apply()
    assert "crl topics diff" in (caught.value.hint or "")


async def test_partitions_that_are_added_to_the_log_are_noticed_and_the_way_out_is_said(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    async with installation.admin._admin() as admin:
        await admin.create_partitions({installation.names(INVOCATIONS): NewPartitions(8)})
    code, log, said = await ended(worker)
    assert code == 78
    assert "has 8 partitions; it had 4" in said[0]["text"]
    assert said[0]["text"] in log
    assert "kafka.topic_prefix" in said[0]["action"]
    worker = installation.start_worker()
    assert await asyncio.to_thread(worker.process.wait, 60) == 78, "a restarted worker reports the problem again"


async def test_a_log_that_was_made_again_is_noticed_although_it_has_grown_as_long_as_the_old_one(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    ending = asyncio.create_task(ended(worker))
    await delete(installation, installation.names(INVOCATIONS))
    await installation.admin.apply()
    await installation.producer.stop()
    await installation.restart_producer()
    await installation.publish(*invocations("default", "F" * 20))
    code, log, _ = await ending
    assert code == 70
    # Either the watch reports it, or the fold, which may be the first to find a different log below its position.
    assert "recreated" in log
    assert "crl topics adopt" in log
    code, out, err = await installation.run_crl("topics", "adopt", "--yes")
    assert code == 0, out + err
    worker = await installation.worker()
    await until_outcomes(worker, 25)


@pytest.mark.parametrize("running", [True, False])
async def test_compacted_topics_that_were_made_again_are_filled_again_although_their_tasks_are_silent(
    installation: Installation, *, running: bool
) -> None:
    names, worker = installation.names, await installation.worker()
    for number in range(9):
        await installation.publish(*invocations(f"v{number}", "S" * 3, task_type=f"task-{number}"))
    await installation.order(a_command(m.HoldTask, task_type="task-4"))
    await installation.settled()
    await installation.silent()
    before = await last_records(installation)
    with Resolver(load_settings(environment=installation.environment())) as resolver:
        assert await asyncio.to_thread(resolver.wait_until_ready, 60)
        if not running:
            assert await worker.stop() == 0
        ending = asyncio.create_task(ended(worker)) if running else None
        for topic in COMPACTED:
            await delete(installation, names(topic))
        await installation.admin.apply()
        if ending is not None:
            code, log, _ = await ending
            assert code in {70, 78}, "70 if the topic is recreated by then, 78 if it is still deleted"
            assert "its worker refills it from the rows when it starts" in log
        worker = await installation.worker()
        assert await last_records(installation) == before, "the topics are complete before the worker is ready"
        assert "were rewritten from the rows" in worker.log.read_text()
        await installation.order(a_command(m.RegisterVariant, task_type="task-4", variant_id="next"))
        await installation.order(a_command(m.ActivateVariant, task_type="task-4", variant_id="next", untested=True))
        assert await asyncio.to_thread(resolver.wait_for_epoch, AGENT, "task-4", 2, 60)
    worker.kill()
    worker = await installation.worker()
    assert "were rewritten" not in worker.log.read_text(), "once is enough"


COMPACTED = (ACTIVE_VARIANTS, VARIANTS, TASKS)


async def last_records(installation: Installation) -> dict[tuple[str, bytes], Any]:
    """Return the last record of each task on each compacted topic, without its position."""
    found = {}
    for topic in COMPACTED:
        for received in await installation.records(topic):
            fields = msgspec.json.decode(received.record.value)
            if topic != TASKS:
                fields = {n: v for n, v in fields.items() if n not in {"position", "timestamp", "policy_hash"}}
            found[topic, received.record.key] = fields
    return found


@pytest.mark.parametrize("which", [INVOCATIONS, COMMANDS, TASKS])
async def test_status_never_says_well_once_a_topic_was_made_again(installation: Installation, which: str) -> None:
    """``crl status`` notices even a recent change, although the worker's own next check may be seconds away."""
    worker = await installation.worker()
    services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "services"))
    await services.ready()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    port = worker.url.rpartition(":")[2]
    words = ("--set", f"worker.web_port={port}", "status", "--check")
    async with asyncio.timeout(60):
        while (said := await installation.run_crl(*words))[0]:
            await asyncio.sleep(0.2)
    assert said[1].startswith("well")
    await delete(installation, installation.names(which))
    await installation.admin.apply()
    while worker.process.poll() is None:
        code, out, _ = await installation.run_crl(*words)
        assert code == 1, out
        assert not out.startswith("well")


@pytest.mark.parametrize("which", ["output", "changelog", "commands"])
async def test_a_deleted_topic_ends_the_worker_with_its_name_and_a_restart_goes_on_once_it_is_there(
    installation: Installation, which: str
) -> None:
    names, worker = installation.names, await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await installation.settled()
    topic = {"output": names(ALERTS), "commands": names(COMMANDS), "changelog": names.changelog(installation.app_id)}
    await delete(installation, topic[which])
    code, log, said = await ended(worker)
    assert code == 78
    assert f"The topic {topic[which]} was deleted." in log
    assert "crl topics apply" in said[0]["action"]
    worker = installation.start_worker()
    assert await asyncio.to_thread(worker.process.wait, 60) == 78
    assert topic[which] in worker.log.read_text()
    await installation.admin.apply()
    if which == "commands":
        assert (await installation.run_crl("topics", "adopt", "--yes"))[0] == 0
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 5))
    await until_outcomes(worker, 10)


async def test_services_notice_a_source_that_was_made_again_with_other_partitions(installation: Installation) -> None:
    services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "proposer", "--role", "overview"))
    await services.ready()
    name = installation.names(TASKS)
    await delete(installation, name)
    installation.kafka = installation.kafka.model_copy(update={"partitions": 2})
    async with installation.admin._admin() as admin:
        from aiokafka.admin import NewTopic

        await admin.create_topics([NewTopic(name, 2, 1, topic_configs={"cleanup.policy": "compact"})])
    code, log, _ = await ended(services)
    assert code == 70
    assert f"The topic {name} was deleted and recreated" in log


async def test_adopting_waits_for_a_worker_that_has_just_died_and_is_refused_while_one_runs(
    installation: Installation,
) -> None:
    names = installation.names
    member = AIOKafkaConsumer(
        names(INVOCATIONS),
        bootstrap_servers=installation.kafka.bootstrap_servers,
        group_id=names.group(installation.app_id),
        group_instance_id="worker-0",  # a static member stays until its session times out
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    await member.start()
    try:
        patience = ("--set", "worker.session_timeout_seconds=1", "--set", "worker.heartbeat_seconds=0.3")
        code, _, err = await installation.run_crl(*patience, "topics", "adopt", "--yes")
        assert code == 69
        assert f"Workers of {names.group(installation.app_id)} are running" in err
        assert (await installation.run_crl(*patience, "topics", "adopt"))[0] == 0, "a dry run is always possible"
    finally:
        await member.stop()
    code, out, err = await installation.run_crl("topics", "adopt", "--yes")
    assert code == 0, out + err
