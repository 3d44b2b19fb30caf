"""A bad network between one worker and the broker: silent both ways or one way, reset, slow, or refused."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from campaign.live.fault import Engagement
from campaign.live.proxy import Direction, Proxy
from campaign.live.supervision import Supervisor
from campaign.live.trouble import BROKER_TROUBLE
from campaign.live.workers import Worker
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F6"
TITLE = "bad network of one worker"
TIMES = 40
PER_ROUND = 5
PLAN = {"services": False}
DELAY: Final = 0.3
"""Seconds, each way."""


async def prepare(world: World, rng: random.Random) -> None:  # noqa: ARG001 - a fault's function
    """Start workers, each with its own route to the broker."""
    for route in range(world.plan.workers):
        world.start_worker(kafka_bootstrap_servers=world.broker.address_of(route))
    await world.ready()
    await world.load.start()


async def induce(world: World, rng: random.Random) -> Engagement:
    """Give a worker that has partitions one kind of bad network, then restore a good one."""
    await world.moved()
    victim, partitions = await _victim(world, rng)
    proxy = world.broker.route_to(victim.bootstrap_servers)
    kind, share = next(world.turns(KINDS, rng)), rng.random()
    in_flight, mark = world.in_flight(), world.mark()
    async with Supervisor(world) as supervisor:
        try:
            noticed, figures = await KINDS[kind](world, victim, partitions, proxy, share)
        finally:
            await proxy.heal()
        ends = await world.progress.ends(world.names(INVOCATIONS))
        recovery = await world.progress.beyond({p: ends[p] for p in partitions}, PATIENCE) - mark.time
    complaints = len(world.said(mark, BROKER_TROUBLE, workers=[victim]))
    figures |= {"complaints": complaints, "worker exits": supervisor.exits.total(), "skipped": world.skipped(mark)}
    return Engagement(noticed or complaints > 0, figures, recovery, in_flight, kind)


async def _victim(world: World, rng: random.Random) -> tuple[Worker, set[int]]:
    """Return a worker that has partitions, and its partitions."""
    async with asyncio.timeout(PATIENCE):
        while True:
            victim = rng.choice(world.workers)
            if partitions := await victim.partitions():
                return victim, partitions
            await asyncio.sleep(0.2)


Noticed = tuple[bool, dict[str, float]]


async def silent(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:
    """Hold back all traffic until others fold the worker's partitions, at least 5, 30 or 90 s; then deliver it."""
    return await _silence(world, victim, partitions, proxy, 90.0 if share < 0.08 else 30.0 if share < 0.2 else 5.0)


async def silent_then_reset(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:  # noqa: ARG001
    """Hold back all traffic, then reset the connections, so that the traffic never arrives."""
    found = await _silence(world, victim, partitions, proxy, 5.0)
    proxy.reset()
    return found


async def requests_lost(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:  # noqa: ARG001
    """Hold back the requests from the worker."""
    return await _silence(world, victim, partitions, proxy, 5.0, Direction.REQUESTS)


async def answers_lost(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:  # noqa: ARG001
    """Let the worker's requests through, but hold back the broker's responses."""
    return await _silence(world, victim, partitions, proxy, 5.0, Direction.ANSWERS)


async def _silence(
    world: World, victim: Worker, partitions: set[int], proxy: Proxy, seconds: float, *directions: Direction
) -> Noticed:
    """Hold back traffic in the given directions.

    The fault counts as noticed if other workers have taken over the partitions and continued to fold them.
    """
    began = time.monotonic()
    ends = await world.progress.ends(world.names(INVOCATIONS))
    proxy.silence(*directions)
    taken = await world.progress.beyond({p: ends[p] for p in partitions}, PATIENCE) - began
    others = [worker for worker in world.workers if worker is not victim]
    held = set().union(*[await worker.partitions() for worker in others])
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    return partitions <= held, {"silent s": time.monotonic() - began, "taken over in s": taken}


async def resets(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:  # noqa: ARG001
    """Reset every connection five times; after each reset, wait until a record of each partition is folded."""
    broken = 0
    for _ in range(5):
        broken += proxy.reset()
        await world.progress.beyond(world.progress.marks(partitions), PATIENCE)
    return False, {"connections reset": broken}


async def slow(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:  # noqa: ARG001
    """Delay traffic by 300 ms each way.

    The fault counts as noticed if the worker keeps its partitions and no fold takes less than a round trip.
    """
    proxy.slow(DELAY)
    fastest = PATIENCE
    for _ in range(3):
        ends = await world.progress.ends(world.names(INVOCATIONS))
        began = time.monotonic()
        fastest = min(fastest, await world.progress.beyond({p: ends[p] for p in partitions}, PATIENCE) - began)
    kept = victim.alive and partitions <= await victim.partitions()
    return kept and fastest >= 2 * DELAY, {"fastest fold s": fastest}


async def refused(world: World, victim: Worker, partitions: set[int], proxy: Proxy, share: float) -> Noticed:
    """Reset the worker's connections, and refuse new ones."""
    await proxy.refuse()
    proxy.reset()
    return await _silence(world, victim, partitions, proxy, 5.0 + 5.0 * share, *())


KINDS: Final[dict[str, Callable[[World, Worker, set[int], Proxy, float], Awaitable[Noticed]]]] = {
    each.__name__.replace("_", " "): each
    for each in (silent, silent_then_reset, requests_lost, answers_lost, resets, slow, refused)
}
