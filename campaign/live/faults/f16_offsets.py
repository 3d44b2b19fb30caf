"""The committed offsets of the group are lost, set back, or beyond the end of the log."""

from __future__ import annotations

import asyncio
import random

from aiokafka import TopicPartition

from campaign.live.administration import Administration, administering
from campaign.live.fault import Engagement
from campaign.live.refusal import UNSAFE, check_refusal, refusal, stop_all
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import COMMANDS, INVOCATIONS

ID = "F16"
TITLE = "offsets lost or moved"
TIMES = 15
PER_ROUND = 5
PLAN = {"services": False}
KINDS = ("group deleted", "earliest", "-1000", "beyond the end", "commands beyond the end")


async def induce(world: World, rng: random.Random) -> Engagement:
    """Change the committed offsets.

    The fault counts as noticed if folded records were skipped, or if the worker refused to start with the right hint.
    Offsets beyond the end of the log always count as noticed: workers start where the partition rows say.
    """
    await world.moved()
    mark, kind = world.mark(), next(world.turns(KINDS, rng))
    await stop_all(world)
    await world.offsets.stop()
    log, commands = world.names(INVOCATIONS), world.names(COMMANDS)
    async with administering(world.broker.bootstrap_servers) as admin:
        before = await admin.committed(world.app_id)
        await _move(admin, world, kind, before)
        refused = 0
        if kind == "commands beyond the end":
            check_refusal(*await refusal(world), UNSAFE, "was the topic recreated?")
            refused = 1
            await admin.commit(world.app_id, {place: at for place, at in before.items() if place.topic == commands})
    await world.refill()
    ends = await world.progress.ends(log)
    recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    skipped = world.skipped(mark)
    await _committed(world)
    noticed = bool(refused or skipped or kind == "beyond the end")
    return Engagement(noticed, {"skipped": skipped, "refused": refused}, recovery, note=kind)


async def _move(admin: Administration, world: World, kind: str, before: dict[TopicPartition, int]) -> None:
    log, commands = world.names(INVOCATIONS), world.names(COMMANDS)
    if kind == "group deleted":
        await admin.delete_group(world.app_id)
    elif kind == "earliest":
        await admin.commit(world.app_id, dict.fromkeys(before, 0))
    elif kind == "-1000":
        await admin.commit(world.app_id, {place: max(0, at - 1_000) for place, at in before.items()})
    else:
        which = commands if kind == "commands beyond the end" else log
        await admin.commit(world.app_id, {TopicPartition(which, p): 10_000_000 for p in range(world.partitions)})


async def _committed(world: World) -> None:
    """Wait until the group has committed valid offsets; from then on they must not go back."""
    log = world.names(INVOCATIONS)
    async with asyncio.timeout(PATIENCE):
        while True:
            ends, committed = await world.progress.ends(log), await world.offsets.committed(world.app_id)
            if all(0 < committed.get((log, p), 0) <= end for p, end in ends.items() if end):
                break
            await asyncio.sleep(0.2)
    world.offsets.forget()
    world.offsets.start()
