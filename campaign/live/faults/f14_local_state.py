"""The files on a worker's own disk are deleted or damaged while it is down; no state is lost, as Kafka has it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.world import PATIENCE, World
from crl_stream.settings.model import leaves
from crl_stream.wire.topics import INVOCATIONS

ID = "F14"
TITLE = "local state lost or damaged"
TIMES = 12
PER_ROUND = 4
PLAN = {"services": False}
STORE: Final = "worker.store"
KINDS: Final = ("deleted", "bytes flipped")
READY: Final = r"ready: partitions \[[\d, ]+\] of \d+, ([1-9]\d*) tasks"


async def prepare(world: World, rng: random.Random) -> None:  # noqa: ARG001 - a fault's function
    """Start the round, with rows on disk if a worker can keep them there."""
    if STORE in leaves():
        world.settings["worker_store"] = "rocksdb"
    await world.start()


async def induce(world: World, rng: random.Random) -> Engagement:
    """Delete or damage a killed worker's files.

    The fault counts as noticed if the next process on the same folder reports that it has rows, and continues to fold.
    """
    await world.moved()
    kind, victim = next(world.turns(KINDS, rng)), rng.choice(world.workers)
    in_flight, mark = world.in_flight(), world.mark()
    folder = world.folder / victim.name
    victim.kill()
    if kind == KINDS[0]:
        hurt = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder, ignore_errors=True)
    else:
        hurt = sum(_flip(path, rng) for path in folder.rglob("*") if path.is_file())
    worker = world.start_worker(worker_data_dir=str(folder))
    await worker.ready()
    await world.spread()
    await world.progress.caught_up()
    ends = await world.progress.ends(world.names(INVOCATIONS))
    recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    tasks = [int(count) for count in world.said(mark, READY, workers=[worker])]
    kept = "rows on disk" if "worker_store" in world.settings else "rows in memory"
    return Engagement(bool(tasks), {"bytes hurt": hurt, "tasks": sum(tasks)}, recovery, in_flight, f"{kept}, {kind}")


def _flip(path: Path, rng: random.Random) -> int:
    """Invert some bytes of a file; return the number of inverted bytes."""
    data = bytearray(path.read_bytes())
    for _ in range(min(len(data), 64)):
        data[rng.randrange(len(data))] ^= 0xFF
    path.write_bytes(data)
    return min(len(data), 64)
