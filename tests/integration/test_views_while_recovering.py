"""While a worker recovers its rows, or partitions move, a view reports that and never shows a wrong row."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from builders import an_invocation
from installation import Installation, WorkerProcess, keys_for

pytestmark = pytest.mark.integration

PARTITIONS = 4
OUTCOMES = 3


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "rocksdb":
        pytest.importorskip("rocksdict", reason="needs the extra crl-stream[rocksdb]")
    return {"worker_store": request.param}


async def ask_until_ready(worker: WorkerProcess, paths: list[str]) -> list[tuple[str, int, Any]]:
    """Return every answer that the views gave until the worker was ready."""
    answers = []
    async with asyncio.timeout(90):
        while True:
            try:
                ready = (await worker.get("/readyz"))[0] == 200
                for path in paths:
                    status, page = await worker.get(path)
                    answers.append((path, status, page))
            except aiohttp.ClientConnectionError:
                ready = False
                assert worker.process.poll() is None, worker.log.read_text()[-2000:]
            if ready:
                return answers


async def test_every_answer_of_a_worker_that_starts_is_503_or_the_truth(
    installation: Installation, store: dict[str, str]
) -> None:
    keys = [str(key) for partition in range(PARTITIONS) for key in keys_for(partition, PARTITIONS, 3)]
    worker = await installation.worker(**store)
    for key in keys * OUTCOMES:
        agent_name, task_type = key.split("/")
        await installation.publish(an_invocation(agent_name=agent_name, task_type=task_type))
    await installation.settled()
    worker.kill()
    worker = installation.start_worker(**store)
    answers = await ask_until_ready(worker, [*(f"/api/tasks/{key}" for key in keys), "/api/tasks"])
    assert {status for _, status, _ in answers} == {200, 503}
    for path, status, page in answers:
        if status == 503:
            assert "hint" in page
        elif path == "/api/tasks":
            assert [task["n_outcomes"] for task in page["tasks"]] == [OUTCOMES] * len(keys)
        else:
            assert page["n_outcomes"] == OUTCOMES, path


async def test_a_worker_that_gave_partitions_away_shows_no_ghost_of_their_rows(
    installation: Installation, store: dict[str, str]
) -> None:
    keys = [key for partition in range(PARTITIONS) for key in keys_for(partition, PARTITIONS, 3)]
    first = await installation.worker(**store)
    for key in keys:
        await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    second = await installation.worker(**store, worker_data_dir=str(installation.folder / "second"))
    for worker in (first, second):
        await worker.ready()
    own = [(await worker.get("/api/tasks?own=1"))[1]["tasks"] for worker in (first, second)]
    shown = [task["task_type"] for tasks in own for task in tasks]
    assert sorted(shown) == sorted(key.task_type for key in keys), "each task is shown once, by its owner"
    for worker, tasks in zip((first, second), own, strict=True):
        parts = {entry["partition"] for entry in (await worker.get("/api/worker"))[1]["partitions"]}
        assert {task["as_of"]["partition"] for task in tasks} == parts
