"""Retention deletes records of the log while no worker is running, some of them before they have been folded."""

from __future__ import annotations

import asyncio
import random

from aiokafka import TopicPartition

from campaign.live.administration import administering
from campaign.live.fault import Engagement
from campaign.live.oracle.reading import keep_records
from campaign.live.refusal import stop_all
from campaign.live.world import PATIENCE, World
from crl_stream.core import messages as m
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire.topics import ALERTS, INVOCATIONS

ID = "F15"
TITLE = "retention"
TIMES = 12
PER_ROUND = 2
PLAN = {"services": False}
UNFOLDED = 200
"""Number of records that must be waiting in a partition before some of them are deleted."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Delete records before they are folded.

    The fault counts as noticed if ``data_gap`` alerts report exactly these records.
    """
    # A partition that was never folded has no state, so it cannot have a gap.
    await world.progress.beyond(dict.fromkeys(range(world.partitions), 0), PATIENCE)
    mark = world.mark()
    await world.settle()
    await stop_all(world)
    topic = world.names(INVOCATIONS)
    await world.progress.caught_up()
    folded = world.progress.marks()
    await _send_outcomes(world, folded)
    world.archive = world.folder / "archive.jsonl"
    await keep_records(world.broker.bootstrap_servers, topic, range(world.partitions), world.archive)
    ends = await world.progress.ends(topic)
    chosen = rng.sample(range(world.partitions), rng.randint(1, world.partitions))
    cuts = {p: rng.randint(folded[p] + 1, ends[p]) for p in chosen}
    async with administering(world.broker.bootstrap_servers) as admin:
        await admin.delete_records({TopicPartition(topic, p): cut for p, cut in cuts.items()})
    world.gaps += [(p, folded[p], cut) for p, cut in cuts.items()]
    world.load.go_on()
    await world.refill()
    recovery = await world.progress.beyond(ends, PATIENCE) - mark.time
    announced = {
        (each.message.position.partition, each.message.position.offset, each.message.number)
        for each in await TopicReader(world.kafka).read(ALERTS)
        if isinstance(each.message, m.Alert) and each.message.kind == "data_gap" and each.message.position is not None
    }
    wanted = {(p, cut, float(cut - folded[p])) for p, cut in cuts.items()}
    if missing := wanted - announced:
        raise RuntimeError(
            f"gaps {sorted(missing)} (partition, first left, lost) were not announced: {sorted(announced)}"
        )
    figures = {"partitions cut": len(cuts), "records lost": sum(cut - folded[p] for p, cut in cuts.items())}
    return Engagement(wanted <= announced, figures, recovery)


async def _send_outcomes(world: World, folded: dict[int, int]) -> None:
    """Send only outcomes, each to the partition of its key, so that no other record refers to a lost one."""
    traffic, topic = world.load.traffic, world.names(INVOCATIONS)
    async with asyncio.timeout(PATIENCE):
        while any(end < folded[p] + UNFOLDED for p, end in (await world.progress.ends(topic)).items()):
            await world.load.send(*(traffic.outcome(task)._replace(partition=None) for task in traffic.tasks))
