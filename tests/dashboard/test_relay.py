"""A worker's dashboard runs in a process of its own, which begins and ends with the people who look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from crl_stream.dashboard.web.connections import keep_closing_idle
from crl_stream.worker import dashboard_relay as relay
from crl_stream.worker.dashboard_relay import SECRET, Relay
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


async def bytes_of(url: str, request: bytes) -> bytes:
    """Return everything that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(request)
    found = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE):
            while part := await reader.read(65536):
                found += part
    writer.close()
    return found


def a_get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


STYLE = a_get("/dashboard/static/style.css")


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process be ``dying_process``."""
    monkeypatch.setattr(relay, "MODULE", "dashboard.dying_process")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.mark.usefixtures("dying")
@pytest.mark.parametrize("path", ["chunked", "sized"])
async def test_an_answer_that_breaks_off_in_the_process_breaks_off_for_the_viewer_and_nothing_is_added(
    tmp_path: Path, path: str
) -> None:
    async with working(tmp_path) as worker:
        found = await bytes_of(worker.url, a_get(f"/dashboard/{path}"))
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.partition(b"\r\n\r\n")[2].removeprefix(b"5\r\n").rstrip() == b"first"


@pytest.mark.usefixtures("dying")
async def test_a_process_that_ends_before_it_answers_is_said_to_have_done_so(tmp_path: Path) -> None:
    async with working(tmp_path) as worker:
        assert await worker.get("/dashboard/nothing") == 503


@pytest.mark.usefixtures("dying")
async def test_if_the_process_ends_while_it_has_a_command_the_answer_says_that_nothing_is_known(tmp_path: Path) -> None:
    async with (
        working(tmp_path) as worker,
        aiohttp.ClientSession() as session,
        session.post(f"{worker.url}/dashboard/nothing", json={"command": "HoldAll"}) as answer,
    ):
        told = await answer.json()
    assert (answer.status, told["hint"]) == (503, "crl audit shows it if it did")
    assert "not known whether the command arrived" in told["error"]


@pytest.mark.usefixtures("dying")
async def test_a_worker_that_stops_while_the_process_starts_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "started"
    folder.mkdir()
    monkeypatch.setenv("NEVER_LISTENS", str(folder))
    async with asyncio.timeout(PATIENCE):
        async with working(tmp_path) as worker:
            first, second = (asyncio.create_task(worker.get()) for _ in range(2))
            while not (started := list(folder.iterdir())):
                await asyncio.sleep(0.02)
        assert (await first, await second) == (503, 503)
    assert [runs(int(path.name)) for path in started] == [False]
    assert len(list(folder.iterdir())) == 1
    assert "Traceback" not in caplog.text


async def test_a_process_that_does_not_answer_holds_no_viewer_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tmp_path) as worker:
        monkeypatch.setattr(relay, "ANSWER_SECONDS", 0.5)
        await worker.get()
        os.kill(worker.pid, signal.SIGSTOP)
        assert await worker.get() == 503
        pid = worker.pid
    assert "did not answer for 0.5 s" in caplog.text
    assert not runs(pid)


def reading_nothing(url: str) -> socket.socket:
    """Return a connection of a viewer that asks for much at once and reads nothing."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    found.sendall(STYLE * 300)
    return found


async def until_stuck(worker: Worker) -> web.Request:
    """Return the request of a viewer for whom nothing more can be written."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for request in worker.relay._open.values():
                if request.transport is not None and request.transport.get_write_buffer_size() > 65_536:
                    return request
            await asyncio.sleep(0.01)


async def test_a_viewer_that_reads_nothing_is_disconnected_and_little_is_kept_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "WRITE_SECONDS", 0.5)
    async with working(tmp_path) as worker:
        await worker.get()
        with reading_nothing(worker.url):
            transport = (await until_stuck(worker)).transport
            assert transport is not None
            most = 0
            async with asyncio.timeout(PATIENCE):
                while not transport.is_closing():
                    most = max(most, transport.get_write_buffer_size())
                    await asyncio.sleep(0.01)
    assert most < 300_000


async def test_a_viewer_that_reads_nothing_does_not_keep_the_worker_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "WRITE_SECONDS", 600.0)
    found = Relay(some_settings(tmp_path), "127.0.0.1", URL("http://127.0.0.1"))
    app = web.Application()
    found.add_to(app)
    runner = web.AppRunner(app)  # it would wait for 60 s, as Faust does
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    worker = Worker(found, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await worker.get()
    with reading_nothing(worker.url):
        await until_stuck(worker)
        async with asyncio.timeout(10):
            await runner.cleanup()


async def test_a_viewer_that_leaves_while_it_sends_causes_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tmp_path) as worker:
        await worker.get()
        _, writer = await asyncio.open_connection("127.0.0.1", int(worker.url.rpartition(":")[2]))
        writer.write(b"POST /dashboard/commands HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf")
        async with asyncio.timeout(PATIENCE):
            while worker.relay._idle.is_set():
                await asyncio.sleep(0.01)
            writer.transport.abort()
            await worker.relay._idle.wait()
        assert await worker.get() == 401
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00garbage\r\n\r\n",
    "bytes in the path": b"GET /dashboard/\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a header that is too long": b"GET /dashboard/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n",
    "two lengths": b"POST /dashboard/commands HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a body that is not packed": b"POST /dashboard/commands HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("request_bytes", GARBAGE.values(), ids=list(GARBAGE))
async def test_garbage_is_refused_and_logged_in_one_line_that_repeats_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    closing = asyncio.create_task(keep_closing_idle(lambda: None))
    async with working(tmp_path) as worker:
        await asyncio.sleep(0)
        assert (await bytes_of(worker.url, request_bytes)).split(b" ")[1] == b"400"
    closing.cancel()
    [line] = [record for record in caplog.records if record.name == "aiohttp.server"] or [None]
    if line is not None:  # aiohttp says nothing about a method that it does not know
        assert (line.levelno, line.exc_info, line.exc_text) == (logging.WARNING, None, None)
        assert line.getMessage().startswith("a request cannot be read and was refused: ")
    assert "Traceback" not in caplog.text
