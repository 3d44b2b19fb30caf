"""The log was recreated or got more partitions, so the state no longer belongs to it."""

from __future__ import annotations

import random
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from campaign.live.administration import administering
from campaign.live.fault import Engagement
from campaign.live.load import Sent
from campaign.live.own_task import OwnTask
from campaign.live.refusal import CONTRACT, UNSAFE, check_refusal, refusal, run_crl, stop_all
from campaign.live.traffic import Draft
from campaign.live.world import World
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS

ID = "F17"
TITLE = "log recreated, partitions added"
TIMES = 10
PER_ROUND = 1
EXAMINES = False
"""The oracle cannot fold deleted records again, so the fault makes its own checks."""
PLAN = {"services": False, "workers": 2}
BEFORE: Final = 40
AFTER: Final = 15


async def induce(world: World, rng: random.Random) -> Engagement:
    """Recreate the log or add partitions.

    The fault counts as noticed if the worker refuses to start with the right hint.  After following the hint, it must
    work.
    """
    await world.moved()
    mark = world.mark()
    task = OwnTask(world, "log")
    await task.folded(await world.load.send(*(task.outcome() for _ in range(BEFORE))))
    await world.load.pause()
    recreate = rng.random() < 0.5
    await stop_all(world)
    if not recreate:
        async with administering(world.broker.bootstrap_servers) as admin:
            await admin.add_partitions(world.names(INVOCATIONS), world.partitions + rng.randint(1, 4))
        code, said = await refusal(world)
        check_refusal(code, said, CONTRACT, "set kafka.partitions")
        return Engagement(engaged=True, figures={"refused": 1, "partitions added": 1}, note="partitions added")
    async with administering(world.broker.bootstrap_servers) as admin:
        await admin.delete_topic(world.names(INVOCATIONS))
    await run_crl(world, "topics", "apply")
    world.offsets.forget()
    # A new log may be shorter than the state requires, which the worker sees at once; in a longer one, only the records
    # differ.
    filler = rng.choice((3, 3_000))
    first = [task.outcome() for _ in range(AFTER)]
    other = OwnTask(world, "filler")
    await _send(world, [*first, *(other.outcome() for _ in range(filler))])
    check_refusal(*await refusal(world), UNSAFE, "crl topics adopt")
    await run_crl(world, "topics", "adopt", "--yes")
    await world.refill()
    page = await task.folded(await _send(world, [task.outcome() for _ in range(AFTER)]))
    recovery = world.progress.since[partition_of(task.key.encode(), world.partitions)] - mark.time
    if (found := (page["n_outcomes"], page["incarnation"])) != (wanted := (BEFORE + 2 * AFTER, 1)):
        raise RuntimeError(f"outcomes and incarnation are {found}, expected {wanted}")
    return Engagement(engaged=True, figures={"refused": 1, "recreated": 1}, recovery_seconds=recovery, note="recreated")


async def _send(world: World, drafts: list[Draft]) -> list[Sent]:
    """Send with a new producer, which has not seen the old topic."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=world.broker.bootstrap_servers, acks="all")
    sent: list[tuple[Draft, Any]] = []
    async with producer:
        for draft in drafts:
            place = partition_of(draft.key or b"", world.partitions)
            future = await producer.send(world.names(draft.topic), draft.value, key=draft.key, partition=place)
            sent.append((draft, future))
        return [Sent(draft, (at := await future).partition, at.offset) for draft, future in sent]
