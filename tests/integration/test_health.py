"""Health: the workers' own findings, and the output of `crl status`, whichever part of the system is down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import invocations
from installation import Installation, WorkerProcess

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.process import Endpoint
from crl_stream.settings.model import Client
from crl_stream.wire.topics import TASKS

pytestmark = pytest.mark.integration


def port_of(worker: WorkerProcess) -> str:
    return worker.url.rpartition(":")[2]


async def check(installation: Installation, port: str, **settings: str) -> tuple[int, dict[str, Any]]:
    code, out, err = await installation.run_crl(
        "--set", f"worker.web_port={port}", "status", "--check", "--json", **settings
    )
    assert out, err
    return code, json.loads(out)


async def test_status_is_well_when_everything_runs_and_names_what_does_not(installation: Installation) -> None:
    worker = await installation.worker()
    port = port_of(worker)
    code, page = await check(installation, port)
    assert (code, page["healthy"]) == (1, False)
    missing = {f["subject"] for f in page["findings"] if f["name"] == "not_running"}
    assert missing == {"proposer", "overview", "tags", "files", "notifier"}
    assert all("start it with `crl worker --role" in f["action"] for f in page["findings"])
    services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "services"))
    await services.ready()
    await installation.publish(*invocations("default", "S" * 60))
    await installation.settled()
    code, page = await check(installation, port)
    assert (code, page["trouble"]) == (0, [])
    assert [task["verdict"] for task in page["tasks"]] == ["HEALTHY"]
    _, out, _ = await installation.run_crl("--set", f"worker.web_port={port}", "status", "--check")
    assert out.startswith("well: 1 task,")

    # When the worker is down, status still shows the tasks, and how long records have been waiting.
    await installation.wait_for(TASKS, object)
    assert await worker.stop() == 0
    await installation.publish(*invocations("default", "S" * 3))
    code, page = await check(installation, port)
    assert code == 1
    [found] = [f for f in page["findings"] if f["name"] == "not_running"]
    assert (found["subject"], "3 records are waiting" in found["text"]) == ("monitor", True)
    assert found["since"] is not None
    assert {f["name"] for f in page["findings"]} >= {"worker", "not_running"}
    assert [task["task_type"] for task in page["tasks"]]
    code, out, err = await installation.run_crl("--set", f"worker.web_port={port}", "status")
    assert code == 0
    assert "not_running" in out
    assert "HEALTHY" not in err.replace("rollbacks and alerts: HEALTHY", "")


async def test_a_fleet_whose_outcomes_all_fail_is_not_healthy(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "F" * 120))
    await installation.settled()
    code, page = await check(installation, port_of(worker))
    assert code == 1
    assert any("no success in 20 outcomes" in line for line in page["trouble"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Endpoint]:
    """A separate Kafka for this test."""
    with EmbeddedBroker(tmp_path / "kafka", Client().cache_dir, ephemeral=True) as started:
        running = started.status()
        assert running is not None
        try:
            yield running
        finally:
            os.kill(running.pid, signal.SIGCONT)


async def readiness(worker: WorkerProcess, wanted: int) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            status, page = await worker.get("/readyz")
            if status == wanted:
                found: dict[str, Any] = page
                return found
            await asyncio.sleep(0.1)


async def test_a_worker_says_that_its_broker_is_silent_and_is_ready_again_when_it_answers(
    broker: Endpoint, tmp_path: Path
) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        workers = [
            await installation.worker(worker_session_timeout_seconds="60"),
            installation.start_worker(("-m", "crl_stream", "worker", "--role", "files")),
        ]
        for worker in workers:
            await worker.ready()
        os.kill(broker.pid, signal.SIGSTOP)
        for worker in workers:
            page = await readiness(worker, 503)
            assert page["findings"][0]["name"] == "kafka"
            assert (await worker.get("/healthz"))[0] == 200, "the process is alive"
        code, told = await check(installation, port_of(workers[0]))
        assert code == 1
        assert "kafka" in {finding["name"] for finding in told["findings"]}
        os.kill(broker.pid, signal.SIGCONT)
        for worker in workers:
            await readiness(worker, 200)
        lines = workers[0].log.read_text()
        assert "Kafka does not answer" in lines
        assert "Kafka answers again" in lines
