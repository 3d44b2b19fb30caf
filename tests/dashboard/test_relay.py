"""A worker's dashboard runs in a process of its own, which begins and ends with the people who look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from crl_stream.dashboard.web import relay
from crl_stream.dashboard.web.relay import SECRET, Relay
from dashboard.served import some_settings

PATIENCE = 60.0


class Worker:
    """A web server with a relay, as a worker has it."""

    def __init__(self, found: Relay, url: str) -> None:
        self.relay, self.url = found, url

    async def get(self, path: str = "/dashboard/", **headers: str) -> int:
        """Return the status of an answer."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=headers) as answer:
            return answer.status

    @property
    def pid(self) -> int:
        """The number of the dashboard's process."""
        assert self.relay.process is not None
        return self.relay.process.pid


@asynccontextmanager
async def working(folder: Path) -> AsyncIterator[Worker]:
    found = Relay(some_settings(folder), "127.0.0.1", URL("http://127.0.0.1"))
    app = web.Application()
    found.add_to(app)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Worker(found, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def runs(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


async def ended(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while runs(pid):
            await asyncio.sleep(0.02)


async def test_the_process_begins_with_the_first_request_and_ends_with_the_worker(tmp_path: Path) -> None:
    async with working(tmp_path) as worker:
        assert worker.relay.process is None
        assert await worker.get(Accept="application/json") == 401
        pid = worker.pid
        assert await asyncio.gather(*(worker.get() for _ in range(5))) == [401] * 5
        assert worker.pid == pid
    assert not runs(pid)


async def test_the_process_answers_only_its_worker(tmp_path: Path) -> None:
    async with working(tmp_path) as worker:
        await worker.get()
        port = f"http://127.0.0.1:{worker.relay.port}/dashboard/static/style.css"
        async with aiohttp.ClientSession() as session:
            for headers in ({}, {SECRET: ""}, {SECRET: "guess"}):
                async with session.get(port, headers=headers) as answer:
                    assert answer.status == 403
        assert await worker.get("/dashboard/static/style.css") == 200
        assert await worker.get("/dashboard/static/style.css", **{SECRET: "guess"}) == 200


async def test_if_the_process_dies_the_next_request_starts_another_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tmp_path) as worker:
        await worker.get()
        os.kill(pid := worker.pid, signal.SIGKILL)
        await ended(pid)
        async with asyncio.timeout(PATIENCE):
            while await worker.get() == 503:  # until its end is known
                await asyncio.sleep(0.02)
        assert worker.pid != pid
    assert [r.levelno for r in caplog.records if "ended with code -9; starting another" in r.message] == [
        logging.WARNING
    ]


async def test_the_process_ends_some_time_after_the_last_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "IDLE_SECONDS", 0.1)
    async with working(tmp_path) as worker:
        await worker.get()
        await ended(worker.pid if worker.relay.process else 0)
        assert await worker.get() == 401


async def test_the_process_ends_even_if_the_worker_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from dashboard.test_relay import working\n"
        "async def main():\n"
        "    async with working(Path(sys.argv[1])) as worker:\n"
        "        await worker.get(); print(worker.pid, flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    assert runs(pid)
    process.kill()
    await process.communicate()
    await ended(pid)


async def test_if_the_process_cannot_be_started_the_answer_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "MODULE", "crl_stream.no_such_module")
    async with (
        working(tmp_path) as worker,
        aiohttp.ClientSession() as session,
        session.get(f"{worker.url}/dashboard/") as answer,
    ):
        told = await answer.json()
    assert answer.status == 503
    assert "crl dashboard --web" in told["hint"]
    assert "the process of the dashboard cannot be started" in caplog.text
