"""No fault at all: two workers, and a clean restart of each.  All faults are compared with this baseline."""

from __future__ import annotations

import random
import time

from campaign.live.fault import Engagement
from campaign.live.world import PATIENCE, World

ID = "F0"
TITLE = "baseline: two workers, a restart of each"
TIMES = 10
PER_ROUND = 2
PLAN = {"workers": 2}


async def induce(world: World, rng: random.Random) -> Engagement:
    """Restart a worker cleanly.

    The fault counts as noticed if the worker ends with code 0 and the other one takes over its partitions.
    """
    worker, other = rng.sample(world.workers, 2)
    partitions = await world.busy(worker)
    mark = world.mark()
    code = await worker.stop()
    await world.progress.caught_up()
    recovery = await world.progress.beyond(world.progress.marks(partitions), PATIENCE) - mark.time
    took_over = partitions <= await other.partitions()
    begun = time.monotonic()
    world.start_worker()
    await world.refill()
    figures = {"seconds to ready": time.monotonic() - begun, "skipped": world.skipped(mark)}
    return Engagement(code == 0 and took_over, figures, recovery, note=f"Kafka API versions {world.api_versions()}")
