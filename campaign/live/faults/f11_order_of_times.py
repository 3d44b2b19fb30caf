"""Outcomes with timestamps up to a day early or late, in random order: only the order of the log counts."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.own_task import OwnTask
from campaign.live.world import World

ID = "F11"
TITLE = "times out of order"
TIMES = 12
PER_ROUND = 6
OUTCOMES: Final = 60
LIMIT: Final = timedelta(hours=1)
"""A timestamp that is off by more than this is flagged (``operations.max_skew_seconds``)."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Send outcomes with skewed timestamps.

    The fault counts as noticed if each timestamp that is more than an hour off was flagged.  Every outcome must be
    counted.
    """
    await world.moved()
    mark = world.mark()
    task = OwnTask(world, "times")
    skews = [timedelta(seconds=rng.uniform(-86_400, 86_400)) for _ in range(OUTCOMES)]
    # A timestamp close to the limit could be on either side of the limit when it arrives.
    skews = [skew for skew in skews if not abs(abs(skew) - LIMIT) < timedelta(minutes=5)]
    sent = await world.load.send(*(task.outcome(skew=skew) for skew in skews))
    page = await task.folded(sent)
    recovery = world.progress.since[sent[0].partition] - mark.time
    wanted = (len(skews), sum(abs(skew) > LIMIT for skew in skews))
    if (found := (page["n_outcomes"], page["n_skewed"])) != wanted:
        raise RuntimeError(f"counted and flagged {found} instead of {wanted}")
    return Engagement(page["n_skewed"] > 0, {"outcomes": wanted[0], "flagged": wanted[1]}, recovery)
