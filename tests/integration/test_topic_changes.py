"""Topics that are deleted, made again or grown behind a worker's back: noticed within 15 s, and said."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewPartitions
from builders import AGENT, a_command, invocations
from installation import Installation, WorkerProcess

from crl_stream.client import Resolver
from crl_stream.core import messages as m
from crl_stream.settings import load_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, COMMANDS, INVOCATIONS, TASKS, VARIANTS

pytestmark = pytest.mark.integration
NOTICED_WITHIN = 15.0


async def ended(worker: WorkerProcess, seconds: float = NOTICED_WITHIN + 10.0) -> tuple[int, str, list[Any]]:
    """The exit code and log of a worker that ends by itself, and what it said on ``/readyz`` meanwhile."""
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
    assert unready_after is not None
    assert unready_after < NOTICED_WITHIN
    return worker.process.returncode, worker.log.read_text(), said


async def until_outcomes(worker: WorkerProcess, count: int) -> None:
    async with asyncio.timeout(60):
        while [task["n_outcomes"] for task in (await worker.get("/api/tasks"))[1]["tasks"]] != [count]:
            await asyncio.sleep(0.1)


async def delete(installation: Installation, topic: str) -> None:
    async with installation.admin._admin() as admin:
        await admin.delete_topics([topic])


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
    assert await asyncio.to_thread(worker.process.wait, 60) == 78, "and each restart says it again"


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
    # Either the watch reports it, or the fold, if that finds another log below its position first.
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
            assert code in {70, 78}, "made again, or deleted if it looked in between"
            assert "its worker refills it from the rows when it starts" in log
        worker = await installation.worker()
        assert await last_records(installation) == before, "and before it is ready"
        assert "were rewritten from the rows" in worker.log.read_text()
        await installation.order(a_command(m.RegisterVariant, task_type="task-4", variant_id="next"))
        await installation.order(a_command(m.ActivateVariant, task_type="task-4", variant_id="next", untested=True))
        assert await asyncio.to_thread(resolver.wait_for_epoch, AGENT, "task-4", 2, 60)
    worker.kill()
    worker = await installation.worker()
    assert "were rewritten" not in worker.log.read_text(), "once is enough"


COMPACTED = (ACTIVE_VARIANTS, VARIANTS, TASKS)


async def last_records(installation: Installation) -> dict[tuple[str, bytes], Any]:
    """What each compacted topic says of each task, without the place where it was said."""
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
    """Even if the change is recent: the worker's next own check may be seconds away."""
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
        group_instance_id="worker-0",  # so that it stays a member until its session ends
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    await member.start()
    try:
        patience = ("--set", "worker.session_timeout_seconds=1", "--set", "worker.heartbeat_seconds=0.3")
        code, _, err = await installation.run_crl(*patience, "topics", "adopt", "--yes")
        assert code == 69
        assert f"Workers of {names.group(installation.app_id)} are running" in err
        assert (await installation.run_crl(*patience, "topics", "adopt"))[0] == 0, "to look is always possible"
    finally:
        await member.stop()
    code, out, err = await installation.run_crl("topics", "adopt", "--yes")
    assert code == 0, out + err
