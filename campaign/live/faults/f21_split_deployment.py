"""Two deployments in one group: half of the workers start with a different policy."""

from __future__ import annotations

import random
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F21"
TITLE = "two policies in one group"
TIMES = 12
PER_ROUND = 6
PLAN = {"services": False, "workers": 2}
SENT: Final = r"policy ([0-9a-f]{16}) was sent"


async def induce(world: World, rng: random.Random) -> Engagement:
    """Replace one worker with one that has a different policy.

    The fault counts as noticed if the new policy was sent.  The log defines from which record a policy applies, so the
    result does not depend on which worker folds.
    """
    await world.moved()
    in_flight, mark = world.in_flight(), world.mark()
    share = rng.choice(("0.01", "0.02", "0.03", "0.07"))
    worker = world.start_worker(operations_exploration=share)
    await worker.ready()
    await rng.choice([other for other in world.workers if other is not worker]).stop()
    await world.spread()
    await world.progress.caught_up()
    ends = await world.progress.ends(world.names(INVOCATIONS))
    recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    sent = world.said(mark, SENT)
    return Engagement(bool(sent), {"policies sent": len(sent)}, recovery, in_flight)
