"""Runs every contestant on the same input topic, one worker process each, one after the other, round after round."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.course import Course, course
from benchmarks.entrants import COMPILED, ENTRANTS, OURS, Entrant, Missing, environment, summary_of
from benchmarks.oracle import Summary
from benchmarks.running import Failed, figures, started, wait, watched
from benchmarks.stack import create_topics, delete_topics, installation, note, renew_topics, worker
from crl_stream.cli.processes import log_file
from crl_stream.kafka.connection import partitions_of
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, TASKS, Topics
from crl_stream.worker_views import ask

INPUTS = (INVOCATIONS, COMMANDS)
"""What a contestant reads; everything else starts empty for each run."""
TURN = 10_000
"""Number of outcomes before a task comes up again: more than the batches of four partitions hold together, so each
batch has ``length`` outcomes for each row that it touches.
"""
DELIVERY_SECONDS = 20.0
"""Seconds within which everything that a contestant has sent must have reached the broker."""


def race(
    bootstrap_servers: str,
    events: int,
    length: int,
    *,
    repeats: int,
    limit: float,
    names: Sequence[str],
    snapshot_seconds: float = 1.0,
) -> dict[str, Any]:
    """Return results by contestant, one entry per round, with ``length`` consecutive outcomes per task."""
    tasks = TURN // length
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with course(bootstrap_servers, events, tasks, length, snapshot_seconds=snapshot_seconds) as filled:
        for number in range(repeats):
            for name in names:
                if results[name] and "missing" in results[name][-1]:
                    continue
                result = run_one(bootstrap_servers, filled, ENTRANTS[name], limit)
                results[name].append(result)
                note(f"  {length} per touched row, round {number + 1} of {repeats}, {name}: {in_words(result)}")
        delete_topics(bootstrap_servers, filled.settings.kafka.topic_prefix)
    return {
        "contestants": {name: {"title": ENTRANTS[name].title, "setup": ENTRANTS[name].describe()} for name in names},
        "events": events,
        "tasks": tasks,
        "length": length,
        "partitions": 4,
        "snapshot_seconds": snapshot_seconds,
        "written_per_second": filled.written_per_second,
        "results": results,
    }


def in_words(result: dict[str, Any]) -> str:
    """Return one line that describes a run."""
    for kind in ("missing", "failed", "wrong"):
        if kind in result:
            return f"{kind.upper()}: {result[kind]}"
    return (
        f"{result['events_per_second']:,.0f} events/s, {result['events_per_cpu_second']:,.0f} per CPU-second"
        f" ({result['events']:,} events in {result['seconds']:.1f} s)"
    )


def run_one(bootstrap_servers: str, filled: Course, entrant: Entrant, limit: float) -> dict[str, Any]:
    """Run one contestant once, and check it against the oracle; everything it leaves on the broker is deleted."""
    name = f"r{uuid.uuid4().hex[:8]}"
    try:
        if entrant.name in {OURS, COMPILED}:
            return run_ours(bootstrap_servers, filled, name, limit, entrant=entrant)
        return _run_other(bootstrap_servers, filled, entrant, name, limit)
    except Missing as error:
        return {"missing": str(error)}
    except Failed as error:
        return {"failed": str(error)}
    finally:
        delete_topics(bootstrap_servers, name)


def run_ours(
    bootstrap_servers: str,
    filled: Course,
    name: str,
    limit: float,
    *,
    workers: int = 1,
    entrant: Entrant = ENTRANTS[OURS],
) -> dict[str, Any]:
    """Run the product's own command, with the requested number of processes in one group."""
    program = entrant.command()
    renew_topics(filled.settings, kept=INPUTS)
    prefix = filled.settings.kafka.topic_prefix
    sink = Topics(prefix)(TASKS)
    with ExitStack() as stacks:
        members = [
            stacks.enter_context(installation(bootstrap_servers, filled.flags, prefix=prefix, app_id=name))
            for _ in range(workers)
        ]
        before = asyncio.run(_ends(bootstrap_servers, sink))
        with ExitStack() as started_workers:
            processes = [
                started_workers.enter_context(worker(member, wait=False, program=program)) for member in members
            ]
            settings = [member.settings for member in members]
            # Each partition begins with a reference to the policy.
            partitions = filled.settings.kafka.partitions
            watch = started_workers.enter_context(watched(settings, processes, beside=partitions))
            try:
                complete = wait(watch, lambda: all(p.poll() is None for p in processes), filled.events, limit)
            except Failed as error:
                logs = [log_file(each, "monitor").read_text(encoding="utf-8")[-1_500:] for each in settings]
                raise Failed(f"{error}: {logs}") from error
            pages = [ask(each, "/api/worker") for each in settings]
            if any(page["compiled"] != (entrant.name == COMPILED) for page in pages):
                raise Failed("the worker is not the requested build")
            counters = [page["counters"] for page in pages]
            found = figures(watch, wanted=filled.events)
        checked = asyncio.run(_check(bootstrap_servers, filled, entrant, sink, before, complete=complete))
    totals = {kind: sum(each[kind] for each in counters) for kind in counters[0]}
    return found | checked | _batches(totals) | {"applied_by_each": [each["applied"] for each in counters]}


def _batches(counters: dict[str, int]) -> dict[str, Any]:
    return {
        "events_per_batch": counters["applied"] / counters["batches"],
        "events_per_row": counters["applied"] / counters["rows"],
        "outputs_per_event": counters["outputs"] / counters["applied"],
    }


def _run_other(bootstrap_servers: str, filled: Course, entrant: Entrant, name: str, limit: float) -> dict[str, Any]:
    kafka = filled.settings.kafka
    sink = Topics(kafka.topic_prefix)(TASKS) if entrant.shares_topics else f"{name}-snapshots"
    topics = [f"{name}-changelog"] if entrant.shares_topics else [sink]
    command = entrant.command()
    if entrant.shares_topics:
        renew_topics(filled.settings, kept=INPUTS)
    create_topics(bootstrap_servers, topics, kafka.partitions)
    before = asyncio.run(_ends(bootstrap_servers, sink))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder, "log.txt")
        Path(folder, "policy.json").write_bytes(filled.settings.policies.canonical())
        words = [
            bootstrap_servers,
            name,
            filled.source,
            sink,
            str(kafka.partitions),
            folder,
            str(filled.snapshot_seconds),
        ]
        with started([*command, *words], environment(), log) as (process, watch):
            try:
                complete = wait(watch, lambda: process.poll() is None, filled.events, limit)
            except Failed as error:
                raise Failed(f"{error}: {log.read_text(encoding='utf-8', errors='replace')[-1_500:]}") from error
            end = None
            if complete and not entrant.shares_topics:
                # An outcome may be counted before its outputs are delivered; the clock runs until the broker has them.
                asyncio.run(
                    _delivered(
                        bootstrap_servers,
                        sink,
                        filled.oracle.snapshots_due(filled.snapshot_seconds) if filled.oracle else 0,
                    )
                )
                watch.add(watch.count, [process])
                end = watch.samples[-1]
            found = figures(watch, wanted=filled.events, end=end)
    return found | asyncio.run(_check(bootstrap_servers, filled, entrant, sink, before, complete=complete))


async def _ends(bootstrap_servers: str, topic: str) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    try:
        there = (await partitions_of(consumer, [topic])).get(topic, [])
        ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in there])
        return {place.partition: offset for place, offset in ends.items()}
    finally:
        await consumer.stop()


async def _delivered(bootstrap_servers: str, topic: str, wanted: int) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in (await partitions_of(consumer, [topic]))[topic]]
        until = time.monotonic() + DELIVERY_SECONDS
        while sum((await consumer.end_offsets(places)).values()) < wanted:
            if time.monotonic() > until:
                raise Failed(f"its snapshots were not on the broker {DELIVERY_SECONDS:.0f} s after the last was due")
            await asyncio.sleep(0.02)
    finally:
        await consumer.stop()


async def _check(
    bootstrap_servers: str, filled: Course, entrant: Entrant, topic: str, before: dict[int, int], *, complete: bool
) -> dict[str, Any]:
    """Compare every snapshot with the oracle's; if a run was stopped early, compare the snapshots that exist."""
    if filled.oracle is None:
        return {}
    found: dict[str, list[tuple[int, Summary]]] = defaultdict(list)
    ends = await _ends(bootstrap_servers, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    try:
        for partition, end in ends.items():
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            consumer.seek(place, before.get(partition, 0))
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(timeout_ms=500)).get(place, []):
                    if (read := summary_of(entrant, record.value)) is not None:
                        (task, n), summary = read
                        found[task].append((n, summary))
    finally:
        await consumer.stop()
    count = sum(map(len, found.values()))
    if not count:
        return {"wrong": "there is no snapshot"}
    # Our worker also publishes a snapshot with every decision, and the next one ten outcomes later.
    said = filled.oracle.complaint(
        found, complete=complete, extra=entrant.shares_topics, seconds=filled.snapshot_seconds
    )
    return {"wrong": said} if said else {"snapshots_checked": count}
