"""Rows as an older release would have written them: without fields at the end that later releases added."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from campaign.live.fault import Engagement
from campaign.live.refusal import stop_all
from campaign.live.world import PATIENCE, World
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import encode_row, new_row
from crl_stream.wire.topics import INVOCATIONS, PARTITION_ROW

ID = "F19"
TITLE = "rows of an older release"
TIMES = 12
PER_ROUND = 4
PLAN = {"services": False, "partitions": 3}
UNTOUCHED: Final = 3
"""Number of fields at the end of a current row that an older release may not have had."""


async def induce(world: World, rng: random.Random) -> Engagement:
    """Rewrite every row without the empty fields at its end.

    The fault counts as noticed if there were such rows, and folding continued.
    There has been only one release: this shows that a field can be added, not that the rules can change.
    """
    await world.moved()
    await stop_all(world)
    await world.progress.caught_up()
    in_flight, mark = world.in_flight(), world.mark()
    shortened = await _shorten(world, rng.randint(1, UNTOUCHED))
    await world.refill()
    ends = await world.progress.ends(world.names(INVOCATIONS))
    recovery = await world.progress.beyond({p: end for p, end in ends.items() if end}, PATIENCE) - mark.time
    await _touch_all(world)
    return Engagement(shortened > 0, {"rows shortened": shortened}, recovery, in_flight)


async def _shorten(world: World, fields: int) -> int:
    defaults = msgspec.msgpack.decode(encode_row(new_row(TaskKey("a", "b"))))
    changelog, servers = world.topics.changelog, world.broker.bootstrap_servers
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest")
    producer: Any = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    count = 0
    async with consumer, producer:
        for place in [TopicPartition(changelog, p) for p in range(world.partitions)]:
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            rows: dict[bytes, bytes] = {}
            while end and await consumer.position(place) < end:
                for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                    rows[record.key] = record.value
            for key, value in rows.items():
                row = msgspec.msgpack.decode(value)
                if not key.startswith(PARTITION_ROW) and row[-fields:] == defaults[-fields:]:
                    older = msgspec.msgpack.encode(row[:-fields])
                    await producer.send_and_wait(changelog, older, key=key, partition=place.partition)
                    count += 1
    return count


async def _touch_all(world: World) -> None:
    """Send every task an outcome, so that its row is written in the current format."""
    traffic = world.load.traffic
    await world.load.send(*(traffic.outcome(task) for task in traffic.tasks))
