"""Runs ``crl up`` and a runtime under faults of the embedded broker and the worker."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from integration.test_up import Up, end, is_gone, take_port

from crl_stream.settings.model import Kafka
from faults.outage.lives import LIBRARY_LINE, Runtime, ids_on_the_log, kind_of, state_active_variant

__all__ = ["FAULTS", "UpSeen", "run_up"]
FIRST_EPOCH = 100
PATIENCE = 240.0


class UpSeen(NamedTuple):
    """The result of one fault."""

    said: str
    whole: str
    libraries: str
    meanwhile: str
    connected: str
    followed: str
    accepted: str
    ended: str


class World:
    """A running ``crl up``, and the effects of the fault on it."""

    def __init__(self, up: Up) -> None:
        self.up, self.stack = up, ExitStack()
        self.starts = 1
        self.loses_data = False

    @property
    def kafka(self) -> Kafka:
        return Kafka(bootstrap_servers=self.up.note("broker/broker.json")["bootstrap_servers"])

    @property
    def broker_folder(self) -> Path:
        return self.up.folder / "crl-stream" / "broker"


def kill(world: World) -> None:
    os.kill(world.up.pid("kafka"), signal.SIGKILL)


def pause_for_20_s(world: World) -> None:
    pid = world.up.pid("kafka")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(20.0)
    os.kill(pid, signal.SIGCONT)


def pause_for_good(world: World) -> None:
    os.kill(world.up.pid("kafka"), signal.SIGSTOP)
    world.up.hear("Kafka is being killed and restarted")


def steal_port(world: World) -> None:
    port = int(world.kafka.bootstrap_servers.rpartition(":")[2])
    os.kill(world.up.pid("kafka"), signal.SIGKILL)
    world.stack.enter_context(take_port(port))
    world.up.hear("Kafka has moved to")


def lose_data(world: World) -> None:
    world.loses_data = True
    pid = world.up.pid("kafka")
    os.kill(pid, signal.SIGKILL)
    while not is_gone(pid):  # until it is gone, it may acknowledge records that are then deleted with its data
        time.sleep(0.01)
    shutil.rmtree(world.broker_folder / "logs")


def fill_disk(world: World) -> None:
    """Fill the broker's disk for 20 s; its folder is a separate file system."""
    filler = world.broker_folder / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
            file.flush()
    world.up.hear("no space")
    time.sleep(20.0)
    filler.unlink()


def kill_monitor(world: World) -> None:
    os.kill(world.up.pid("monitor"), signal.SIGKILL)


FAULTS: dict[str, Callable[[World], None]] = {
    "broker killed": kill,
    "broker paused for 20 s": pause_for_20_s,
    "broker paused and never resumed": pause_for_good,
    "broker killed and its port taken": steal_port,
    "broker lost its data": lose_data,
    "broker's disk full for 20 s": fill_disk,
    "worker killed": kill_monitor,
}


async def run_up(folder: Path, fault: Callable[[World], None]) -> UpSeen:
    """Run ``crl up`` through one fault."""
    world = World(Up(folder))
    up = world.up
    if fault is fill_disk:
        world.broker_folder.mkdir(parents=True)
        await _run("mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(world.broker_folder))
    runtime = None
    try:
        up.start()
        await asyncio.to_thread(up.hear, "crl status shows the tasks")
        runtime = Runtime(up.environment, folder)
        await runtime.ready()
        await state_active_variant(world.kafka, FIRST_EPOCH)
        await asyncio.sleep(2.0)
        return await _through(world, runtime, fault)
    finally:
        if runtime is not None:
            runtime.end()
        world.stack.close()
        for program in up.programs:
            if program.poll() is None:
                program.kill()
            program.wait()
        for pid in up.family():
            os.kill(pid, signal.SIGKILL)
        if fault is fill_disk:
            await asyncio.sleep(1.0)
            await _run("umount", "-l", str(world.broker_folder))


async def _run(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words)
    assert await process.wait() == 0, words


async def _through(world: World, runtime: Runtime, fault: Callable[[World], None]) -> UpSeen:
    up = world.up
    before, began = len(up.text()), time.time()
    await asyncio.to_thread(fault, world)
    back = time.time()
    # Write the active variant as soon as the broker accepts it, whether or not the workers are back.
    stating = asyncio.create_task(_state(world))
    text = await asyncio.to_thread(_until_well, world, before)
    whole = time.time()
    variant, stated = await asyncio.wait_for(stating, PATIENCE)
    await asyncio.sleep(1.0)
    await runtime.finish()
    there = await ids_on_the_log(world.kafka)
    since = back + 1.0 if world.loses_data else began - 0.5
    lived = runtime.lived(began, back, stated, variant, there, since=since)
    took = await asyncio.to_thread(end, up.programs[-1])
    return UpSeen(
        _own_lines(text),
        f"{whole - back:.0f} s" + (" (after a second `crl up`)" if world.starts > 1 else ""),
        str(len(LIBRARY_LINE.findall(text))),
        lived.meanwhile,
        lived.connected,
        lived.followed,
        lived.accepted,
        f"{took:.1f} s, code {up.programs[-1].returncode}",
    )


async def _state(world: World) -> tuple[str, float]:
    while True:
        try:
            variant = await asyncio.wait_for(state_active_variant(world.kafka, FIRST_EPOCH + 1), 3.0)
        except Exception:
            await asyncio.sleep(0.1)
        else:
            return variant, time.time()


def _until_well(world: World, before: int) -> str:
    """Wait until `crl status --check` finds nothing wrong; return what `crl up` printed meanwhile."""
    up, until, text = world.up, time.monotonic() + PATIENCE, ""
    while True:
        assert time.monotonic() < until, up.text()[-3_000:]
        if (code := up.programs[-1].poll()) is not None:
            text += up.text()[before:] + f"\n(ended with code {code})\n"
            up.start()
            world.starts, before = world.starts + 1, 0
        code, _ = up.run("status", "--check")
        if code == 0:
            return text + up.text()[before:]
        time.sleep(0.2)


def _own_lines(text: str) -> str:
    """Return the lines of `crl up`, without those of its processes, which begin with a date."""
    lines = [line for line in text.splitlines() if line and not re.match(r"\d{4}-\d\d-\d\d ", line)]
    return kind_of(" / ".join(lines)) or "nothing"
