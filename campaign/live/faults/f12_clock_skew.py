"""A worker whose clock is two hours off, or that is set back while it runs."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.newest import newest_timestamp
from campaign.live.workers import WorkerEnded
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F12"
TITLE = "clock of a worker"
TIMES = 12
PER_ROUND = 3
PLAN = {"workers": 2, "services": False}
LIBRARIES: Final = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")
SKEW: Final = 7_200
"""Seconds."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Every worker is replaced by one with a wrong clock: +-2 h, or right and then set back.

    Noticed when what it writes carries its wrong time; nothing else may come of it.
    """
    library = find_library()
    if library is None:
        return Engagement(engaged=False, note="not run: libfaketime is not installed (package faketime)")
    await world.moved()
    in_flight, mark = world.in_flight(), world.mark()
    kind = next(world.turns(("ahead", "behind", "set back"), rng))
    clock = world.folder / f"clock-{len(world.started)}"
    clock.write_text(f"{0 if kind == 'set back' else SKEW if kind == 'ahead' else -SKEW:+d}", encoding="ascii")
    wrong = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    honest = world.workers
    skewed = [world.start_worker(environment=wrong) for _ in honest]
    try:
        await world.ready()
    except WorkerEnded as error:
        raise RuntimeError(f"a clock that is {kind} has ended a worker: {error}") from error
    for worker in honest:
        await worker.stop()
    await _folds(world)
    if kind == "set back":
        clock.write_text(f"{-SKEW:+d}", encoding="ascii")
    await _folds(world)
    written = await newest_timestamp(world.broker.bootstrap_servers, world.topics.changelog, world.partitions)
    off = written - time.time()
    recovery = await _folds(world) - mark.time
    if ended := [worker.name for worker in skewed if not worker.alive]:
        raise RuntimeError(f"a clock that is {kind} has ended {ended}: {world.said(mark, '.*CRITICAL.*')[:3]}")
    for _ in honest:
        world.start_worker()
    await world.ready()
    for worker in skewed:
        await worker.stop()
    return Engagement(abs(off) > SKEW / 2, {"clock off by s": off}, recovery, in_flight, kind)


async def _folds(world: World) -> float:
    """Wait until what is sent from now on is folded on every partition."""
    ends = await world.progress.ends(world.names(INVOCATIONS))
    return await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE)


def find_library() -> Path | None:
    """Where libfaketime is."""
    found = [path for pattern in LIBRARIES for path in sorted(Path("/").glob(pattern[1:]))]
    return found[0] if found else None
