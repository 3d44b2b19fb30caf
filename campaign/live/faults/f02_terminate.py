"""SIGTERM to a worker while it is folding: it finishes, commits and exits, and its successor finds nothing to skip."""

from __future__ import annotations

import random

from campaign.live.fault import Engagement
from campaign.live.world import PATIENCE, World

ID = "F2"
TITLE = "SIGTERM"
TIMES = 50
PER_ROUND = 10


async def induce(world: World, rng: random.Random) -> Engagement:
    """Send SIGTERM to a worker.

    The fault counts as noticed if the worker reports that it is stopping, and ends with code 0.
    """
    victim = rng.choice(world.workers)
    partitions = await world.busy(victim)
    mark = world.mark()
    world.start_worker()
    code = await victim.stop()
    stopped = world.mark()
    await world.progress.caught_up()
    recovery = await world.progress.beyond(world.progress.marks(partitions), PATIENCE) - mark.time
    await world.refill()
    told = world.said(mark, "stopping: finishing and committing the batches in flight", workers=[victim])
    figures = {"skipped": world.skipped(mark), "seconds to stop": stopped.time - mark.time}
    return Engagement(code == 0 and bool(told), figures, recovery, note=f"exit code {code}")
