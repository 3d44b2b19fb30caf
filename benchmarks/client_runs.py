"""One run of the ``client`` section, in its own process: ``python -m benchmarks.client_runs NAME ...``.

Prints a JSON object of figures.  The messages are parsed before the clock starts.  The time runs from the first message
to the broker's acknowledgement of the last one, and includes everything a sender does in between.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from crl_stream.client import Client, Publisher
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.settings import load_settings
from crl_stream.wire.codec import encode

AT_ONCE: Final = 5_000
"""The number of unacknowledged messages that each sender may have."""
CALLS: Final = 2_000
WORK_SECONDS: Final = 0.001


def main() -> None:
    """Run the measurement named on the command line."""
    name, *words = sys.argv[1:]
    if name == "agent":
        print(json.dumps(_agent(with_client=words[0] == "yes")))
        return
    file, servers, topic, prefix = words
    decode = msgspec.json.Decoder(m.Invocation).decode
    messages = [decode(line) for line in Path(file).read_bytes().splitlines()]
    figures: dict[str, Callable[[], dict[str, float]]] = {
        "ours": lambda: _ours(messages, servers, prefix),
        "aiokafka": lambda: asyncio.run(_aiokafka(messages, servers, topic)),
        "confluent": lambda: _confluent(messages, servers, topic),
    }
    print(json.dumps(figures[name]()))


class _Clock:
    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def figures(self, count: int) -> dict[str, float]:
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        return {"us of CPU a message": cpu / count * 1e6, "messages/s": count / wall}


def _ours(messages: list[Any], servers: str, prefix: str) -> dict[str, float]:
    flags = {"kafka.bootstrap_servers": servers, "kafka.topic_prefix": prefix}
    with Publisher(load_settings(environment={}, flags=flags)) as publisher:
        publisher.publish(messages[0])
        assert publisher.flush(60.0)
        clock = _Clock()
        for number, message in enumerate(messages, start=1):
            publisher.publish(message)
            if number % 1_000 == 0:
                while publisher.stats.queued >= AT_ONCE:
                    publisher.flush(0.005)
        assert publisher.flush(120.0)
        figures = clock.figures(len(messages))
        assert publisher.stats.sent == len(messages) + 1
    return figures


async def _aiokafka(messages: list[Any], servers: str, topic: str) -> dict[str, float]:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    await producer.start()
    await producer.send_and_wait(topic, b"{}", key=b"a/b")
    clock = _Clock()
    waiting: list[Any] = []
    for message in messages:
        key = TaskKey(message.agent_name, message.task_type).encode()
        waiting.append(await producer.send(topic, encode(message), key=key))
        if len(waiting) >= AT_ONCE:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)
    figures = clock.figures(len(messages))
    await producer.stop()
    return figures


def _confluent(messages: list[Any], servers: str, topic: str) -> dict[str, float]:
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 2 * AT_ONCE,
        }
    )
    producer.produce(topic, b"{}", key=b"a/b")
    producer.flush(60.0)
    clock = _Clock()
    for message in messages:
        key = TaskKey(message.agent_name, message.task_type).encode()
        while len(producer) >= AT_ONCE:
            producer.poll(0.005)
        producer.produce(topic, encode(message), key=key)
        producer.poll(0)
    producer.flush(120.0)
    return clock.figures(len(messages))


def _agent(*, with_client: bool) -> dict[str, float]:
    """Run a small agent whose calls each take a millisecond."""
    taken = []
    began = time.perf_counter()
    client = Client().__enter__() if with_client else None
    entered = time.perf_counter() - began
    for _ in range(CALLS):
        began = time.perf_counter()
        if client is None:
            time.sleep(WORK_SECONDS)
            taken.append(time.perf_counter() - began)
        else:
            with client.invocation("agent", "task", default="v1") as inv:
                before = time.perf_counter()
                time.sleep(WORK_SECONDS)
                work = time.perf_counter() - before
                inv.quality = 0.9
            taken.append(time.perf_counter() - began - work)
    began = time.perf_counter()
    if client is not None:
        client.close()
    closed = time.perf_counter() - began
    taken.sort()
    if client is None:
        return {"p50 of a call, ms": taken[CALLS // 2] * 1e3, "p99 of a call, ms": taken[CALLS * 99 // 100] * 1e3}
    return {
        "entering, ms": entered * 1e3,
        "p50 added to a call, ms": taken[CALLS // 2] * 1e3,
        "p99 added to a call, ms": taken[CALLS * 99 // 100] * 1e3,
        "closing, s": closed,
    }


if __name__ == "__main__":
    main()
