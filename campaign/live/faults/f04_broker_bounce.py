"""The broker is stopped or killed under load, stays away for a while, and comes back with its data."""

from __future__ import annotations

import asyncio
import random

from campaign.live.fault import Engagement
from campaign.live.supervision import Supervisor
from campaign.live.trouble import BROKER_TROUBLE
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F4"
TITLE = "broker bounce"
TIMES = 24
PER_ROUND = 4
LONG_SHARE = 0.12
"""Share of bounces after which the workers have no broker for a minute."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Stop or kill the broker, and restart it at once, after 5 s or after a minute; workers must recover on their own.

    The fault counts as noticed if workers logged errors about the broker, or exited and were restarted.
    """
    how = next(world.turns(("TERM", "KILL"), rng))
    away = 60.0 if rng.random() < LONG_SHARE else rng.choice((0.0, 5.0, 5.0))
    await world.moved()
    in_flight, mark = world.in_flight(), world.mark()
    async with Supervisor(world) as supervisor:
        await (world.broker.kill() if how == "KILL" else world.broker.stop())
        await asyncio.sleep(away)
        await world.broker.start()
        ends = await world.progress.ends(world.names(INVOCATIONS))
        recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    complaints = len(world.said(mark, BROKER_TROUBLE))
    exits = supervisor.exits.total()
    figures = {"seconds away": away, "complaints": complaints, "worker exits": exits, "skipped": world.skipped(mark)}
    return Engagement(bool(complaints or exits), figures, recovery, in_flight, f"{how}, {away:.0f} s away")
