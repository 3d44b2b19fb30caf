"""Measures the dashboard in the browser while outcomes arrive, and what people who watch cost the worker.

A real worker with its services, a real Kafka, a real Chromium.  All times are from this machine's clock.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.dashboard_processes import Browser, browser, browser_command, load, viewers
from benchmarks.dashboard_throughput import compare
from benchmarks.entrants import Missing
from benchmarks.latency_load import PLACEHOLDER
from benchmarks.outcomes import VARIANTS, outcomes
from benchmarks.probes import aimed_at, fill_topic, story
from benchmarks.processes import children_of, cpu_seconds, resident_megabytes
from benchmarks.running import Failed
from benchmarks.stack import Stack, delete_topics, installation, note
from crl_stream.cli.processes import Running, running
from crl_stream.client.publisher import utc_now
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.web.doors import BASE, link
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS, ROLLBACKS, Topics
from crl_stream.worker_views import ask, views_url

RATE: Final = 500
"""Outcomes per second while the pages are measured."""
AGENT: Final = "airline-desk"
"""The agent of the tasks that are rolled back; it is the first one by name, so its tasks are on the page."""
HISTORY: Final = 60
"""Outcomes of each task before the measurement, 20 for each of its variants."""
VARIED: Final = 15
"""How many different outcomes of each task are sent in turn."""
VIEWERS: Final = 10
YARDSTICK: Final = "a page of one word"
PATIENCE_SECONDS: Final = 120.0
SEEN_SECONDS: Final = 20.0
"""Seconds within which the last rollback must be on the screen."""
GOAL: Final = (
    "first paint within 300 ms; an event on the screen within 500 ms at p95; a worker with viewers at least 0.97 times "
    "as fast as without"
)


class Extent(NamedTuple):
    """How much is measured."""

    tasks: int
    loads: int
    probes: int
    apart: float
    """Seconds between two probes."""
    rest: float
    """Seconds for which memory and CPU time of the worker are sampled."""
    rounds: int
    burst: int
    """Outcomes that the worker catches up with at a time."""


def extent(tasks: int | None, *, quick: bool) -> Extent:
    """Return how much a run measures."""
    if quick:
        return Extent(tasks or 100, loads=3, probes=6, apart=1.0, rest=2.0, rounds=1, burst=10_000)
    return Extent(tasks or 1_000, loads=20, probes=44, apart=2.6, rest=10.0, rounds=3, burst=40_000)


def run(bootstrap_servers: str, size: Extent) -> dict[str, Any]:
    """Return every figure; without a browser, say what is missing."""
    try:
        browser_command()
    except Missing as missing:
        return {"missing": str(missing)}
    found: dict[str, Any] = {"setting": {"tasks": size.tasks, "variants of each": len(VARIANTS)}}
    before = os.getloadavg()[0]
    with installation(bootstrap_servers) as stack, tempfile.TemporaryDirectory() as folder:
        asyncio.run(_fill(stack, size))
        with running(stack.session, stack.settings, quiet=True, names=("monitor", "services")) as installed:
            _wait_until_folded(stack, size)
            with browser() as looking:
                found["setting"]["browser"] = f"Chromium {looking.version}"
                found |= _watched(stack, installed, looking, Path(folder), size, found["setting"])
        note(f"  {in_words(found)}")
        with running(stack.session, stack.settings, quiet=True, names=("services",)):
            found |= compare(stack, size.rounds, size.burst, records(stack, background(size.tasks)))
        delete_topics(bootstrap_servers, stack.settings.kafka.topic_prefix)
    found["setting"]["load average before and after"] = f"{before:.1f}, {os.getloadavg()[0]:.1f}"
    return found | {"goal": GOAL}


def in_words(found: Mapping[str, Any]) -> str:
    """Return one line that describes the pages."""
    paint, seen = found["first contentful paint, ms"], found["from the rollback's append to the screen, ms"]
    rows = seen["row of the task"]
    return (
        f"first paint {paint['empty cache']['p50']:.0f} ms cold, {paint['again']['p50']:.0f} ms warm; "
        f"a rollback in its row after {rows['p50']:.0f} ms, p95 {rows['p95']:.0f} ms"
    )


def spans(times: Sequence[float]) -> dict[str, float]:
    """Return the median, the 95th percentile by the nearest-rank method, the maximum and the count."""
    if not times:
        return {"n": 0}
    ordered = sorted(times)
    at = {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in (("p50", 0.5), ("p95", 0.95))}
    return at | {"max": ordered[-1], "n": len(ordered)}


def delays(appended: Mapping[str, float], seen: Mapping[str, float]) -> dict[str, float]:
    """Return the spans between the append and the sight of the same thing, and how many were never seen."""
    found = spans([seen[name] - at for name, at in appended.items() if name in seen])
    return found | {"not seen": sum(name not in seen for name in appended)}


# -- what is sent -----------------------------------------------------------------------------------
def background(tasks: int) -> list[m.Invocation]:
    """Return outcomes of every task and variant in turn; the part that makes their ids unique is a placeholder."""
    fields = {"invocation_id": PLACEHOLDER.decode(), "timestamp": utc_now()}
    made = enumerate(outcomes(tasks * VARIED, tasks, **fields))
    return [_with(message, variant_id=VARIANTS[number // tasks % len(VARIANTS)]) for number, (_, message) in made]


def _with(message: m.Invocation, **fields: Any) -> m.Invocation:
    return m.Invocation(**({name: getattr(message, name) for name in message.__struct_fields__} | fields))


def records(stack: Stack, messages: Sequence[m.Invocation]) -> list[tuple[int, str, str]]:
    """Return partition, key and value of each outcome."""
    partitions = stack.settings.kafka.partitions
    found = []
    for message in messages:
        key = TaskKey(message.agent_name, message.task_type).encode()
        found.append((partition_of(key, partitions), key.decode(), encode(message).decode()))
    return found


def _probes(size: Extent) -> list[TaskKey]:
    return [TaskKey(AGENT, f"probe-{number:02d}") for number in range(size.probes)]


def history(size: Extent) -> Iterator[m.Invocation]:
    """Return the outcomes of all tasks so far; one more failure of a probed task reveals that it has degraded."""
    turns = background(size.tasks)
    for number in range(HISTORY * size.tasks):
        yield _with(turns[number % len(turns)], invocation_id=f"old-{number:08d}")
    *before, _ = story()
    for key in _probes(size):
        yield from (aimed_at(message, key) for message in before)


async def _fill(stack: Stack, size: Extent) -> None:
    kafka = stack.settings.kafka
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    await fill_topic(kafka.bootstrap_servers, topic, kafka.partitions, list(history(size)))


def _wait_until_folded(stack: Stack, size: Extent) -> None:
    wanted, until = len(list(history(size))), time.monotonic() + PATIENCE_SECONDS
    while ask(stack.settings, "/api/worker")["counters"]["applied"] < wanted:
        if time.monotonic() > until:
            raise Failed(f"the worker did not fold {wanted:,} outcomes within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)


# -- what is seen -----------------------------------------------------------------------------------
def _watched(
    stack: Stack, installed: Running, looking: Browser, folder: Path, size: Extent, setting: dict[str, Any]
) -> dict[str, Any]:
    """Measure the pages under the steady load; what was sent is added to ``setting``."""
    *_, last = story()
    kafka, url, sent = stack.settings.kafka, f"{views_url(stack.settings)}{BASE}/", dict[str, Any]()
    plan = {
        "servers": kafka.bootstrap_servers,
        "topic": Topics(kafka.topic_prefix)(INVOCATIONS),
        "rate": RATE,
        "id": uuid.uuid4().hex[:4],
        "background": records(stack, background(size.tasks)),
        "probes": records(stack, [aimed_at(last, key) for key in _probes(size)]),
    }
    worker = installed.monitor.pid
    with load(folder / "load.json", plan, sent) as loading:
        costs = _costs("no viewer", worker, size.rest)
        first = looking.ask("enter", link(stack.settings, views_url(stack.settings), "bench"))
        loads = looking.ask("loads", url, size.loads)
        memory = [looking.ask("watch", url, AGENT)]
        started = time.monotonic()
        for _ in range(size.probes):
            loading.say("probe")
            time.sleep(size.apart)
        seen = _until_seen(looking, size.probes)
        costs |= _costs("1 viewer", worker, size.rest)
        memory.append(looking.ask("memory"))
        seconds = time.monotonic() - started
        with viewers(url, first["cookie"], VIEWERS - 1):
            costs |= _costs(f"{VIEWERS} viewers", worker, size.rest)
    still = looking.ask("loads", url, size.loads)
    setting["outcomes per second"] = sent["per_second"]
    if sent["failed"]:
        raise Failed(f"outcomes were not sent: {sent['failed']}")
    return {
        "first contentful paint, ms": _loads(loads, "paint"),
        "first contentful paint, ratio to a page of one word": factors(loads, "paint"),
        "first contentful paint while no outcomes arrive, ms": _loads(still, "paint"),
        "seconds until the first page of the process": first["seconds"],
        "page received, ms": _loads(loads, "whole"),
        "page in KB, compressed": statistics.median(one["bytes"] for one in loads["empty cache"]) / 1_000,
        "from the rollback's append to the screen, ms": _reactions(stack, seen),
        "resident memory, MB": {name: cost[0] for name, cost in costs.items()},
        f"cores in use at {RATE} outcomes/s": {name: cost[1] for name, cost in costs.items()},
        "heap of the page, MB": {"at the start": memory[0]["heap_megabytes"], _after(seconds): _heap(memory)},
        "nodes of the page": {"at the start": memory[0]["nodes"], _after(seconds): memory[1]["nodes"]},
    }


def _after(seconds: float) -> str:
    return f"after {seconds:.0f} s"


def _heap(memory: Sequence[Mapping[str, float]]) -> float:
    return memory[-1]["heap_megabytes"]


def _loads(loads: Mapping[str, Sequence[Mapping[str, float]]], figure: str) -> dict[str, Any]:
    return {name: spans([one[figure] for one in found]) for name, found in loads.items()}


def factors(loads: Mapping[str, Sequence[Mapping[str, float]]], figure: str) -> dict[str, float]:
    """Return the median ratios of a figure to that of the yardstick, which was loaded at the same time."""
    return {
        name: statistics.median(one[figure] / bare[figure] for one, bare in zip(found, loads[YARDSTICK], strict=True))
        for name, found in loads.items()
        if name != YARDSTICK
    }


def _costs(viewers: str, worker: int, seconds: float) -> dict[str, tuple[float, float]]:
    """Return the median resident memory in megabytes, and the cores in use, of the worker and of its dashboard."""
    pids = {f"the worker, {viewers}": worker} | {f"its dashboard, {viewers}": pid for pid in children_of(worker)}
    sizes: dict[str, list[float]] = {name: [] for name in pids}
    began, used = time.perf_counter(), {name: cpu_seconds(pid) for name, pid in pids.items()}
    while time.perf_counter() - began < seconds:
        for name, pid in pids.items():
            sizes[name].append(resident_megabytes(pid))
        time.sleep(0.25)
    passed = time.perf_counter() - began
    return {
        name: (statistics.median(sizes[name]), (cpu_seconds(pid) - used[name]) / passed) for name, pid in pids.items()
    }


def _until_seen(looking: Browser, probes: int) -> Any:
    """Return when each change was seen, as soon as all of them are on the screen, or time is up."""
    until = time.monotonic() + SEEN_SECONDS
    while min(map(len, (seen := looking.ask("seen")).values())) < probes and time.monotonic() < until:
        time.sleep(0.2)
    return seen


def _reactions(stack: Stack, seen: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the delays from the moment at which the broker appended a rollback."""
    read = asyncio.run(TopicReader(stack.settings.kafka).read(ROLLBACKS))
    events = [(one.message, one.record.timestamp) for one in read if isinstance(one.message, m.RollbackEvent)]
    ours = [(event, at) for event, at in events if event.agent_name == AGENT]
    by_task = {event.task_type: float(at) for event, at in ours}
    by_id = {event.rollback_id: float(at) for event, at in ours}
    return {
        "row of the task": delays(by_task, seen["row"]),
        "what changed": delays(by_task, seen["feed"]),
        "list of rollbacks": delays(by_id, seen["list"]),
    }
