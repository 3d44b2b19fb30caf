"""Workers whose clocks are two hours off, or are set back while they run."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.supervision import Supervisor
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
    """Replace every worker with one whose clock is 2 h ahead or behind, or is set back later.

    The fault counts as noticed if the log lines show the wrong time; nothing else may change.
    """
    library = find_library()
    if library is None:
        return Engagement(engaged=False, note="not run: libfaketime is not installed (package faketime)")
    await world.moved()
    mark = world.mark()
    kind = next(world.turns(("ahead", "behind", "set back"), rng))
    clock = world.folder / f"clock-{len(world.started)}"
    clock.write_text(f"{0 if kind == 'set back' else SKEW if kind == 'ahead' else -SKEW:+d}", encoding="ascii")
    wrong = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with Supervisor(world) as supervisor:
        world.environment |= wrong
        try:
            await _replace_all(world, supervisor)
            await _folds(world)
            if kind == "set back":
                clock.write_text(f"{-SKEW:+d}", encoding="ascii")
            recovery = await _folds(world) - mark.time
            written = await _written(world)
            off = written - time.time()
        finally:
            for name in wrong:
                world.environment.pop(name, None)
        await _replace_all(world, supervisor)
    if refused := world.said(mark, "InvalidTimestamp"):
        raise RuntimeError(f"the broker refused timestamps of a clock that is {kind}: {refused[0]}")
    return Engagement(abs(off) > SKEW / 2, {"clock off by s": off}, recovery, note=kind)


async def _replace_all(world: World, supervisor: Supervisor) -> None:
    """End every worker; the supervisor starts replacements with the current environment."""
    for worker in world.workers:
        await worker.stop()
    await supervisor.ready()


async def _written(world: World) -> float:
    """Return a worker's clock in seconds since the epoch, from the newest line of its log."""
    lines = [re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ ", each.said(), re.MULTILINE) for each in world.workers]
    found = [time.mktime(time.strptime(times[-1], "%Y-%m-%d %H:%M:%S")) for times in lines if times]
    return max(found, key=lambda at: abs(at - time.time())) if found else time.time()


async def _folds(world: World) -> float:
    """Wait until every partition has been folded up to its current end."""
    ends = await world.progress.ends(world.names(INVOCATIONS))
    return await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE)


def find_library() -> Path | None:
    """Return the path of libfaketime, or None if it is not installed."""
    found = [path for pattern in LIBRARIES for path in sorted(Path("/").glob(pattern[1:]))]
    return found[0] if found else None
