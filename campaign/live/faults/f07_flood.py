"""Twenty thousand records at once, or a broker that is paused four fifths of the time."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.supervision import Supervisor
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F7"
TITLE = "flood, slow broker"
TIMES = 12
PER_ROUND = 3
BURST: Final = 20_000
SLOW_SECONDS: Final = 10.0
STANDS: Final = 0.4
GOES: Final = 0.1
KINDS: Final = ("flood", "slow broker", "another flood")
LAG: Final = 2_000
"""Number of waiting records that counts as a flood."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Let records pile up.

    The fault counts as noticed if enough records were waiting.  All of them must be folded in the end.  The figures
    include peak memory.
    """
    await world.moved()
    mark = world.mark()
    kind = next(world.turns(KINDS, rng))
    broker_is_slow = kind == "slow broker"
    async with Supervisor(world) as supervisor:
        most = await (_slow(world) if broker_is_slow else _flood(world))
        ends = await world.progress.ends(world.names(INVOCATIONS))
        began = time.monotonic()
        recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, 2 * PATIENCE) - mark.time
    drained = max(0.001, time.monotonic() - began)
    figures = {
        "most waiting": most,
        "drained records/s": 0.0 if broker_is_slow else most / drained,
        "largest worker MB": max(map(_largest_megabytes, (worker.process.pid for worker in world.workers))),
        "worker exits": supervisor.exits.total(),
    }
    noticed = most >= (LAG if not broker_is_slow else world.plan.rate * STANDS / 2)
    return Engagement(noticed, figures, recovery, note=kind)


async def _flood(world: World) -> float:
    sending = asyncio.create_task(world.load.burst(BURST))
    most = 0
    while not sending.done():
        most = max(most, await world.lag())
        await asyncio.wait([sending], timeout=0.1)
    await sending
    return max(most, await world.lag())


async def _slow(world: World) -> float:
    """Pause the broker again and again; return the largest number of waiting records seen while it was running."""
    until, most = time.monotonic() + SLOW_SECONDS, 0
    while time.monotonic() < until:
        world.broker.pause()
        await asyncio.sleep(STANDS)
        world.broker.go_on()
        await asyncio.sleep(GOES)
        most = max(most, await world.lag())
    return most


def _largest_megabytes(pid: int) -> float:
    """Return the peak memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next((int(line.split()[1]) / 1_024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)
