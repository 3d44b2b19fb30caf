"""Repeated kill -9 of a worker while it is folding; another worker takes its place."""

from __future__ import annotations

import random

from campaign.live.fault import Engagement
from campaign.live.world import PATIENCE, World

ID = "F1"
TITLE = "kill -9"
TIMES = 200
PER_ROUND = 20


async def induce(world: World, rng: random.Random) -> Engagement:
    """Kill a worker that has folded records but not committed them; half of the time, its batch contains a command.

    The fault counts as noticed if another worker finds that records in the victim's partitions were folded but not
    committed.
    """
    victim = rng.choice(world.workers)
    partitions = await world.busy(victim)
    if rng.random() < 0.5:
        task = world.load.traffic.task_in(partitions)
        make = rng.choice((world.load.traffic.command, world.load.traffic.feedback))
        await world.load.send(make(task), *([world.load.traffic.policy()] if rng.random() < 0.3 else []))
    mark, in_flight = world.mark(), world.in_flight()
    victim.kill()
    world.start_worker()
    await world.progress.caught_up()
    marks = world.progress.marks(partitions)
    recovery = await world.progress.beyond(marks, PATIENCE) - mark.time if partitions else None
    await world.refill()
    skipped = world.skipped(mark)
    figures = {"skipped": skipped, "partitions": len(partitions), "left on their own": world.left(mark)}
    return Engagement(skipped > 0, figures, recovery, in_flight)
