"""A long run: one worker is left untouched while others are killed, join and leave, and its resource use is watched.

A figure that grows for half an hour is assumed to grow forever.  Memory, open files and unfinished tasks of the
untouched processes, and the lag of the group, are sampled throughout.  An early part of the run is compared with the
last part.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from campaign.live.administration import administering
from campaign.live.brokers import Broker
from campaign.live.rounds import examine
from campaign.live.workers import Worker
from campaign.live.world import LAUNCHER, TASKS, Plan, World
from crl_stream.wire.topics import ACTIVE_VARIANTS, OVERVIEW, PROPOSALS, VARIANTS
from crl_stream.wire.topics import TASKS as SNAPSHOTS

WARM: Final = 0.25
"""Length of the warm-up of caches, pools and the allocator, as a share of the run."""
PART: Final = 0.25
"""Length of each of the two compared parts (right after the warm-up, and at the end) as a share of the run."""
SAMPLE_SECONDS: Final = 5.0
DISTURB_SECONDS: Final = 20.0
"""Seconds between the end of one disturbance and the next."""
GROWTH: Final = {"memory MB": 1.10, "open files": 1.10, "tasks": 1.10, "lag": 2.0}
"""Largest ratio of the last median to the early median for a figure to count as flat."""
SLACK: Final = {"memory MB": 5.0, "open files": 5.0, "tasks": 5.0, "lag": 600.0}
"""Growth that is ignored because small figures fluctuate; for the lag, this is two seconds of the load."""
KEEP_MS: Final = 7 * 86_400_000
Say = Callable[[str], None]


class Sample(NamedTuple):
    """One sample of a process."""

    seconds: float
    worker: str
    figures: dict[str, float]


class Trend(NamedTuple):
    """The development of one figure over the run."""

    worker: str
    name: str
    early: float
    last: float
    peak: float

    @property
    def is_flat(self) -> bool:
        """Whether the figure stayed level, within ``GROWTH`` or ``SLACK``."""
        return self.last <= max(self.early * GROWTH[self.name], self.early + SLACK[self.name])


async def soak(minutes: float, folder: Path, seed: int, say: Say) -> dict[str, Any]:
    """Run for ``minutes``; return the findings, ready for JSON."""
    rng = random.Random(seed)
    plan = Plan(name=f"soak-{time.time_ns() // 1_000_000 & 0xFFFFFF:x}", workers=2, services=True, rate=300)
    samples: list[Sample] = []
    disturbances = {"kill -9": 0, "joined and left": 0}
    async with Broker(folder / "broker") as broker, World(broker, plan, folder / "world", rng) as world:
        await _keep_everything(world)
        # Sessions are long, because a soak looks for growth, not for processes that stall on a busy machine.
        world.settings |= {"worker_session_timeout_seconds": "9", "worker_heartbeat_seconds": "1"}
        untouched = world.start_worker(program=(*LAUNCHER, "--tell-tasks"))
        world.start_worker()
        services = world.start_worker(role="services", program=(*LAUNCHER, "--tell-tasks"))
        await world.ready()
        await world.load.start()
        began = time.monotonic()
        looking = asyncio.create_task(_look(world, {"worker": untouched, "services": services}, samples, began, say))
        try:
            while (elapsed := time.monotonic() - began) < minutes * 60:
                await asyncio.sleep(min(DISTURB_SECONDS, minutes * 60 - elapsed))
                name = rng.choice(list(disturbances))
                await _disturb(world, untouched, name)
                disturbances[name] += 1
                if looking.done():
                    looking.result()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        ends = {worker.name: worker.alive for worker in (untouched, services)}
        findings = await examine(world)
        acknowledged = world.load.acknowledged
    trends = find_trends(samples, minutes * 60)
    return {
        "minutes": minutes,
        "records": acknowledged,
        "disturbances": disturbances,
        "untouched_alive": ends,
        "trends": [trend._asdict() | {"is_flat": trend.is_flat} for trend in trends],
        "findings": findings.as_dict(),
        "is_flat": all(trend.is_flat for trend in trends) and all(ends.values()),
    }


async def _keep_everything(world: World) -> None:
    """Keep topics from being compacted during the run; otherwise the oracle would miss what compaction removes.

    Workers accept this, because a compaction lag may be longer than the contract's.
    """
    async with administering(world.broker.bootstrap_servers) as admin:
        for topic in (ACTIVE_VARIANTS, VARIANTS, SNAPSHOTS, PROPOSALS, OVERVIEW):
            await admin.configure(world.names(topic), min_compaction_lag_ms=KEEP_MS)


async def _disturb(world: World, untouched: Worker, name: str) -> None:
    """Kill a worker other than the untouched one, or let a worker join and leave; return when the group works again."""
    if name == "kill -9":
        victim = next(worker for worker in world.workers if worker is not untouched)
        victim.kill()
        world.start_worker()
    else:
        guest = world.start_worker()
        await world.ready()
        await world.spread()
        await guest.stop()
    await world.refill()
    await world.progress.caught_up()
    await world.progress.beyond(world.progress.marks(), 90.0)


async def _look(world: World, workers: dict[str, Worker], samples: list[Sample], began: float, say: Say) -> None:
    said = 0.0
    while True:
        seconds = time.monotonic() - began
        for name, worker in workers.items():
            figures = _of_process(worker)
            if name == "worker":
                with suppress(TimeoutError):
                    figures["lag"] = await asyncio.wait_for(world.lag(), 10)
            samples.append(Sample(seconds, name, figures))
        if seconds - said >= 60:
            said = seconds
            told = "; ".join(
                f"{name} " + ", ".join(f"{what} {value:,.0f}" for what, value in _of_process(worker).items())
                for name, worker in workers.items()
            )
            say(f"{seconds / 60:.0f} min: {world.load.acknowledged:,} records; {told}")
        await asyncio.sleep(SAMPLE_SECONDS)


def _of_process(worker: Worker) -> dict[str, float]:
    """Return a process's resident memory and open files (from the kernel) and its unfinished tasks (from its log)."""
    here = Path("/proc", str(worker.process.pid))
    found: dict[str, float] = {}
    with suppress(OSError):
        found["memory MB"] = int((here / "statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6
        found["open files"] = len(list((here / "fd").iterdir()))
    told = worker.said().rpartition(TASKS)[2].split("\n", 1)[0]
    if told.isdigit():
        found["tasks"] = int(told)
    return found


def find_trends(samples: list[Sample], seconds: float) -> list[Trend]:
    """Return, for each figure of each process, its median after the warm-up, its median at the end, and its peak."""
    trends = []
    for worker in dict.fromkeys(sample.worker for sample in samples):
        for name in GROWTH:
            series = [(s.seconds, s.figures[name]) for s in samples if s.worker == worker and name in s.figures]
            early = [value for at, value in series if WARM * seconds <= at < (WARM + PART) * seconds]
            last = [value for at, value in series if at >= (1 - PART) * seconds]
            if early and last:
                peak = max(value for _, value in series)
                trends.append(Trend(worker, name, statistics.median(early), statistics.median(last), peak))
    return trends


def text(found: dict[str, Any], *, as_json: bool) -> str:
    """Format the findings for people or for programs."""
    if as_json:
        return json.dumps(found, indent=2)
    head = ", ".join(f"{name} {count}" for name, count in found["disturbances"].items())
    lines = [f"{found['minutes']:g} minutes, {found['records']:,} records, {head}", ""]
    lines += ["| process | figure | after the warm-up | at the end | peak | |", "|---|---|---:|---:|---:|---|"]
    lines += [
        f"| {t['worker']} | {t['name']} | {t['early']:,.1f} | {t['last']:,.1f} | {t['peak']:,.1f} | "
        f"{'flat' if t['is_flat'] else 'GROWS'} |"
        for t in found["trends"]
    ]
    findings = found["findings"]
    counts = ", ".join(f"{name.replace('_', ' ')} {findings[name]}" for name in ("lost", "doubled", "wrong_rows"))
    lines += ["", f"{counts}, same-id duplicates {findings['same_id_duplicates']:,}", *findings["complaints"][:5]]
    return "\n".join(lines)
