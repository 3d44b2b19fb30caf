"""A storm of rebalances: 1 -> 3 -> 1 -> 4 workers, without waiting for one change before the next."""

from __future__ import annotations

import asyncio
import random

from campaign.live.fault import Engagement
from campaign.live.world import PATIENCE, World

ID = "F5"
TITLE = "rebalance storm: 1 -> 3 -> 1 -> 4 workers"
TIMES = 30
PER_ROUND = 6
PLAN = {"workers": 1, "partitions": 8}


async def induce(world: World, rng: random.Random) -> Engagement:
    """Add or remove workers.

    The fault counts as noticed if partitions change owners and every leaving worker ends with code 0.
    Recovery ends when every partition has made progress.
    """
    if not world.workers:  # the last worker has exited on its own
        await world.refill()
    before = {worker.name: await worker.partitions() for worker in world.workers}
    await world.progress.caught_up()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    mark = world.mark()
    many = len(world.workers) > 1
    if many:
        leaving = rng.sample(world.workers, len(world.workers) - 1)
        codes = await asyncio.gather(*(worker.stop() for worker in leaving))
    else:
        codes = []
        for _ in range(rng.choice((2, 3))):
            world.start_worker()
        await world.ready()
        await world.spread()
    await world.progress.caught_up()
    recovery = await world.progress.beyond(world.progress.marks(), PATIENCE) - mark.time
    await world.ready()
    after = {worker.name: await worker.partitions() for worker in world.workers}
    rebalances = len(world.said(mark, "because it is rebalancing"))
    figures = {"workers": len(after), "rebalances": rebalances, "skipped": world.skipped(mark)}
    return Engagement(before != after and not any(codes), figures, recovery, note=f"exit codes {codes}")
