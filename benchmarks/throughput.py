"""Events per second of one worker on the real broker, beside a bare consumer of the same records in the same run."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.outcomes import outcomes
from benchmarks.stack import Stack, installation, note, worker
from crl_stream.cli.processes import log_file
from crl_stream.client.publisher import utc_now
from crl_stream.errors import CrlError
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS, Topics
from crl_stream.worker_views import ask

EVENTS = 100_000
TASKS = (10, 2_000)
"""Few tasks: many events a row and batch; many tasks: few."""


def run(bootstrap_servers: str) -> dict[str, Any]:
    """Fill the log, then let one worker fold all of it."""
    found = {}
    for tasks in TASKS:
        with installation(bootstrap_servers) as stack:
            note(f"throughput: {EVENTS:,} events of {tasks:,} tasks")
            asyncio.run(_fill(stack, tasks))
            bare = asyncio.run(_bare(stack))
            with worker(stack, wait=False) as process:
                rate = _measure(stack, process)
            found[f"{tasks:,} tasks"] = {
                "events per second, one worker": rate,
                "events per second, bare aiokafka consumer with orjson": bare,
                "ratio worker / bare": rate / bare,
            }
    return found


async def _fill(stack: Stack, tasks: int) -> None:
    kafka = stack.settings.kafka
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=20, max_batch_size=500_000)
    await producer.start()
    try:
        waiting = []
        for key, message in outcomes(EVENTS, tasks, timestamp=utc_now()):
            home = partition_of(key.encode(), kafka.partitions)
            waiting.append(await producer.send(topic, encode(message), key=key.encode(), partition=home))
            if len(waiting) >= 20_000:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


async def _bare(stack: Stack) -> float:
    """Read and parse, nothing else: no state, no outputs, no promise."""
    kafka = stack.settings.kafka
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    await consumer.start()
    try:
        topic = Topics(kafka.topic_prefix)(INVOCATIONS)
        places = [TopicPartition(topic, partition) for partition in range(kafka.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        started, seen = time.perf_counter(), 0
        while seen < EVENTS:
            for records in (await consumer.getmany(timeout_ms=1_000, max_records=1_000)).values():
                for record in records:
                    orjson.loads(record.value)
                seen += len(records)
        return EVENTS / (time.perf_counter() - started)
    finally:
        await consumer.stop()


def _measure(stack: Stack, process: subprocess.Popen[bytes]) -> float:
    """From the first folded event that is seen to the last; the start of the process does not count."""
    first: tuple[float, int] | None = None
    while True:
        if process.poll() is not None:
            lines = log_file(stack.settings, "monitor").read_text(encoding="utf-8")
            raise SystemExit(f"the worker ended with code {process.returncode}:\n{lines[-3000:]}")
        try:
            done = ask(stack.settings, "/api/worker")["counters"]["applied"]
        except (CrlError, KeyError):
            time.sleep(0.02)
            continue
        now = time.perf_counter()
        if done and first is None:
            first = now, done
        if done >= EVENTS and first is not None:
            return (done - first[1]) / (now - first[0]) if done > first[1] else float("nan")
        time.sleep(0.02)
