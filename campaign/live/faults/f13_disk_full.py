"""No space left on the disk of the broker's logs, or of a worker's files."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.supervision import Supervisor
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F13"
TITLE = "disk full"
TIMES = 12
PER_ROUND = 2
OWN_BROKER = True
PLAN = {"services": False, "workers": 2, "partitions": 3}
KINDS: Final = ("the broker's logs", "a worker's files")
BROKER_MEGABYTES: Final = 600
DETECTION_SECONDS: Final = 120.0


async def induce(world: World, rng: random.Random) -> Engagement:
    """Fill a disk.  This needs root and a kernel that allows mounting; without them, the note says "not run"."""
    kind = next(world.turns(KINDS, rng))
    await world.moved()
    try:
        found = await (_fill_broker(world) if kind == KINDS[0] else _fill_worker(world))
    except MountRefused as refused:
        return Engagement(engaged=False, note=f"not run: {refused}")
    found.note = kind
    return found


async def _fill_broker(world: World) -> Engagement:
    """Fill the broker's disk.

    The fault counts as noticed if the broker exits on its own.
    It cannot report why, because its log is on the same disk.  Once there is space again and the broker is restarted,
    folding must resume.
    """
    async with _on_a_small_disk(world), Supervisor(world) as supervisor:
        in_flight, mark = world.in_flight(), world.mark()
        ballast = world.broker.folder / "ballast"
        _fill(ballast)
        full = _is_full(world.broker.folder)
        try:
            await world.broker.ended(DETECTION_SECONDS)
            detected = time.monotonic() - mark.time
        finally:
            ballast.unlink()
        await world.broker.start()
        await world.progress.caught_up()
        ends = await world.progress.ends(world.names(INVOCATIONS))
        recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    figures = {"detected in s": detected, "worker exits": supervisor.exits.total()}
    return Engagement(full, figures, recovery, in_flight)


async def _fill_worker(world: World) -> Engagement:
    """Fill the disk of a worker's folder.

    The fault counts as noticed if the worker continues to fold although nothing can be written to its folder.
    """
    folder = world.folder / f"full-{len(world.started)}"
    folder.mkdir()
    mark = world.mark()
    with _mounted(folder, 1):
        _fill(folder / "ballast")
        await world.workers[0].stop()
        worker = world.start_worker(worker_data_dir=str(folder / "data"))
        await worker.ready()
        await world.spread()
        await world.progress.caught_up()
        partitions = await worker.partitions()
        ends = await world.progress.ends(world.names(INVOCATIONS))
        recovery = await world.progress.beyond({p: ends[p] for p in partitions}, PATIENCE) - mark.time
        full = _is_full(folder)
        await worker.stop()
    await world.refill()
    return Engagement(full and bool(partitions), {"partitions without a disk": len(partitions)}, recovery)


class MountRefused(Exception):
    """Raised if a small disk cannot be mounted on this machine."""


@contextmanager
def _mounted(folder: Path, megabytes: int) -> Iterator[None]:
    """Mount a separate disk, in memory."""
    command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "crl-campaign", str(folder)]
    if os.geteuid():
        raise MountRefused("only root can mount a disk that can be filled")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MountRefused(done.stderr.strip() or "mount failed")
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=False)


@asynccontextmanager
async def _on_a_small_disk(world: World) -> AsyncIterator[None]:
    """Move the broker's data to a disk that can be filled, and back afterwards."""
    broker, folder = world.broker, world.broker.folder
    aside = folder.with_name(f"{folder.name}-aside")
    await broker.stop()
    try:
        await _copy(folder, aside)
        with _mounted(folder, BROKER_MEGABYTES):
            await _copy(aside, folder)
            await broker.start()
            try:
                yield
            finally:
                await broker.stop()
                await _copy(folder, aside)
        await _copy(aside, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)
        if not broker.alive:
            await broker.start()


async def _copy(source: Path, target: Path) -> None:
    """Copy ``source`` into ``target``, with its times and its holes (most of a Kafka index is a hole)."""
    await asyncio.to_thread(_replace, source, target)


def _replace(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for old in target.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
    subprocess.run(["/bin/cp", "-a", "--sparse=always", f"{source}/.", str(target)], check=True)


def _fill(file: Path) -> None:
    """Fill all the free space."""
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(65_536))
    with file.open("ab", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"\0")


def _is_full(folder: Path) -> bool:
    try:
        (folder / "more").write_bytes(bytes(8_192))
    except OSError:
        return True
    return False
