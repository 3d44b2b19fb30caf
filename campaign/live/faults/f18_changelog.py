"""The changelog is compacted by force, loses its beginning, or is deleted."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from campaign.live.administration import administering
from campaign.live.fault import Engagement
from campaign.live.refusal import CONTRACT, UNSAFE, check_refusal, refusal, run_crl, stop_all
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import INVOCATIONS

ID = "F18"
TITLE = "changelog damaged"
TIMES = 12
PER_ROUND = 3
PLAN = {"services": False, "partitions": 3}
KINDS: Final = ("compacted", "beginning deleted", "topic deleted")
COMPACTION_SECONDS: Final = 90.0


async def induce(world: World, rng: random.Random) -> Engagement:
    """Damage the changelog.

    The fault counts as noticed if compaction removed records, or if the worker refused to start with the right hint.
    """
    kind = next(world.turns(KINDS, rng))
    await world.moved()
    mark = world.mark()
    figures = await {KINDS[0]: _compact, KINDS[1]: _cut, KINDS[2]: _delete}[kind](world)
    await world.refill()
    ends = await world.progress.ends(world.names(INVOCATIONS))
    recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    world.offsets.forget()
    world.offsets.start()
    return Engagement(any(figures.values()), figures, recovery, note=kind)


async def _compact(world: World) -> dict[str, float]:
    """Force compaction with the smallest segments and no lag; then kill every worker and let others recover."""
    changelog = world.topics.changelog
    await world.offsets.stop()
    async with administering(world.broker.bootstrap_servers) as admin:
        before = await admin.configure(
            changelog,
            segment_bytes=1 << 20,
            segment_ms=1_000,
            min_cleanable_dirty_ratio=0.01,
            min_compaction_lag_ms=0,
        )
        try:
            async with asyncio.timeout(COMPACTION_SECONDS):
                while (gone := await _holes(world, changelog)) == 0:
                    await asyncio.sleep(1.0)
        finally:
            await admin.restore(changelog, before)
    for worker in world.workers:
        worker.kill()
    return {"records compacted": gone}


async def _cut(world: World) -> dict[str, float]:
    """Delete the older half of the changelog, as retention would; then only its first offset shows the loss."""
    changelog = world.topics.changelog
    await stop_all(world)
    await world.offsets.stop()
    async with administering(world.broker.bootstrap_servers) as admin:
        before = await admin.configure(changelog, cleanup_policy="compact,delete")
        ends = await world.progress.ends(changelog)
        await admin.delete_records({TopicPartition(changelog, p): end // 2 for p, end in ends.items() if end})
        await admin.restore(changelog, before)
    check_refusal(*await refusal(world), UNSAFE, f"delete the topic {changelog} and run `crl topics apply`")
    async with administering(world.broker.bootstrap_servers) as admin:
        await admin.delete_topic(changelog)
    await run_crl(world, "topics", "apply")
    return {"refused": 1}


async def _delete(world: World) -> dict[str, float]:
    """Delete the changelog; workers must refuse to start until it exists again, then fold the log again."""
    await stop_all(world)
    await world.offsets.stop()
    async with administering(world.broker.bootstrap_servers) as admin:
        await admin.delete_topic(world.topics.changelog)
    check_refusal(*await refusal(world), CONTRACT, "crl topics apply")
    await run_crl(world, "topics", "apply")
    return {"refused": 1}


async def _holes(world: World, topic: str) -> int:
    """Return how many offsets of a topic no longer have a record."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.broker.bootstrap_servers, group_id=None)
    await consumer.start()
    try:
        missing = 0
        for place in [TopicPartition(topic, p) for p in range(world.partitions)]:
            end = (await consumer.end_offsets([place]))[place]
            consumer.assign([place])
            consumer.seek(place, 0)
            met = 0
            while end and await consumer.position(place) < end:
                records = (await consumer.getmany(place, timeout_ms=500)).get(place, [])
                met += sum(record.offset < end for record in records)
            missing += end - met
        return missing
    finally:
        await consumer.stop()
