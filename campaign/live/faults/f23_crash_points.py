"""A worker dies at each of the named lines of code: between two writes, in a commit, a rebalance or a recovery."""

from __future__ import annotations

import asyncio
import random
import subprocess
from contextlib import suppress

from campaign.live.fault import Engagement
from campaign.live.points import POINTS
from campaign.live.workers import WorkerEnded
from campaign.live.world import LAUNCHER, PATIENCE, World

ID = "F23"
TITLE = "death at a named line"
TIMES = 10 * len(POINTS)
PER_ROUND = len(POINTS)
PLAN = {"services": True, "workers": 2}
KILLED = -9


async def induce(world: World, rng: random.Random) -> Engagement:
    """Start a worker that dies at a named line.

    The fault counts as noticed if the worker reported that it reached the line, and was killed.
    """
    name = next(world.turns(POINTS, rng))
    point = POINTS[name]
    number = 1 if name in {"revoke", "revoked", "commit", "committed", "position"} else rng.randint(1, 6)
    group = world.services if point.role == "services" else world.workers
    await rng.choice(group).stop()
    program = (*LAUNCHER, "--die", f"{name}:{number}")
    victim = world.start_worker(role=point.role, program=program)
    if name in {"revoke", "revoked"}:
        with suppress(WorkerEnded):  # the worker may die while it starts, if it loses a partition
            await victim.ready()
        world.start_worker()  # a joining worker takes partitions
    try:
        code = await victim.ended(PATIENCE)
    except subprocess.TimeoutExpired:
        code = 0
        victim.kill()
    mark, in_flight = world.mark(), world.in_flight()
    reached = world.has_reached(victim)
    await world.progress.caught_up()
    marks = world.progress.marks()
    moved, _ = await asyncio.gather(world.progress.beyond(marks, PATIENCE), world.refill())
    recovery = moved - mark.time
    figures = {name: 1, "skipped": world.skipped(mark)}
    return Engagement(code == KILLED and reached, figures, recovery, in_flight, note=f"{name}:{number}, code {code}")
