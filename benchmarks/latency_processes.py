"""The processes of a latency measurement: one sends records, and the others record when they arrive."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.entrants import environment
from benchmarks.latency_load import PLACEHOLDER
from benchmarks.probes import BACKGROUND_TASKS, healthy
from benchmarks.running import Failed, stop
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of

PROBES_PER_SECOND = 100
WARM_UP = 1.0
"""Seconds of load before the first probe."""
PATIENCE = 20.0
"""Seconds within which the last probe must have taken effect."""


def send(
    path: Path, servers: str, topic: str, partitions: int, rate: int, probes: Sequence[m.Invocation]
) -> dict[str, Any]:
    """Send the probes and other outcomes at ``rate``; return when each probe was published."""

    def record(message: m.Invocation) -> tuple[int, str, str]:
        key = TaskKey(message.agent_name, message.task_type).encode()
        return partition_of(key, partitions), key.decode(), encode(message).decode()

    plan = {
        "servers": servers,
        "topic": topic,
        "rate": rate,
        "probe_every": max(1, rate // PROBES_PER_SECOND),
        "warm_up": WARM_UP,
        "id": uuid.uuid4().hex[:4],
        "background": [record(healthy(number, PLACEHOLDER.decode())) for number in range(BACKGROUND_TASKS)],
        "probes": [record(message) for message in probes],
    }
    path.write_text(json.dumps(plan), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.latency_load", str(path)]
    subprocess.run(command, env=environment(), check=True, timeout=300.0)
    result: dict[str, Any] = json.loads(path.with_suffix(".published").read_text(encoding="utf-8"))
    return result


class Arrivals:
    """Return how many probes a reader has seen."""

    def __init__(self) -> None:
        self.count = 0
        self.ready = threading.Event()

    def read(self, stream: Any) -> None:
        """Follow the reader's output, which counts the probes seen."""
        for line in stream:
            self.count = int(line)
            self.ready.set()


@contextlib.contextmanager
def reader(path: Path, plan: Mapping[str, Any]) -> Iterator[Arrivals]:
    """Run a process that records when probes arrive; it reads while the block runs, and writes the times afterwards."""
    path.write_text(json.dumps(plan), encoding="utf-8")
    command, pipe = [sys.executable, "-m", "benchmarks.latency_reader", str(path)], subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment(), start_new_session=True)
    arrivals = Arrivals()
    threading.Thread(target=arrivals.read, args=(process.stdout,), daemon=True).start()
    try:
        if not arrivals.ready.wait(60.0):
            raise Failed("a reader did not start within 60 s")
        yield arrivals
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20.0)
    finally:
        stop(process)


def wait_for(count: int, *arrivals: Arrivals) -> None:
    """Wait until every reader has seen this many probes, or the time is up."""
    until = time.monotonic() + PATIENCE
    while any(each.count < count for each in arrivals) and time.monotonic() < until:
        time.sleep(0.05)


def arrived(path: Path) -> dict[str, dict[str, int]]:
    """Return the times that a reader has written, by task: when records were read and when the Resolver answered."""
    found: dict[str, dict[str, int]] = json.loads(path.with_suffix(".arrived").read_text(encoding="utf-8"))
    return found
