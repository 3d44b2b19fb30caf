"""One outage of a broker with a worker, the services, a runtime and commands."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from builders import AGENT, invocations
from installation import Installation

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.ports import free_port
from crl_stream.core.identity import TaskKey
from crl_stream.settings.model import Client
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS
from faults.outage.lives import (
    Lived,
    Runtime,
    ids_on_the_log,
    kind_of,
    lines_of_libraries,
    outcome_file,
    state_active_variant,
    write,
)
from faults.outage.processes import Command, Supervised

BEFORE, AFTER, IN_FILE = 40, 20, 200
WHOLE_SECONDS = 240.0
FIRST_EPOCH = 100


class Processes(NamedTuple):
    """The results of the worker and the services."""

    said: str
    unready: str
    whole: str
    restarts: str
    libraries: str
    counted: str


class Commands(NamedTuple):
    """The results of the commands."""

    status: str
    publish: str
    once: str
    tail: str
    followed: str


class Seen(NamedTuple):
    """The results of one outage."""

    processes: Processes
    runtime: Lived
    commands: Commands


class Scene:
    """One installation on one broker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.broker = self._broker()
        self.pid = 0
        self.embedded_runtime = False
        """Whether the runtime is given no address and has to find the embedded broker."""
        self.loses_data = False

    def _broker(self) -> EmbeddedBroker:
        return EmbeddedBroker(self.folder / "kafka", Client().cache_dir, port=self.port)

    async def start_broker(self) -> None:
        endpoint = await asyncio.to_thread(self.broker.start)
        self.pid = endpoint.pid

    async def stop_broker(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        await asyncio.to_thread(self.broker.stop)

    async def publish(self, outcomes: str) -> None:
        messages = invocations("default", outcomes)
        records = [(TaskKey(one.agent_name, one.task_type).encode(), encode(one)) for one in messages]
        await write(self.installation.kafka, INVOCATIONS, records)

    def _runtime(self) -> Runtime:
        environment = self.installation.environment(
            client_cache_dir=str(self.folder / "cache"), broker_data_dir=str(self.folder / "kafka")
        )
        if self.embedded_runtime:
            del environment["CRL_KAFKA_BOOTSTRAP_SERVERS"]
        return Runtime(environment, self.folder)

    async def run(self, begin: Step, end: Step, seconds: float) -> Seen:
        await self.start_broker()
        self.installation = Installation(f"127.0.0.1:{self.port}", self.folder)
        await self.installation.admin.apply()
        worker = Supervised(self.installation, ("-m", "crl_stream", "worker"))
        services = Supervised(self.installation, ("-m", "crl_stream", "worker", "--role", "services"))
        beside: list[Any] = [worker, services]
        try:
            await _until_ready(worker, services)
            beside.append(tail := Command(self.installation, self.folder, "tail", "invocations", "--json"))
            await tail.says("Ctrl-C stops")
            beside.append(runtime := self._runtime())
            await runtime.ready()
            await state_active_variant(self.installation.kafka, FIRST_EPOCH)
            await self.publish("S" * BEFORE)
            await _until_counted(worker, lambda task: task["agent_name"] == AGENT, BEFORE)
            return await self._outage(worker, services, runtime, tail, begin, end, seconds)
        except TimeoutError:
            logs = "\n".join(f"{w.log}\n{w.log.read_text()[-3000:]}" for w in self.installation.workers[-2:])
            sys.stderr.write(logs)
            raise
        finally:
            for one in reversed(beside):
                one.end()
            await self.stop_broker()

    async def _outage(
        self,
        worker: Supervised,
        services: Supervised,
        runtime: Runtime,
        tail: Command,
        begin: Step,
        end: Step,
        seconds: float,
    ) -> Seen:
        file, in_file = outcome_file(self.folder, IN_FILE)
        began, begun = time.time(), time.monotonic()
        await begin(self)
        down = time.time()
        publishing = asyncio.create_task(self._publish_file(file))
        watched = await self._watch((worker, services), begun, seconds)
        await end(self)
        back = time.time()
        variant = await state_active_variant(self.installation.kafka, FIRST_EPOCH + 1)
        stated = time.time()
        await self.publish("S" * AFTER)
        expected = AFTER if self.loses_data else BEFORE + AFTER
        await _until_counted(worker, lambda task: task["agent_name"] == AGENT, expected)
        await _until_ready(worker, services)
        whole = time.time() - back
        published = await publishing
        await runtime.finish()
        there = await ids_on_the_log(self.installation.kafka)
        everything = sum(there.values())
        counted = await _until_counted(worker, lambda _: True, everything)
        status = await watched[2]
        lived = runtime.lived(began, back, stated, variant, there, since=down if self.loses_data else began - 0.5)
        await asyncio.sleep(1.0)
        tail.process.send_signal(signal.SIGINT)
        await tail.ends()
        shown = shown_by(tail)
        once = sum(shown[one] == there[one] for one in there)
        codes = "; ".join(f"{name}: {one.ends()}" for name, one in (("worker", worker), ("services", services)))
        of_libraries = ", ".join(str(lines_of_libraries(one.logs)) for one in (worker, services))
        return Seen(
            Processes(watched[0], watched[1], f"{whole:.0f} s", codes, of_libraries, f"{counted} of {everything}"),
            lived,
            Commands(
                status,
                published,
                f"{sum(there[one] == 1 for one in in_file)} of {IN_FILE}",
                kind_of(tail.said()),
                f"{once} of {len(there)}",
            ),
        )

    async def _publish_file(self, file: Path) -> str:
        """Publish a file while Kafka is away; rerun the command until it succeeds, at most three times."""
        told, began = [], time.monotonic()
        for number in range(4):
            name = self.folder / f"publish-{number}"
            name.mkdir()
            command = Command(self.installation, name, "publish", "-f", str(file))
            code = await command.ends()
            told.append(f"exit {code} after {time.monotonic() - began:.0f} s: {command.said()}")
            if code == 0:
                break
            await asyncio.sleep(5.0)
        return kind_of("; next try: ".join(told)).replace(str(self.folder) + "/", "")

    async def _watch(
        self, both: tuple[Supervised, ...], begun: float, seconds: float
    ) -> tuple[str, str, asyncio.Task[str]]:
        names: set[str] = set()
        unready: dict[int, float] = {}
        asking = asyncio.create_task(self._status(both[0], min(8.0, seconds / 4)))
        while time.monotonic() - begun < seconds:
            for number, one in enumerate(both):
                ready, why = await one.readiness()
                if not ready:
                    unready.setdefault(number, time.monotonic() - begun)
                    names |= {why} - {""}
            await asyncio.sleep(0.2)
        after = ", ".join(f"{at:.0f} s" for _, at in sorted(unready.items())) or "stayed ready"
        return "; ".join(sorted(names)) or "nothing", after, asking

    async def _status(self, worker: Supervised, delay: float) -> str:
        await asyncio.sleep(delay)
        port, asked = worker.worker.url.rpartition(":")[2], time.monotonic()
        code, out, _ = await self.installation.run_crl("--set", f"worker.web_port={port}", "status", "--check")
        names = dict.fromkeys(line.partition(" since")[0].partition(":")[0] for line in out.splitlines())
        return f"exit {code} in {time.monotonic() - asked:.0f} s: {', '.join(names)}"


def shown_by(tail: Command) -> Counter[str]:
    """Count how often `crl tail --json` has shown each invocation."""
    said = [json.loads(line)["message"] for line in tail.out.read_text().splitlines()]
    return Counter(message["invocation_id"] for message in said if "invocation_id" in message)


Step = Callable[[Scene], Awaitable[None]]


async def _until_ready(*processes: Supervised) -> None:
    async with asyncio.timeout(WHOLE_SECONDS):
        while not all([(await one.readiness())[0] for one in processes]):
            await asyncio.sleep(0.2)


async def _until_counted(worker: Supervised, which: Callable[[Any], bool], wanted: int) -> int:
    counted = -1
    with suppress(TimeoutError):
        async with asyncio.timeout(WHOLE_SECONDS):
            while counted != wanted:
                with suppress(aiohttp.ClientError, TimeoutError, OSError, KeyError):
                    _, page = await asyncio.wait_for(worker.worker.get("/api/tasks"), 2.0)
                    counted = sum(task["n_outcomes"] for task in page["tasks"] if which(task))
                await asyncio.sleep(0.2)
    return counted


# -- outages -------------------------------------------------------------------------------------------
async def stop(scene: Scene) -> None:
    await asyncio.to_thread(scene.broker.stop)


async def kill(scene: Scene) -> None:
    os.kill(scene.pid, signal.SIGKILL)


async def pause(scene: Scene) -> None:
    os.kill(scene.pid, signal.SIGSTOP)


async def go_on(scene: Scene) -> None:
    os.kill(scene.pid, signal.SIGCONT)


async def start(scene: Scene) -> None:
    scene.broker = scene._broker()
    await scene.start_broker()


async def start_elsewhere(scene: Scene) -> None:
    """Start the broker on another port, and restart the workers with the new address, as `crl up` does."""
    scene.port = free_port()
    await start(scene)
    scene.installation.kafka = scene.installation.kafka.model_copy(
        update={"bootstrap_servers": f"127.0.0.1:{scene.port}"}
    )
    for worker in scene.installation.workers[-2:]:
        worker.process.terminate()


async def lose_data(scene: Scene) -> None:
    scene.loses_data = True
    await asyncio.to_thread(scene.broker.stop)
    shutil.rmtree(scene.folder / "kafka")


async def start_empty(scene: Scene) -> None:
    """Start an empty cluster; create its topics 15 s later, as an operator would after reading the workers' hint."""
    await start(scene)
    await asyncio.sleep(15.0)
    await scene.installation.admin.apply()
