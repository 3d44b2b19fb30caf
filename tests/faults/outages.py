"""The outage matrix: what worker, services and command line say while Kafka is away, and when all is whole again.

    PYTHONPATH=.:tests .venv/bin/python tests/faults/outages.py [NAME ...]

Takes ten minutes; prints a Markdown table.  A broker of its own, a worker and the services under a supervisor that
starts again what ends, as ``crl up`` and Kubernetes do.  What was published before, and what is published after, is
counted in the end: all of it, once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiokafka import AIOKafkaProducer
from builders import invocations
from installation import Installation

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.ports import free_port
from crl_stream.core.identity import TaskKey
from crl_stream.settings.model import Client
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS, Topics

BEFORE, AFTER = 40, 20
WHOLE_SECONDS = 150.0


class Row(NamedTuple):
    """A line of the table."""

    outage: str
    said: str
    unready: str
    status: str
    whole: str
    restarts: str
    counted: str


class Supervised:
    """A process that is started again a second after it has ended."""

    def __init__(self, installation: Installation, program: tuple[str, ...]) -> None:
        self.installation, self.program, self.codes = installation, program, list[int]()
        self.worker = installation.start_worker(program)
        self.task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self.codes.append(await asyncio.to_thread(self.worker.process.wait))
            await asyncio.sleep(1.0)
            self.worker = self.installation.start_worker(self.program)

    async def readiness(self) -> tuple[bool, str]:
        """Whether it is ready, and the names of what keeps it from it."""
        try:
            status, page = await asyncio.wait_for(self.worker.get("/readyz"), 2.0)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False, "down"
        return status == 200, ", ".join(sorted({f["name"] for f in page["findings"] if f["trouble"]}))

    def end(self) -> None:
        self.task.cancel()
        if self.worker.process.poll() is None:
            self.worker.kill()


class Scene:
    """One installation on one broker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.broker = self._broker()
        self.pid = 0
        self.expected = BEFORE + AFTER

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
        kafka = self.installation.kafka
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
        await producer.start()
        try:
            for one in invocations("default", outcomes):
                key = TaskKey(one.agent_name, one.task_type).encode()
                partition = self.installation.kafka.partitions
                from crl_stream.wire.partitioner import partition_of

                place = partition_of(key, partition)
                await producer.send_and_wait(
                    Topics(kafka.topic_prefix)(INVOCATIONS), encode(one), key=key, partition=place
                )
        finally:
            await producer.stop()

    async def run(self, name: str, begin: Any, end: Any, seconds: float) -> Row:
        await self.start_broker()
        self.installation = Installation(f"127.0.0.1:{self.port}", self.folder)
        await self.installation.admin.apply()
        worker = Supervised(self.installation, ("-m", "crl_stream", "worker"))
        services = Supervised(self.installation, ("-m", "crl_stream", "worker", "--role", "services"))
        both = (worker, services)
        try:
            async with asyncio.timeout(120):
                while not all([(await one.readiness())[0] for one in both]):
                    await asyncio.sleep(0.2)
            await self.publish("S" * BEFORE)
            await self._until_counted(worker, BEFORE)
            begun = time.monotonic()
            await begin(self)
            said, unready, status = await self._watch(both, begun, seconds)
            back = time.monotonic()
            await end(self)
            await self.publish("S" * AFTER)
            counted = await self._until_counted(worker, self.expected)
            async with asyncio.timeout(WHOLE_SECONDS):
                while not all([(await one.readiness())[0] for one in both]):
                    await asyncio.sleep(0.2)
            whole = time.monotonic() - back
            codes = " ".join(f"{name}: {one.codes}" for name, one in (("worker", worker), ("services", services)))
            return Row(name, said, unready, status, f"{whole:.0f} s", codes, f"{counted} of {self.expected}")
        except TimeoutError:
            logs = "\n".join(f"{w.log}\n{w.log.read_text()[-3000:]}" for w in self.installation.workers[-2:])
            sys.stderr.write(logs)
            return Row(name, "-", "-", "-", "not whole", f"{worker.codes} {services.codes}", "-")
        finally:
            for one in both:
                one.end()
            await self.stop_broker()

    async def _watch(self, both: tuple[Supervised, ...], begun: float, seconds: float) -> tuple[str, str, str]:
        names: set[str] = set()
        unready: dict[int, float] = {}
        asking = asyncio.create_task(self._status(both[0], min(8.0, seconds / 2)))
        while time.monotonic() - begun < seconds or not asking.done():
            for number, one in enumerate(both):
                ready, why = await one.readiness()
                if not ready:
                    unready.setdefault(number, time.monotonic() - begun)
                    names |= {why} - {""}
            await asyncio.sleep(0.2)
        after = ", ".join(f"{at:.0f} s" for at in unready.values()) or "stayed ready"
        return "; ".join(sorted(names)) or "nothing", after, await asking

    async def _status(self, worker: Supervised, delay: float) -> str:
        await asyncio.sleep(delay)
        port, asked = worker.worker.url.rpartition(":")[2], time.monotonic()
        code, out, _ = await self.installation.run_crl("--set", f"worker.web_port={port}", "status", "--check")
        names = dict.fromkeys(line.partition(" since")[0].partition(":")[0] for line in out.splitlines())
        return f"exit {code} in {time.monotonic() - asked:.0f} s: {', '.join(names)}"

    async def _until_counted(self, worker: Supervised, wanted: int) -> int:
        counted = -1
        async with asyncio.timeout(WHOLE_SECONDS):
            while counted != wanted:
                with suppress(aiohttp.ClientError, TimeoutError, OSError, KeyError):
                    _, page = await asyncio.wait_for(worker.worker.get("/api/tasks"), 2.0)
                    counted = sum(task["n_outcomes"] for task in page["tasks"])
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
    """On another port; the supervisor is told the new address, as `crl up` tells it."""
    scene.port = free_port()
    await start(scene)
    scene.installation.kafka = scene.installation.kafka.model_copy(
        update={"bootstrap_servers": f"127.0.0.1:{scene.port}"}
    )
    for worker in scene.installation.workers[-2:]:
        worker.process.terminate()


async def lose_data(scene: Scene) -> None:
    await asyncio.to_thread(scene.broker.stop)
    shutil.rmtree(scene.folder / "kafka")


async def start_empty(scene: Scene) -> None:
    """Another cluster; somebody runs `crl topics apply` once the workers say so."""
    await start(scene)
    await asyncio.sleep(15.0)
    await scene.installation.admin.apply()
    scene.expected = AFTER


OUTAGES: dict[str, tuple[Callable[[Scene], Awaitable[None]], Callable[[Scene], Awaitable[None]], float]] = {
    "stopped for 5 s": (stop, start, 5.0),
    "stopped for 25 s": (stop, start, 25.0),
    "stopped for 35 s": (stop, start, 35.0),
    "stopped for 120 s": (stop, start, 120.0),
    "killed, 5 s": (kill, start, 5.0),
    "paused for 5 s": (pause, go_on, 5.0),
    "paused for 35 s": (pause, go_on, 35.0),
    "moved to another port": (stop, start_elsewhere, 15.0),
    "came back without its data": (lose_data, start_empty, 10.0),
}


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(wanted: list[str]) -> None:
    columns = (
        "Kafka",
        "`/readyz` named",
        "unready after (worker, services)",
        "`crl status --check`",
        "whole again",
        "exit codes of restarts",
        "outcomes counted",
    )
    tell("| " + " | ".join(columns) + " |")
    tell("|" + "---|" * len(columns))
    for name, (begin, end, seconds) in OUTAGES.items():
        if wanted and not any(word in name for word in wanted):
            continue
        with tempfile.TemporaryDirectory(prefix="crl-outage-") as folder:
            row = await Scene(Path(folder)).run(name, begin, end, seconds)
        tell("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
