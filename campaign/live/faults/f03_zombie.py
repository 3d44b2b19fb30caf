"""A worker is paused for longer than its session, and resumes after another worker has taken over its partitions."""

from __future__ import annotations

import random

from campaign.live.fault import Engagement
from campaign.live.workers import Worker
from campaign.live.world import LAUNCHER, PATIENCE, World

ID = "F3"
TITLE = "zombie: SIGSTOP beyond the session, then SIGCONT"
TIMES = 20
PER_ROUND = 5
UNSAFE = 70
STOOD_STILL = "the process was paused"
OTHER_WRITER = "has another writer"
LINES = ("fold", "outputs", "amid_rows")
"""Lines of code at which a worker is paused within a batch; at the last one it has already checked the clock."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Pause a worker beyond its session, then let it resume.

    The fault counts as noticed if the worker exits on its own, and if it or the new owner logs the reason: the pause,
    or another writer.
    """
    holds = rng.random() < 0.6
    zombie = await (_stall(world, rng) if holds else _stop(world, rng))
    mark, in_flight = world.mark(), world.in_flight()
    # Every partition must make progress, those of the paused worker included.
    await world.progress.caught_up()
    recovery = await world.progress.beyond(world.progress.marks(), PATIENCE) - mark.time
    woken = world.mark()
    zombie.go_on()
    code = await zombie.ended()
    await world.refill()
    await world.progress.caught_up()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    await world.refill()
    reasons = world.said(woken, f"{STOOD_STILL}|{OTHER_WRITER}")
    figures = {
        "during a batch": float(holds),
        "left on their own": reasons.count(STOOD_STILL) / 2,  # a worker logs this twice, once in a traceback
        "other writers found": reasons.count(OTHER_WRITER) / 2,
        "skipped": world.skipped(mark),
    }
    return Engagement(code == UNSAFE and bool(reasons), figures, recovery, in_flight, note=f"exit code {code}")


async def _stop(world: World, rng: random.Random) -> Worker:
    """Pause a worker at a random moment."""
    worker = rng.choice(world.workers)
    await world.busy(worker)
    worker.pause()
    return worker


async def _stall(world: World, rng: random.Random) -> Worker:
    """Replace a worker with a modified one that pauses at a named line."""
    await rng.choice(world.workers).stop()
    point = f"{rng.choice(LINES)}:{rng.randint(1, 20)}"
    worker = world.start_worker(program=(*LAUNCHER, "--stall", point))
    await world.reached(worker)
    return worker
