"""Measures how long a published outcome takes to have an effect, compared with the bare path through Kafka.

A probe is the outcome that reveals a degradation; earlier outcomes have brought its task close to degrading.  Three
times are measured for the same record: when a plain consumer of the log reads it (the bare path: same record, same
load, same moment), when a plain consumer of ``crl.rollbacks`` reads the fact, and when the Resolver would first answer
with the new variant.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.entrants import ENTRANTS, Missing, environment
from benchmarks.latency_processes import arrived, reader, send, wait_for
from benchmarks.probes import AGENT, BACKGROUND_TASKS, aimed_at, fill_topic, healthy, story
from benchmarks.running import Failed, started
from benchmarks.stack import Stack, create_topics, delete_topics, installation, note, worker
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.wire.topics import INVOCATIONS, ROLLBACKS, Topics
from crl_stream.worker_views import ask

PARTITIONS = (4, 12, 64)
RATES = (100, 1_000, 10_000)
REPEATED = 1_000
"""The event rate per second to which the goal applies; it is measured several times."""
WARM_PROBES = 16
"""Warm-up probes per partition before the measurement.  The first write to each of several hundred files keeps the
disk's journal busy for a second or two, and every writer must wait for it.
"""
SETTLING_SECONDS = 6.0
"""Pause after the warm-up; ext4 writes its journal every five seconds."""


class Cell(NamedTuple):
    """One measurement: probes and other outcomes are sent at a combined ``rate`` per second."""

    name: str
    rate: int
    probes: int

    @property
    def keys(self) -> list[TaskKey]:
        """The probed tasks."""
        return [TaskKey(AGENT, f"{self.name}-{number}") for number in range(self.probes)]


def run(bootstrap_servers: str, *, repeats: int = 5, probes: int = 1_000, quick: bool = False) -> dict[str, Any]:
    """Return latency figures by number of partitions and event rate; 1,000 a second is measured ``repeats`` times."""
    found: dict[str, Any] = {}
    for partitions in PARTITIONS[:1] if quick else PARTITIONS:
        rates = [REPEATED] if quick else RATES
        several = repeats if partitions < PARTITIONS[-1] else min(2, repeats)
        cells = [
            Cell(f"{rate}-{number}", rate, max(min(500, probes), probes // several) if rate == REPEATED else probes)
            for rate in rates
            for number in range(several if rate == REPEATED else 1)
        ]
        for cell, figures in _measure(bootstrap_servers, partitions, cells):
            note(f"  {partitions} partitions, {cell.rate:,}/s: {in_words(figures)}")
            found.setdefault(f"{partitions} partitions", {}).setdefault(f"{cell.rate}/s", []).append(figures)
    return found


def run_others(bootstrap_servers: str, names: Sequence[str], *, probes: int = 500) -> dict[str, Any]:
    """Measure the other contestants, from producing a record to reading its output, at 1,000/s with 4 partitions."""
    found: dict[str, Any] = {}
    for name in names:
        cell = Cell("probe", REPEATED, probes)
        try:
            found[name] = _measure_other(bootstrap_servers, name, cell)
            note(f"  {name}, 4 partitions, {cell.rate:,}/s: {in_words(found[name])}")
        except (Missing, Failed) as error:
            found[name] = {"missing": str(error)}
            note(f"  {name}: MISSING: {error}")
    return found


def in_words(figures: Mapping[str, Any]) -> str:
    """Return one line that describes a measurement."""
    paths = [f"{name} p50 {q['p50']:.1f} p99 {q['p99']:.1f} ms" for name, q in figures["paths"].items()]
    lost = f", {figures['lost']} LOST" if figures["lost"] else ""
    return f"{'; '.join(paths)} ({figures['probes']} probes, load {figures['load']['per_second']:,.0f}/s{lost})"


# -- ours -----------------------------------------------------------------------------------------------
def _measure(bootstrap_servers: str, partitions: int, cells: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    with installation(bootstrap_servers, [f"kafka.partitions={partitions}"]) as stack:
        template = story()
        first = Cell("warm", REPEATED, max(200, WARM_PROBES * partitions))
        primed = [aimed_at(message, key) for cell in (first, *cells) for key in cell.keys for message in template[:-1]]
        asyncio.run(_fill(stack, primed))
        with worker(stack):
            _wait_until_folded(stack, len(primed))
            _measure_cell(stack, first, template[-1])
            time.sleep(SETTLING_SECONDS)
            for cell in cells:
                yield cell, _measure_cell(stack, cell, template[-1])
        delete_topics(bootstrap_servers, stack.settings.kafka.topic_prefix)


def _measure_cell(stack: Stack, cell: Cell, last: m.Invocation) -> dict[str, Any]:
    kafka = stack.settings.kafka
    topics, servers = Topics(kafka.topic_prefix), kafka.bootstrap_servers
    prefix = f"{AGENT}/{cell.name}-"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = [f"{setting}={value}" for setting, value in stack.session.flags.items()]
        flags += [f"client.cache_dir={folder}"]
        plan = {"servers": servers, "partitions": kafka.partitions, "prefix": prefix}
        effects = plan | {"topic": topics(ROLLBACKS), "flags": flags, "epoch": 2}
        bare = plan | {"topic": topics(INVOCATIONS)}
        with reader(folder / "effects.json", effects) as effects_seen, reader(folder / "bare.json", bare) as seen:
            probes = [aimed_at(last, key) for key in cell.keys]
            published = send(folder / "load.json", servers, topics(INVOCATIONS), kafka.partitions, cell.rate, probes)
            wait_for(cell.probes, effects_seen, seen)
        effect, path = arrived(folder / "effects.json"), arrived(folder / "bare.json")
    times = published["published"]
    return _figures(
        cell,
        published,
        {
            "publish to Resolver": _milliseconds(times, effect["resolved"]),
            "publish to fact read": _milliseconds(times, effect["read"]),
            "bare produce to consume": _milliseconds(times, path["read"]),
        },
    )


def _figures(cell: Cell, published: dict[str, Any], paths: dict[str, list[float]]) -> dict[str, Any]:
    load = {name: published[name] for name in ("per_second", "late_ms", "failed")}
    return {
        "rate": cell.rate,
        "probes": cell.probes,
        "lost": sum(cell.probes - len(times) for times in paths.values()),
        "load": load,
        "paths": {name: quantiles(times) for name, times in paths.items() if times},
    }


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Return the quantiles in ``_SHARES`` by the nearest-rank method, with the maximum and the count."""
    ordered = sorted(times)
    at = {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in _SHARES.items()}
    return at | {"max": ordered[-1], "n": len(ordered)}


_SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def _milliseconds(published: Mapping[str, int], arrived: Mapping[str, int]) -> list[float]:
    return [(arrived[key] - time_) / 1e6 for key, time_ in published.items() if key in arrived]


# -- others ---------------------------------------------------------------------------------------------
def _measure_other(bootstrap_servers: str, name: str, cell: Cell) -> dict[str, Any]:
    """Measure one other contestant; a probe is the first outcome of a task, which causes a snapshot."""
    unique, partitions = f"l{uuid.uuid4().hex[:8]}", 4
    source, sink = f"{unique}-outcomes", f"{unique}-snapshots"
    command = ENTRANTS[name].command()
    create_topics(bootstrap_servers, [source, sink], partitions)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
            folder = Path(text)
            state = folder / "state"
            state.mkdir()
            words = [bootstrap_servers, unique, source, sink, str(partitions), str(state), "1.0"]
            plan = {"servers": bootstrap_servers, "partitions": partitions, "prefix": f"{AGENT}/"}
            with started([*command, *words], environment(), folder / "log.txt") as (process, watch):
                warm_up = [healthy(number, f"warm-{number:08d}") for number in range(BACKGROUND_TASKS)]
                asyncio.run(fill_topic(bootstrap_servers, source, partitions, warm_up))
                until = time.monotonic() + 60.0
                while watch.count < len(warm_up):
                    if process.poll() is not None or time.monotonic() > until:
                        raise Failed(f"it took in nothing: {(folder / 'log.txt').read_text(errors='replace')[-800:]}")
                    time.sleep(0.05)
                with (
                    reader(folder / "effects.json", plan | {"topic": sink}) as effects_seen,
                    reader(folder / "bare.json", plan | {"topic": source}) as seen,
                ):
                    probes = [aimed_at(healthy(0, f"p-{n}"), key) for n, key in enumerate(cell.keys)]
                    published = send(folder / "load.json", bootstrap_servers, source, partitions, cell.rate, probes)
                    wait_for(cell.probes, effects_seen, seen)
            effect, path = arrived(folder / "effects.json"), arrived(folder / "bare.json")
    finally:
        delete_topics(bootstrap_servers, unique)
    times = published["published"]
    paths = {
        "produce to output read": _milliseconds(times, effect["read"]),
        "bare produce to consume": _milliseconds(times, path["read"]),
    }
    return _figures(cell, published, paths)


async def _fill(stack: Stack, messages: Sequence[m.Invocation]) -> None:
    kafka = stack.settings.kafka
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    await fill_topic(kafka.bootstrap_servers, topic, kafka.partitions, messages)


def _wait_until_folded(stack: Stack, count: int) -> None:
    until = time.monotonic() + 120.0
    while ask(stack.settings, "/api/worker")["counters"]["applied"] < count:
        if time.monotonic() > until:
            raise SystemExit(f"the worker did not fold {count:,} outcomes within 120 s")
        time.sleep(0.2)
