"""A terminal stays readable during an outage: our code prints one line per problem, and libraries print nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import forked
import pytest
from installation import Installation, WorkerProcess

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.ports import free_port
from crl_stream.settings.model import Client
from faults.outage.lives import LIBRARY_LINE, outcome_file

pytestmark = [pytest.mark.integration, pytest.mark.faults]
OUTAGE_SECONDS = 20.0
PATIENCE = 120.0
NUMBERS = re.compile(r"\d+")


class Broker:
    """A broker that can be killed or paused, and brought back."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._broker = self._made()
        self.pid = self._broker.start().pid

    def _made(self) -> EmbeddedBroker:
        return EmbeddedBroker(self._folder / "kafka", Client().cache_dir, port=self.port)

    def away(self, how: str) -> None:
        os.kill(self.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)

    def back(self, how: str) -> None:
        if how == "killed":
            self._broker.stop()
            self._broker = self._made()
            self.pid = self._broker.start().pid
        else:
            os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        self._broker.stop()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    started = await asyncio.to_thread(Broker, tmp_path)
    yield started
    await asyncio.to_thread(started.end)


class Beside:
    """A background command whose stderr is kept."""

    def __init__(self, installation: Installation, *words: str) -> None:
        self.err = installation.folder / f"{words[0]}.err"
        with self.err.open("wb") as err, Path(os.devnull).open("wb") as nowhere:
            command = ("crl_stream", *words)
            self.process = forked.start(command, installation.environment(), installation.folder, nowhere, err)

    def lines(self) -> list[str]:
        return self.err.read_text().splitlines()

    async def says(self, words: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(words in line for line in self.lines()):
                await asyncio.sleep(0.1)


async def says(worker: WorkerProcess, words: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while words not in worker.log.read_text():
            await asyncio.sleep(0.1)


def often(lines: list[str]) -> list[str]:
    """Return the kinds of lines that occur more than once."""
    kinds = [NUMBERS.sub("#", line) for line in lines if " INFO " not in line]
    return sorted({kind for kind in kinds if kinds.count(kind) > 1})


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_through_an_outage_each_process_says_once_what_is_wrong_and_that_it_is_over_and_no_library_speaks(
    broker: Broker, tmp_path: Path, how: str
) -> None:
    async with Installation(f"127.0.0.1:{broker.port}", tmp_path) as installation:
        worker = installation.start_worker()
        services = installation.start_worker(("-m", "crl_stream", "worker", "--role", "services"))
        both = (worker, services)
        tail = Beside(installation, "tail")
        file, _ = outcome_file(tmp_path, 300)
        for one in both:
            await one.ready()
        await tail.says("Ctrl-C stops")
        before = [len(one.log.read_text()) for one in both]
        began = time.monotonic()
        broker.away(how)
        publish = Beside(installation, "publish", "-f", str(file))
        for one in both:
            await says(one, "Kafka does not answer")
        for command in (tail, publish):
            await command.says("Kafka has not answered at")
        await asyncio.sleep(max(0.0, began + OUTAGE_SECONDS - time.monotonic()))
        await asyncio.to_thread(broker.back, how)
        for one in both:
            await says(one, "Kafka answers again after")
        for command in (tail, publish):
            await command.says("Kafka answers again after")
        assert await asyncio.to_thread(publish.process.wait, PATIENCE) == 0
        for one in both:
            await one.ready()
        tail.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(tail.process.wait, PATIENCE) == 130
        for one, start in zip(both, before, strict=True):
            said = one.log.read_text()[start:]
            assert LIBRARY_LINE.findall(said) == [], said
            assert often(said.splitlines()) == []
            assert "127.0.0.1" in said
            assert "check that the broker is running" in said
        for command in (tail, publish):
            assert often(command.lines()) == [], command.lines()
            assert not any(LIBRARY_LINE.search(line) for line in command.lines())


async def test_libraries_are_heard_by_those_who_ask_for_them(broker: Broker, tmp_path: Path) -> None:
    async with Installation(f"127.0.0.1:{broker.port}", tmp_path) as installation:
        worker = installation.start_worker(("-m", "crl_stream", "-v", "worker"))
        await worker.ready()
        assert re.search(r" INFO (faust|mode|aiokafka)\b", worker.log.read_text())
        broker.away("killed")
        async with asyncio.timeout(PATIENCE):
            while not re.search(r" (WARNING|ERROR) aiokafka\b", worker.log.read_text()):
                await asyncio.sleep(0.1)
        await asyncio.to_thread(broker.back, "killed")
