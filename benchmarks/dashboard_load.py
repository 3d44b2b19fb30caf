"""Sends outcomes at a steady rate, and a probe whenever it is told to.  Runs in its own process.

    python -m benchmarks.dashboard_load PLAN     # each line of standard input asks for the next probe; the end ends it

At the end it writes what it has sent to a file next to the plan.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.latency_load import PLACEHOLDER, TICK


def main(words: list[str]) -> int:
    """Send the plan's outcomes again and again until standard input ends."""
    path = Path(words[0])
    plan = json.loads(path.read_text(encoding="utf-8"))
    producer = Producer({"bootstrap.servers": plan["servers"], "linger.ms": 0, "acks": "all", "log_level": 0})
    producer.list_topics(plan["topic"], timeout=20.0)
    asked, over = threading.Semaphore(0), threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            asked.release()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    result = _send(producer, plan, asked, over)
    producer.flush(30.0)
    path.with_suffix(".sent").write_text(json.dumps(result), encoding="utf-8")
    return 0


def _send(producer: Producer, plan: dict[str, Any], asked: threading.Semaphore, over: threading.Event) -> Any:
    background = [(place, key.encode(), value.encode()) for place, key, value in plan["background"]]
    probes = [(place, key.encode(), value.encode()) for place, key, value in plan["probes"]]
    topic, rate = plan["topic"], plan["rate"]
    sent = probed = 0
    failed: list[str] = []

    def delivered(error: Any, _record: Any) -> None:
        if error is not None:
            failed.append(str(error))

    started = time.perf_counter()
    while not over.is_set():
        if probed < len(probes) and asked.acquire(blocking=False):
            place, key, value = probes[probed]
            producer.produce(topic, value, key, place, on_delivery=delivered)
            probed += 1
        while sent <= (time.perf_counter() - started) * rate:
            place, key, value = background[sent % len(background)]
            value = value.replace(PLACEHOLDER, b"%s%08d" % (plan["id"].encode(), sent))
            producer.produce(topic, value, key, place, on_delivery=delivered)
            sent += 1
        producer.poll(0)
        time.sleep(max(TICK, sent / rate - (time.perf_counter() - started)))
    return {"per_second": sent / (time.perf_counter() - started), "probes": probed, "failed": failed[:3]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
