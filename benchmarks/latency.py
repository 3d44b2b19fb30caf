"""From publishing the outcome that reveals a degradation to the Resolver's answer with the new variant."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

from benchmarks.stack import Stack, installation, note, worker
from crl_stream.client import Publisher, Resolver
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.topology.driver import TopologyDriver
from crl_stream.wire.topics import ROLLBACKS

ROLLBACKS_WANTED = 220
GOOD, BAD = "api-baseline", "api-optimized"
RATES = (0, 1_000)
"""Other events per second meanwhile."""


def run(bootstrap_servers: str) -> dict[str, Any]:
    """Every task is brought to the brink; then one outcome each is published and its rollback waited for."""
    found: dict[str, Any] = {}
    for rate in RATES:
        with installation(bootstrap_servers) as stack, worker(stack):
            note(f"latency: {ROLLBACKS_WANTED} rollbacks at {rate:,} other events per second")
            times = _measure(stack, rate)
            bare = _bare(stack)
        found[f"{rate:,} other events/s"] = {
            "rollbacks": len(times),
            "p50 ms": statistics.median(times),
            "p99 ms": statistics.quantiles(times, n=100)[98],
            "max ms": max(times),
            "bare produce to consume, p50 ms": statistics.median(bare),
            "bare produce to consume, p99 ms": statistics.quantiles(bare, n=100)[98],
            "ratio p50 / bare p50": statistics.median(times) / statistics.median(bare),
        }
    return found


def _story(key: TaskKey) -> list[m.Invocation]:
    """Outcomes up to and with the one that reveals the degradation, found with the engine itself."""
    driver = TopologyDriver()
    story = []

    def publish(variant: str, status: str) -> None:
        number = len(story)
        story.append(
            m.Invocation(
                schema_version=1,
                invocation_id=f"inv-{number}",
                timestamp="2025-11-19T14:30:00Z",
                agent_name=key.agent_name,
                task_type=key.task_type,
                variant_id=variant,
                status=status,  # type: ignore[arg-type]
            )
        )
        driver.pipe(story[-1])

    # The active variant stays just below what auto-apply asks of the other one: nothing is promoted.
    for _ in range(30):
        publish(BAD, "success")
    for number in range(30):
        publish(GOOD, "failure" if number % 10 == 9 else "success")
    while not driver.read(ROLLBACKS):
        publish(BAD, "failure")
    return story


def _measure(stack: Stack, rate: int) -> list[float]:
    keys = [TaskKey("backend-architect", f"api-design-{number}") for number in range(ROLLBACKS_WANTED)]
    times = []
    template = _story(keys[0])
    stop = threading.Event()
    with Publisher(stack.settings) as publisher, Resolver(stack.settings) as resolver:
        resolver.wait_until_ready()
        for key in keys:
            for message in template[:-1]:
                while not publisher.publish(_of(message, key)):
                    publisher.flush(1.0)
        publisher.flush(120.0)
        for key in keys:
            assert resolver.wait_for_epoch(*key, 1, 120.0)
        _wait_until_folded(stack, len(keys) * (len(template) - 1))
        noise = threading.Thread(target=_make_noise, args=(stack, rate, stop), daemon=True)
        noise.start()
        for key in keys:
            assert resolver.resolve(*key) is not None
            started = time.perf_counter()
            publisher.publish(_of(template[-1], key))
            assert resolver.wait_for_epoch(*key, 2, 60.0)
            resolution = resolver.resolve(*key)
            assert resolution is not None and resolution.variant_id == GOOD
            times.append((time.perf_counter() - started) * 1_000)
        stop.set()
        noise.join()
    return times


def _of(message: m.Invocation, key: TaskKey) -> m.Invocation:
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return m.Invocation(**(fields | {"task_type": key.task_type}))


def _wait_until_folded(stack: Stack, count: int) -> None:
    from crl_stream.worker_views import ask

    while ask(stack.settings, "/api/worker")["counters"]["applied"] < count:
        time.sleep(0.05)


def _make_noise(stack: Stack, rate: int, stop: threading.Event) -> None:
    """Healthy outcomes of other tasks, every 10 ms."""
    if not rate:
        return
    with Publisher(stack.settings) as publisher:
        number, due = 0, time.perf_counter()
        while not stop.is_set():
            for _ in range(rate // 100):
                number += 1
                publisher.invocation("other", f"task-{number % 50}", "v", "success", invocation_id=f"n-{number}")
            due += 0.01
            stop.wait(max(0.0, due - time.perf_counter()))


def _bare(stack: Stack) -> list[float]:
    """One record to the broker and back, with the same client library and nothing in between."""
    import asyncio

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from crl_stream.wire.topics import RECEIPTS, Topics

    topic, servers = Topics(stack.settings.kafka.topic_prefix)(RECEIPTS), stack.settings.kafka.bootstrap_servers

    async def measure() -> list[float]:
        producer, consumer = AIOKafkaProducer(bootstrap_servers=servers), AIOKafkaConsumer(bootstrap_servers=servers)
        await producer.start()
        await consumer.start()
        try:
            place = TopicPartition(topic, 0)
            consumer.assign([place])
            await consumer.seek_to_end(place)
            await consumer.position(place)
            times = []
            for number in range(ROLLBACKS_WANTED):
                started = time.perf_counter()
                await producer.send(topic, b"%d" % number, partition=0)
                while (await consumer.getone()).value != b"%d" % number:
                    pass
                times.append((time.perf_counter() - started) * 1_000)
            return times
        finally:
            await producer.stop()
            await consumer.stop()

    return asyncio.run(measure())
