"""A worker that is asked to stop exits within 5 s, whatever it is waiting for; after a restart, it continues."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from builders import invocations
from installation import Installation, WorkerProcess

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.process import Endpoint
from crl_stream.errors import Unavailable
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.settings.model import Client, Kafka
from faults.outage.lives import LIBRARY_LINE

pytestmark = pytest.mark.integration
STOPPED_WITHIN = 6.0
"""Time limit for stopping, in seconds: the promise is 5, but the machine may be slow."""


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Provide a private Kafka, so that other tests do not have to wait for it."""
    with EmbeddedBroker(tmp_path_factory.mktemp("kafka"), Client().cache_dir, ephemeral=True) as started:
        running = started.status()
        assert running is not None
        yield running


async def wake(broker: Endpoint) -> None:
    """Resume a broker and wait until it answers again."""
    os.kill(broker.pid, signal.SIGCONT)
    admin = TopicAdmin(Kafka(bootstrap_servers=broker.bootstrap_servers), "any")
    async with asyncio.timeout(90):
        while True:
            with suppress(Unavailable):
                await admin.find()
                return


@pytest.fixture
async def broker(own_broker: Endpoint) -> AsyncIterator[Endpoint]:
    """Provide a broker that responds when the test begins, and resume it when the test ends."""
    await wake(own_broker)
    try:
        yield own_broker
    finally:
        os.kill(own_broker.pid, signal.SIGCONT)


async def seconds_to_stop(worker: WorkerProcess, number: int = signal.SIGTERM) -> float:
    assert worker.process.poll() is None, worker.log.read_text()[-2000:]
    begun = time.monotonic()
    worker.process.send_signal(number)
    code = await asyncio.to_thread(worker.process.wait, 60)
    said = worker.log.read_text()
    assert code == 0, said[-2000:]
    assert LIBRARY_LINE.findall(said) == [], said[-4000:]
    return time.monotonic() - begun


async def until_it_says(worker: WorkerProcess, text: str) -> None:
    async with asyncio.timeout(60):
        while text not in worker.log.read_text():
            assert worker.process.poll() is None, worker.log.read_text()[-2000:]
            await asyncio.sleep(0.02)


async def test_a_worker_stops_while_the_broker_is_mute(broker: Endpoint, tmp_path: Path) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        worker = await installation.worker()
        await installation.publish(*invocations("default", "S" * 5))
        await installation.settled()
        os.kill(broker.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)  # by now, the worker is waiting for an answer, or soon will be
        assert await seconds_to_stop(worker, signal.SIGINT) < STOPPED_WITHIN
        await wake(broker)
        worker = await installation.worker()
        await installation.publish(*invocations("default", "S" * 5))
        await installation.settled()
        _, page = await worker.get("/api/tasks")
        assert [task["n_outcomes"] for task in page["tasks"]] == [10]
        assert await seconds_to_stop(worker) < STOPPED_WITHIN


async def test_services_stop_while_the_broker_is_mute(broker: Endpoint, tmp_path: Path) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "services"))
        await services.ready()
        os.kill(broker.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        assert await seconds_to_stop(services) < STOPPED_WITHIN
        await wake(broker)


async def test_a_worker_stops_while_it_asks_a_mute_broker_for_the_topics(broker: Endpoint, tmp_path: Path) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        os.kill(broker.pid, signal.SIGSTOP)
        worker = installation.start_worker()
        await asyncio.sleep(3.0)  # no line of its log can be awaited, as no broker has answered
        assert await seconds_to_stop(worker) < STOPPED_WITHIN
        await wake(broker)


async def test_a_worker_stops_while_it_joins_its_group(broker: Endpoint, tmp_path: Path) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        worker = installation.start_worker()
        await until_it_says(worker, "policy")
        os.kill(broker.pid, signal.SIGSTOP)
        assert await seconds_to_stop(worker) < STOPPED_WITHIN
        await wake(broker)


async def test_workers_stop_in_a_rebalance_while_the_broker_is_mute(broker: Endpoint, tmp_path: Path) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        first = await installation.worker()
        await installation.publish(*invocations("default", "S" * 5))
        second = installation.start_worker()
        await until_it_says(second, "ready")
        os.kill(broker.pid, signal.SIGSTOP)
        taken = await asyncio.gather(*(seconds_to_stop(worker) for worker in (first, second)))
        assert max(taken) < STOPPED_WITHIN
        await wake(broker)


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Endpoint]:
    """Provide a Kafka that the test kills."""
    with EmbeddedBroker(tmp_path / "kafka", Client().cache_dir, ephemeral=True) as started:
        running = started.status()
        assert running is not None
        yield running


async def test_a_worker_stops_while_it_sends_to_a_broker_that_was_killed(doomed: Endpoint, tmp_path: Path) -> None:
    installation = Installation(doomed.bootstrap_servers, tmp_path)
    await installation.__aenter__()
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 200))
    os.kill(doomed.pid, signal.SIGKILL)
    try:
        assert await seconds_to_stop(worker) < STOPPED_WITHIN
    finally:
        worker.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(installation.producer.stop(), 2.0)


async def test_a_second_signal_a_while_after_the_first_ends_it_at_once(broker: Endpoint, tmp_path: Path) -> None:
    async with Installation(broker.bootstrap_servers, tmp_path) as installation:
        worker = await installation.worker()
        os.kill(broker.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        begun = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1.2)
        if worker.process.poll() is None:
            assert await seconds_to_stop(worker) < 1.0
        assert time.monotonic() - begun < STOPPED_WITHIN
        await wake(broker)
