"""Scenarios that reveal the loss of a guard: each passes with the guard and fails without it.

A scenario takes a world and the launcher's arguments that remove the guard (none for the control).  It returns what
went wrong, or None.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from campaign.live.faults.f03_zombie import OTHER_WRITER, STOOD_STILL
from campaign.live.rounds import examine
from campaign.live.workers import Worker
from campaign.live.world import LAUNCHER, PATIENCE, RECOVERED, World
from crl_stream.wire.topics import DECISIONS, INVOCATIONS

Scenario = Callable[[World, tuple[str, ...]], Awaitable[str | None]]
LOST_BATCH: Final = r"read up to \d+, then from \d+|was dropped on the way"


async def _verdict(world: World) -> str | None:
    await world.refill()
    findings = await examine(world)
    return findings.complaints[0] if findings.complaints else None


def _start(world: World, words: tuple[str, ...], *more: str) -> Worker:
    return world.start_worker(program=(*LAUNCHER, *words, *more))


async def load_with_repeated_ids(world: World, words: tuple[str, ...]) -> str | None:
    """Break nothing; one record in twenty repeats an earlier one."""
    worker = _start(world, words)
    await worker.ready()
    await world.load.start()
    await world.load.burst(2_000)
    return await _verdict(world)


async def death_after_the_rows(world: World, words: tuple[str, ...]) -> str | None:
    """Kill a worker after the rows and the partition row are written, in a batch that has outputs."""
    return await _death_at(world, words, "memory:12")


async def death_before_the_rows(world: World, words: tuple[str, ...]) -> str | None:
    """Kill a worker after the outputs are written, some of which are forwarded records."""
    return await _death_at(world, words, "outputs:12")


async def _death_at(world: World, words: tuple[str, ...], line: str) -> str | None:
    victim = _start(world, words, "--die", line)
    await world.load.start()
    await victim.ended(PATIENCE)
    worker = _start(world, words)
    await worker.ready()
    await world.progress.caught_up()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    return await _verdict(world)


async def output_topic_that_refuses(world: World, words: tuple[str, ...]) -> str | None:
    """Let the broker refuse decisions for a while; a worker that does not wait for acknowledgements loses some."""
    worker = _start(world, words)
    await worker.ready()
    await world.load.start()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    topic = world.names(DECISIONS)
    await world.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "10"})])
    ended = asyncio.create_task(worker.ended(PATIENCE))
    marks = {partition: mark + 300 for partition, mark in world.progress.marks().items()}
    moved = asyncio.create_task(world.progress.beyond(marks, PATIENCE))
    await asyncio.wait({ended, moved}, return_when=asyncio.FIRST_COMPLETED)
    moved.cancel()
    await asyncio.gather(moved, return_exceptions=True)
    await world.topics.apply()
    return await _verdict(world)


async def batch_lost_on_its_way(world: World, words: tuple[str, ...]) -> str | None:
    """Drop a batch between poll and lane, as if Faust had cleared a queue."""
    worker = _start(world, words, "--drop", "9")
    await world.load.start()
    ended = asyncio.create_task(worker.ended(PATIENCE))
    marks = dict.fromkeys(world.progress.partitions, 200)
    moved = asyncio.create_task(world.progress.beyond(marks, PATIENCE))
    await asyncio.wait({ended, moved}, return_when=asyncio.FIRST_COMPLETED)
    moved.cancel()
    await asyncio.gather(moved, return_exceptions=True)
    return await _verdict(world)


async def commit_ahead_of_the_rows(world: World, words: tuple[str, ...]) -> str | None:
    """Set the committed offsets to the end of a log that has not been folded yet."""
    worker = world.start_worker()
    await worker.ready()
    await world.load.start()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    await worker.stop()
    await world.load.burst(1_000)
    await world.load.pause()
    topic = world.names(INVOCATIONS)
    ends = await world.progress.ends(topic)
    async with AIOKafkaConsumer(
        bootstrap_servers=world.bootstrap_servers, group_id=world.names.group(world.app_id), enable_auto_commit=False
    ) as consumer:
        places = {TopicPartition(topic, partition): end for partition, end in ends.items()}
        consumer.assign(list(places))
        await consumer.commit(places)
    worker = _start(world, words)
    await worker.ready()
    world.load.go_on()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    return await _verdict(world)


async def zombie(world: World, words: tuple[str, ...]) -> str | None:
    """Pause a worker while it writes rows; when it resumes after a takeover, it must exit without writing more."""
    late = await _wake_zombie(world, words)
    if STOOD_STILL not in late.said():
        return "a process that was paused for a session continued to write"
    return await _verdict(world)


async def zombie_that_does_not_look(world: World, words: tuple[str, ...]) -> str | None:
    """Let a paused worker write its rows late; the new owner must notice them by their offsets."""
    late = await _wake_zombie(world, ("--without", "pulse", *words))
    late.kill()
    if not re.search(OTHER_WRITER, "".join(worker.said() for worker in world.started)):
        return "no worker noticed that another one wrote rows"
    # The worker that notices the late rows exits, and the paused one may exit too, so a third worker must finish the
    # job.
    await _start(world, words).ready()
    return await _verdict(world)


async def _wake_zombie(world: World, words: tuple[str, ...]) -> Worker:
    late = _start(world, words, "--stall", "amid_rows:40")
    await world.load.start()
    await world.reached(late)
    owner = _start(world, words)
    await owner.ready()
    await world.progress.caught_up()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    late.go_on()
    marks = {partition: mark + 300 for partition, mark in world.progress.marks().items()}
    ended = [asyncio.create_task(worker.ended(PATIENCE)) for worker in (late, owner)]
    moved = asyncio.create_task(world.progress.beyond(marks, PATIENCE))
    await asyncio.wait({*ended, moved}, return_when=asyncio.FIRST_COMPLETED)
    moved.cancel()
    await asyncio.gather(moved, return_exceptions=True)
    return late


async def stop_in_order(world: World, words: tuple[str, ...]) -> str | None:
    """Stop a worker with SIGTERM; it must commit, so that its successor finds no records already folded."""
    world.settings["worker_commit_interval_seconds"] = "60"
    worker = _start(world, words)
    await worker.ready()
    await world.load.start()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    mark = world.mark()
    await worker.stop()
    del world.settings["worker_commit_interval_seconds"]
    complaint = await _verdict(world)
    skipped = world.skipped(mark)
    return complaint or (f"a clean stop left {skipped} records uncommitted" if skipped else None)


async def storm(world: World, words: tuple[str, ...]) -> str | None:
    """Let workers join and leave; no worker may lose a batch, write late, or exit for such a reason."""
    _start(world, words)
    await world.ready()
    await world.load.start()
    mark = world.mark()
    for _ in range(4):
        joining = [_start(world, words) for _ in range(2)]
        await world.ready()
        await world.load.burst(500)
        await asyncio.gather(*(worker.stop() for worker in joining))
        await world.progress.caught_up()
        if not world.workers:
            _start(world, words)
        await world.progress.beyond(world.progress.marks(), PATIENCE)
    told = world.said(mark, f"leaving without commit: .*(?:{LOST_BATCH}|{OTHER_WRITER})")
    complaint = await _verdict(world)
    return complaint or (f"{len(told)} workers had to exit: {told[0]}" if told else None)


async def partition_taken_amid_a_batch(world: World, words: tuple[str, ...]) -> str | None:
    """Let a worker join while writes are slow; the batch in flight must be finished before its partition moves."""
    first = _start(world, words, "--slow", "1")
    await first.ready()
    await world.load.start()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    mark = world.mark()
    second = _start(world, words, "--slow", "1")
    await second.ready()
    await world.spread()
    await world.progress.caught_up()
    await world.progress.beyond(world.progress.marks(), PATIENCE)
    told = world.said(mark, "leaving without commit: ")
    await world.refill()
    findings = await examine(world)
    if findings.complaints:
        return findings.complaints[0]
    late = f"{findings.late_rows} rows were written late, {len(told)} workers had to exit because of it"
    return late if findings.late_rows or told else None


async def partition_that_stays(world: World, words: tuple[str, ...]) -> str | None:
    """Rebalance; a partition that stays with its owner must not be recovered again."""
    first = _start(world, words, "--tell-recovery")
    await first.ready()
    await world.load.start()
    await world.progress.beyond(dict.fromkeys(world.progress.partitions, 300), PATIENCE)
    mark = world.mark()
    second = _start(world, words)
    await second.ready()
    await world.spread()
    stays = await first.partitions()
    told = world.said(mark, rf"{RECOVERED}(\d+) of (\d+)", workers=[first])
    again = sum(int(count) for count, partition in told if int(partition) in stays)
    complaint = await _verdict(world)
    return complaint or (f"{again} records of partitions that stayed were recovered again" if again else None)
