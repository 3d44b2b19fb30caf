"""Outcomes of every kind, runtimes, clocks, and late scores."""

from __future__ import annotations

from typing import Any

from crl_stream.core import messages as m
from crl_stream.wire.codec import encode

from .scribe import Scribe, Task, instant

HOUR = 3_600_000


def every_kind(scribe: Scribe, agent: str = "backend-architect") -> None:
    """Send every field of an invocation with each of its values; shadow outcomes come first."""
    task = scribe.task(agent, "api-design")
    task.send("ghost", "failure", role="shadow", reward=-0.5)
    task.send("tried", variant_source="explore")
    for number, complexity in enumerate(("low", "medium", "high", None) * 2):
        task.send(
            status=("success", "success", "failure", "error")[number // 2],
            complexity=complexity,
            duration_seconds=(5.0, 300.0, 2_000.0, 0.0)[number % 4],
            quality=(None, 0.2, 0.5, 1.0)[number % 4],
            error_count=(0, 1, 0, 256, 1_000_000, 0, 2, 255)[number],
            provider="anthropic",
            model="small",
            variant_source=("live", "stale", "file", "default")[number % 4],  # type: ignore[arg-type]
            role="live",
        )
    for reward in (1.0, -1.0, 0.0, 0.333_333_333_3):
        task.send(reward=reward, active_epoch=1)
    known = task.run("default", "SSFX")
    for again in known[:2]:
        task.send(invocation_id=again)
    task.send("ghost", role="shadow", quality=0.9)
    task.send("ghost")
    task.send("default", active_epoch=0)
    task.send("default", active_epoch=9)
    task.run("default", "S" * 60, quality=0.95, duration_seconds=10.0)
    task.send(invocation_id=known[0])


def runtimes(scribe: Scribe) -> None:
    """Use more runtimes than are remembered: late ones, a stuck one, forgotten ones that return, and invented ones."""
    task = scribe.task("backend-architect", "runtimes")
    task.run("default", "SSSS", runtime_id="r1")
    task.explore("v2", "SSSSSS", runtime_id="r2")
    for name in ("r1", "r2", "r3", "r4", "r5", "r1"):
        task.run("default", "S", runtime_id=name)
    task.order(m.ActivateVariant, variant_id="v2")
    for name in ("r3", "r4", "r1"):
        task.run("default", "SS", runtime_id=name, active_epoch=1)
    task.run("default", "S" * 8, runtime_id="r1", active_epoch=1, duration_seconds=0.1)
    scribe.clock += 10_000  # what came until here may have been in a batch
    task.run("default", "S" * 8, runtime_id="r1", active_epoch=1, duration_seconds=0.1)
    task.send("v2", runtime_id="r4")
    for name in ("r1", "r2", "r3", "r4", "r5", "r6", "r1", "r5"):
        task.run("v2", "S", runtime_id=name)
    many = scribe.task("crowded", "runtimes")
    many.run("default", "S" * 3, runtime_id="r0")
    for number in range(36):
        many.run("default", "S", runtime_id=f"r{number}")
    many.run("default", "S", runtime_id="r0")


def clocks(scribe: Scribe) -> None:
    """Send timestamps from clocks that differ from the broker's, and a leap second."""
    task = scribe.task("backend-architect", "clocks")
    task.send(timestamp=instant(scribe.clock - 2 * HOUR))
    task.send(timestamp=instant(scribe.clock + HOUR // 2))
    task.send(timestamp="2016-12-31T23:59:60Z")
    back = encode(task.outcome())
    scribe.stray(back, task.key, timestamp=scribe.clock - 5_000)
    strict = scribe.task("eager", "clocks")
    strict.send(timestamp=instant(scribe.clock))
    strict.send(timestamp=instant(scribe.clock - 40_000))


def many_variants(scribe: Scribe) -> None:
    """Reach the variant limit: an idle variant is forgotten; if none is idle, the newcomer is refused."""
    task = scribe.task("crowded", "variants")
    task.run("default", "S" * 30)
    task.explore("v2", "S" * 25 + "F" * 10)
    task.explore("v3", "SSS")
    task.order(m.RegisterVariant, variant_id="v3")
    task.order(m.RegisterVariant, variant_id="v4")
    task.explore("v3", "S")
    task.order(m.RegisterVariant, variant_id="v4")
    task.explore("v5", "SF")
    refused = task.outcome("v5", variant_source="explore")
    scribe.pipe(refused)
    task.order(m.RetireVariant, variant_id="v3")
    scribe.pipe(refused)
    task.order(m.RegisterVariant, variant_id="v6")
    task.order(m.RetireVariant, variant_id="v6")
    task.explore("v7", "S")


def late_scores(scribe: Scribe) -> None:
    """Send scores in the window, before their outcome, too late and twice, and more early ones than can wait."""
    task = scribe.task("backend-architect", "scores")
    known = task.run("default", "SSSSSSSFFF", quality=0.6)
    task.score(known[0], reward=-1.0)
    task.score(known[1], quality=0.1)
    task.score(known[1], "fb-twice", quality=0.9)
    task.score(known[1], "fb-twice", quality=0.9)
    task.score(known[0], quality=0.4)
    task.score(known[2], quality=0.6)
    _before_the_outcome(task)
    task.run("default", "S" * 24)
    task.score(known[3], reward=0.5)
    _one_that_degrades(scribe, "backend-architect")
    _one_that_degrades(scribe, "guarded")


def _before_the_outcome(task: Task) -> None:
    for number in range(2):
        task.score("inv-early", quality=0.2 + number / 2, source="a person")
    task.send(invocation_id="inv-early")
    for number in range(4):
        task.score(f"inv-never-{number}", reward=0.1)
    task.send(invocation_id="inv-never-3", status="failure")


def _one_that_degrades(scribe: Scribe, agent: str) -> None:
    """Let late scores, not outcomes, show that the active variant is bad; then better outcomes follow."""
    task = scribe.task(agent, "judged-late")
    task.run("default", "S" * 50)
    task.explore("v2", "S" * 8, reward=0.2)
    known = task.run("default", "S" * 20)
    for one in known[6:]:
        task.score(one, reward=-0.9)
    task.run("default", "SS")
    task.run("v2", "S" * 4)


def by_chance(scribe: Scribe, tasks: list[Task], count: int) -> None:
    """Send random messages of every kind that a runtime may send."""
    pick, variants = scribe.pick, ("default", "default", "v2", "v2", "v3", "v4")
    known = ["inv-1"]
    for _ in range(count):
        task = pick(*tasks)
        if pick(0, 0, 0, 0, 0, 1):
            task.score(pick(*known[-40:]), reward=pick(None, -1.0, 0.9), quality=pick(0.1, 0.8))
            continue
        fields: dict[str, Any] = {
            "reward": pick(None, None, 1.0, -0.2, 0.1),
            "quality": pick(None, 0.97, 0.4),
            "duration_seconds": pick(None, 20.0, 500.0),
            "complexity": pick(None, "low", "high"),
            "error_count": pick(0, 0, 0, 2),
            "active_epoch": pick(None, 0, 1, 3, task.epoch),
            "runtime_id": pick(None, "r1", "r2", "r3", "r4"),
            "variant_source": pick(None, None, "explore"),
            "role": pick(None, None, None, "shadow"),
        }
        known.append(task.send(pick(*variants), pick("success", "success", "success", "failure", "error"), **fields))
