"""Records that are too large in every way: values, names, keys, headers, and values that fit only when compressed."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from campaign.live.fault import Engagement
from campaign.live.load import Sent
from campaign.live.own_task import OwnTask
from campaign.live.traffic import RUBBISH, Draft
from campaign.live.world import PATIENCE, World
from campaign.malformed import KEY, outcome, padded
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS

ID = "F9"
TITLE = "oversize"
TIMES = 12
PER_ROUND = 4
SIZES: Final = (70_000, 900_000, 1_000_000, 1_100_000, 5_000_000)
"""Sizes of values in bytes; the topic accepts a megabyte, the product 64 KiB."""
PACKED: Final = 8_000_000
"""Size in bytes of a value that the topic accepts only because the producer compresses it."""
HEADERS: Final = 300_000


async def induce(world: World, rng: random.Random) -> Engagement:
    """Send oversized records.

    The fault counts as noticed if the oversized records that Kafka accepts become dead letters, and a valid outcome
    with oversized headers is counted.
    """
    await world.moved()
    mark, before = world.mark(), await _letters(world)
    workers = {worker.name for worker in world.workers}
    task = OwnTask(world, "oversize")
    wrapped = task.outcome()._replace(headers=(("baggage", b"x" * HEADERS),))
    accepted: list[tuple[int, int]] = []
    largest = 0
    poison = _poison(rng)
    for draft in poison:
        if (at := await _send(world, draft)) is not None:
            accepted.append(at)
            world.load.note(Sent(draft, *at))
            largest = max(largest, len(draft.value or b""))
    packed = Draft(RUBBISH, INVOCATIONS, KEY, b" " * PACKED, partition=rng.randrange(world.partitions))
    if (at := await _send(world, packed, compression_type="gzip")) is None:
        raise RuntimeError("the topic did not accept a large compressed value")
    accepted.append(at)
    counted = await world.load.send(wrapped)
    newest: dict[int, int] = defaultdict(int)
    for partition, offset in accepted:
        newest[partition] = max(newest[partition], offset)
    recovery = await world.progress.beyond(newest, PATIENCE) - mark.time
    page = await task.folded(counted)
    if ended := workers - {worker.name for worker in world.workers}:
        raise RuntimeError(f"an oversized record ended {', '.join(sorted(ended))}")
    letters = await _letters(world) - before
    figures = {
        "sent": len(poison) + 2,
        "taken": len(accepted) + 1,
        "dead letters": letters,
    }
    note = f"largest value accepted {largest} bytes, compressed {PACKED}"
    return Engagement(letters >= len(accepted) and page["n_outcomes"] == 1, figures, recovery, note=note)


def _poison(rng: random.Random) -> list[Draft]:
    long = "x" * rng.choice((129, 2_000, 60_000))
    found: list[tuple[bytes | None, bytes]] = [(KEY, padded(size)) for size in SIZES]
    found += [(KEY, outcome(invocation_id=long)), (KEY, outcome(variant_id=long)), (b"k" * 500_000, outcome())]
    drafts = [Draft(RUBBISH, INVOCATIONS, key, value, partition=0) for key, value in found]
    headers = tuple((f"h{number}", b"y" * 10_000) for number in range(HEADERS // 10_000))
    return [*drafts, Draft(RUBBISH, INVOCATIONS, KEY, b"{", partition=0, headers=headers)]


async def _send(world: World, draft: Draft, **options: Any) -> tuple[int, int] | None:
    """Send a record; return its partition and offset, or None if it is too large for the topic.

    Uses its own producer, because the load's idempotent one cannot continue after a refused batch.
    """
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=world.broker.bootstrap_servers,
        max_request_size=2 * PACKED,
        max_batch_size=2 * PACKED,
        **options,
    )
    async with producer:
        try:
            at = await producer.send_and_wait(
                world.names(draft.topic),
                draft.value,
                key=draft.key,
                partition=draft.partition,
                headers=list(draft.headers),
            )
        except MessageSizeTooLargeError:
            return None
    return at.partition, at.offset


async def _letters(world: World) -> int:
    return sum((await world.progress.ends(world.names(DEAD_LETTERS))).values())
