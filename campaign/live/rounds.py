"""A round: a new installation, one type of fault induced repeatedly under load, then the oracle."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from campaign.live.brokers import Broker
from campaign.live.fault import Engagement, Fault
from campaign.live.oracle.findings import Findings
from campaign.live.oracle.reading import Request
from campaign.live.world import ROOT, Plan, World

ORACLE: Final = ("-m", "campaign.live.oracle")
Say = Callable[[str], None]


class Round(NamedTuple):
    """A round to play; ``key`` names it in a results file."""

    fault: Fault
    number: int
    times: int
    seed: int

    @property
    def key(self) -> str:
        """Return a name that is unique within a campaign of one seed and scale."""
        return f"{self.fault.id}/{self.number}/{self.times}/{self.seed}"

    def draw(self) -> tuple[Plan, random.Random]:
        """Return the round's plan and its random number generator."""
        rng = random.Random(self.key)
        plan = Plan(
            name=f"c{self.fault.id.lower()}-{self.number}-{os.getpid():x}-{time.time_ns() // 1_000_000 & 0xFFFFFF:x}",
            partitions=rng.choice((3, 4, 6, 8)),
            workers=rng.choice((2, 2, 3)),
            services=rng.random() < 0.34,
            rate=rng.choice((200, 300, 400)),
        )
        return plan._replace(**self.fault.plan), rng


class Played(msgspec.Struct, kw_only=True):
    """The result of a round: one line of a results file."""

    key: str
    fault: str
    number: int
    workers: int
    partitions: int
    services: bool
    engagements: list[dict[str, Any]]
    findings: dict[str, Any] | None = None
    error: str | None = None
    """Why the round did not finish, such as a group that was stuck or a worker that did not start."""
    acknowledged: int = 0
    seconds: float = 0.0

    @property
    def is_exact(self) -> bool:
        """Whether the round finished and every promise held."""
        return self.error is None and (self.findings is None or not self.findings["complaints"])


def plan_rounds(faults: list[Fault], seed: int, scale: float) -> Iterator[Round]:
    """Return every round of a campaign; each fault is induced at least once."""
    for fault in faults:
        left, number = max(1, round(fault.times * scale)), 0
        while left > 0:
            number += 1
            yield Round(fault, number, min(left, fault.per_round), seed)
            left -= fault.per_round


async def play(planned: Round, broker: Broker, folder: Path, say: Say) -> Played:
    """Play a round; the files of a failed round stay in ``folder``."""
    fault = planned.fault
    plan, rng = planned.draw()
    started = time.perf_counter()
    own = folder / f"{fault.id}-{planned.number}"
    played = Played(
        key=planned.key,
        fault=fault.id,
        number=planned.number,
        workers=plan.workers,
        partitions=plan.partitions,
        services=plan.services,
        engagements=[],
    )
    try:
        async with World(broker, plan, own, rng) as world:
            await _induce_all(planned, world, rng, played, say)
            played.acknowledged = world.load.acknowledged
            if fault.examines:
                findings = await examine(world)
                played.findings = findings.as_dict()
    except Exception as error:
        played.error = f"{type(error).__name__}: {error}"
    played.seconds = time.perf_counter() - started
    if played.is_exact:
        shutil.rmtree(own, ignore_errors=True)
    return played


async def _induce_all(planned: Round, world: World, rng: random.Random, played: Played, say: Say) -> None:
    fault = planned.fault
    if fault.prepare is not None:
        await fault.prepare(world, rng)
    else:
        await world.start()
    for number in range(1, planned.times + 1):
        engagement: Engagement = await _unless_load_ends(world, fault.induce(world, rng))
        played.engagements.append(vars(engagement))
        noticed = "noticed" if engagement.engaged else "NOT noticed"
        recovery = "" if engagement.recovery_seconds is None else f", recovered in {engagement.recovery_seconds:.1f} s"
        figures = ", ".join(f"{name} {value:g}" for name, value in engagement.figures.items())
        say(f"{fault.id} round {planned.number}, {number} of {planned.times}: {noticed}{recovery}; {figures}")


async def _unless_load_ends(world: World, induced: Awaitable[Engagement]) -> Engagement:
    """Induce a fault and return the result; fail if the load ends, because the fault would then wait in vain."""
    inducing = asyncio.ensure_future(induced)
    ended = asyncio.create_task(world.load.ended())
    try:
        await asyncio.wait({inducing, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
        return await inducing
    finally:
        for task in (inducing, ended):
            task.cancel()
        await asyncio.gather(inducing, ended, return_exceptions=True)


async def examine(world: World) -> Findings:
    """End the load, wait until everything is folded, and run the oracle."""
    await world.settle()
    request = Request(
        bootstrap_servers=world.broker.bootstrap_servers,
        prefix=world.kafka.topic_prefix,
        app_id=world.app_id,
        partitions=world.partitions,
        services=world.plan.services,
        ledger=str(world.ledger),
        archive=None if world.archive is None else str(world.archive),
        gaps=world.gaps,
    )
    file = world.folder / "request.json"
    file.write_bytes(msgspec.json.encode(request))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *ORACLE, str(file)),
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode not in {0, 3}:
        raise RuntimeError(f"the oracle ended with code {process.returncode}: {err.decode()[-600:]}")
    findings = Findings(**json.loads(out))
    for step in world.offsets.went_back:
        findings.complain("went_back", 1, step)
    return findings
