"""Sends outcomes at a steady rate, and records when each probe among them was published.  Runs in its own process.

    python -m benchmarks.latency_load PLAN

librdkafka sends from its own thread, so neither Python nor an event loop delays a record.  Times come from the
machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

TICK = 0.001
"""Seconds between two checks for records that are due; up to 1,000 records a second, each check sends at most one."""
PLACEHOLDER = b"@" * 12
"""Placeholder in a background outcome for the part that makes its id unique."""


def main(words: list[str]) -> int:
    """Send the records in the plan, and write the publishing time of each probe to a file next to the plan."""
    path = Path(words[0])
    plan = json.loads(path.read_text(encoding="utf-8"))
    producer = Producer({"bootstrap.servers": plan["servers"], "linger.ms": 0, "acks": "all", "log_level": 0})
    # The first record of a partition waits for a connection and metadata; that wait must not count.
    producer.list_topics(plan["topic"], timeout=20.0)
    result = _send(producer, plan)
    producer.flush(30.0)
    path.with_suffix(".published").write_text(json.dumps(result), encoding="utf-8")
    return 0


def _send(producer: Producer, plan: dict[str, Any]) -> dict[str, Any]:
    background = [(place, key.encode(), value.encode()) for place, key, value in plan["background"]]
    probes = [(place, key.encode(), value.encode()) for place, key, value in plan["probes"]]
    topic, rate, each = plan["topic"], plan["rate"], plan["probe_every"]
    published: dict[str, int] = {}
    sent = probed = 0
    failed: list[str] = []
    late = 0.0

    def delivered(error: Any, _record: Any) -> None:
        if error is not None:
            failed.append(str(error))

    started = time.perf_counter()
    warm_up = int(plan["warm_up"] * rate)
    while probed < len(probes):
        now = time.perf_counter() - started
        late = max(late, now - sent / rate) if sent > warm_up else 0.0
        while sent <= now * rate and probed < len(probes):
            if sent >= warm_up and (sent - warm_up) % each == 0:
                place, key, value = probes[probed]
                published[key.decode()] = time.monotonic_ns()
                probed += 1
            else:
                place, key, value = background[sent % len(background)]
                value = value.replace(PLACEHOLDER, b"%s%08d" % (plan["id"].encode(), sent))
            producer.produce(topic, value, key, place, on_delivery=delivered)
            sent += 1
        producer.poll(0)
        time.sleep(max(TICK, sent / rate - (time.perf_counter() - started)))
    seconds = time.perf_counter() - started
    return {"published": published, "per_second": sent / seconds, "late_ms": late * 1e3, "failed": failed[:3]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
