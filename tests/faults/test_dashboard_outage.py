"""The dashboard says since when it is not live while the broker is away, and recovers without being started again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from builders import invocations
from dashboard.browsing import Browser, until
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import TASKS
from faults.test_quiet_outage import Broker

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    started = await asyncio.to_thread(Broker, tmp_path)
    yield started
    await asyncio.to_thread(started.end)


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_a_page_tells_an_outage_and_goes_on_after_it(how: str, broker: Broker, tmp_path: Path) -> None:
    async with Installation(f"127.0.0.1:{broker.port}", tmp_path) as installation:
        worker = await installation.worker()
        await installation.publish(*invocations("default", "S" * 5))
        await installation.wait_for(TASKS, m.TaskSnapshot, lambda one: one.n_outcomes == 5)
        port = worker.url.rsplit(":", 1)[1]
        _, link, _ = await installation.run_crl("dashboard", "--link", worker_web_port=port)
        async with Browser(worker.url) as browser:
            await browser.enter(link.strip())
            async with browser.stream() as events:
                await until(events, lambda event: event.data.get("live") is True)
                await installation.producer.stop()
                gone = time.time() * 1_000
                broker.away(how)
                lost = await until(events, lambda event: event.data.get("live") is False, 60)
                assert "not live since" in lost.data["text"]
                assert abs(lost.data["since"] - gone) < 10_000
                status, page = await browser.json("/dashboard/")
                assert (status, page["live"], len(page["tasks"])) == (200, False, 1)
                await asyncio.to_thread(broker.back, how)
                await until(events, lambda event: event.data.get("live") is True, 120)
                await installation.restart_producer()
                await installation.publish(*invocations("default", "S" * 5))
                await until(events, lambda event: event.name == "task", 120)
            began = time.monotonic()
            worker.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.process.wait, 60) == 0
            assert time.monotonic() - began < 15
