"""A topic that workers write to accepts nothing, because they lack the right to write or the topic is missing.

Too few replicas cannot be tested on one broker: Kafka 4 requires no more replicas than a topic has, whatever
``min.insync.replicas`` says.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from campaign.live.administration import administering
from campaign.live.fault import Engagement
from campaign.live.listeners import PASSWORD, USER
from campaign.live.own_task import OwnTask
from campaign.live.refusal import CONTRACT, run_crl
from campaign.live.supervision import Supervisor
from campaign.live.world import PATIENCE, World
from crl_stream.wire.topics import DECISIONS, INVOCATIONS, RECEIPTS

ID = "F20"
TITLE = "output topic accepts nothing"
TIMES = 12
PER_ROUND = 4
PLAN = {"services": False}
KINDS: Final = ("denied", "gone")
REASONS: Final = r"TopicAuthorizationFailed|UnknownTopicOrPartition|does not exist|KafkaTimeoutError"


async def prepare(world: World, rng: random.Random) -> None:  # noqa: ARG001 - a fault's function
    """Start workers that authenticate, so that they can be denied access."""
    world.bootstrap_servers = world.broker.guarded_servers
    world.settings |= {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_sasl_username": USER,
        "kafka_sasl_password": PASSWORD,
    }
    await world.start()


async def induce(world: World, rng: random.Random) -> Engagement:
    """Deny writes to an output topic, or delete one.

    The fault counts as noticed if a worker reports the broker's error.  No offset may be committed ahead of the rows.
    """
    kind = next(world.turns(KINDS, rng))
    await world.moved()
    in_flight, mark = world.in_flight(), world.mark()
    async with Supervisor(world) as supervisor:
        if kind == "gone":
            await _gone(world, supervisor)
        else:
            await _denied(world, supervisor)
        ends = await world.progress.ends(world.names(INVOCATIONS))
        recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    reasons = len(world.said(mark, REASONS))
    figures = {"reasons in logs": reasons, "worker exits": supervisor.exits.total(), "skipped": world.skipped(mark)}
    return Engagement(reasons > 0, figures, recovery, in_flight, kind)


async def _denied(world: World, supervisor: Supervisor) -> None:
    topic = world.names(DECISIONS)
    async with administering(world.broker.bootstrap_servers) as admin:
        await admin.deny_writing(topic, USER)
        try:
            await _ended(supervisor)
            await _check_commits(world)
        finally:
            await admin.allow_writing(topic, USER)


async def _gone(world: World, supervisor: Supervisor) -> None:
    """Delete the topic of receipts.  Its records are lost, but nothing is computed from them."""
    async with administering(world.broker.bootstrap_servers) as admin:
        await admin.delete_topic(world.names(RECEIPTS))
    task = OwnTask(world, "receipts")
    await world.load.send(*(task.outcome(active_epoch=1, runtime_id=f"r{number}") for number in range(3)))
    await _ended(supervisor, CONTRACT)
    await run_crl(world, "topics", "apply")


async def _ended(supervisor: Supervisor, code: int | None = None) -> None:
    """Wait until a worker has exited, with this exit code if one is given."""
    async with asyncio.timeout(PATIENCE):
        while not (supervisor.exits[code] if code is not None else supervisor.exits):
            await asyncio.sleep(0.1)


async def _check_commits(world: World) -> None:
    """Check that no partition's committed offset is ahead of its partition row."""
    await world.progress.caught_up()
    log, rows = world.names(INVOCATIONS), world.progress.marks()
    for (topic, partition), at in (await world.offsets.committed(world.app_id)).items():
        if topic == log and at > rows[partition]:
            raise RuntimeError(f"partition {partition} is committed to {at} but folded to {rows[partition]}")
