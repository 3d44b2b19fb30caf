"""Records when each probe arrives.  Runs in its own process.

    python -m benchmarks.latency_reader PLAN     # runs until its standard input ends

A plan names topics; if it also has ``flags`` (an installation's settings), a Resolver is measured too.  The process
prints how many records and answers it has seen.  At the end it writes their times, from the machine's monotonic clock,
to a file next to the plan.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from crl_stream.cli.session import Session
from crl_stream.client import Resolver
from crl_stream.core import messages as m

EVERY = 0.1
"""Seconds between two lines of output."""


def main(words: list[str]) -> int:
    """Follow the plan's topics until standard input ends."""
    path = Path(words[0])
    plan = json.loads(path.read_text(encoding="utf-8"))
    read: dict[str, int] = {}
    resolved: dict[str, int] = {}
    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(_follow(plan, read, ready)), daemon=True).start()
    resolver = _resolver(plan, resolved) if "flags" in plan else None
    ready.wait(60.0)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.wait(EVERY):
        print(len(read) if resolver is None else min(len(read), len(resolved)), flush=True)
    path.with_suffix(".arrived").write_text(json.dumps({"read": read, "resolved": resolved}), encoding="utf-8")
    if resolver is not None:
        resolver.close()
    return 0


def _resolver(plan: dict[str, Any], resolved: dict[str, int]) -> Resolver:
    """Run a Resolver, and record when it would first answer with the variant that a rollback leads to."""
    settings = Session(None, plan["flags"]).at(plan["servers"])
    resolver = Resolver(settings)
    resolver.wait_until_ready(60.0)

    def note(active: m.ActiveVariant) -> None:
        if active.epoch == plan["epoch"]:
            resolved.setdefault(f"{active.agent_name}/{active.task_type}", time.monotonic_ns())

    resolver.on_change(note)
    return resolver


async def _follow(plan: dict[str, Any], read: dict[str, int], ready: threading.Event) -> None:
    """Record when a plain consumer with default settings reads the first new record of each probed key."""
    consumer = AIOKafkaConsumer(bootstrap_servers=plan["servers"])
    await consumer.start()
    try:
        places = [TopicPartition(plan["topic"], partition) for partition in range(plan["partitions"])]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        ready.set()
        prefix = plan["prefix"].encode()
        while True:
            polled = await consumer.getmany(timeout_ms=1_000)
            now = time.monotonic_ns()
            for records in polled.values():
                for record in records:
                    if record.key.startswith(prefix):
                        read.setdefault(record.key.decode(), now)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
