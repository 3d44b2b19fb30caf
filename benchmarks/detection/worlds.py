"""The worlds: how good each variant of a task really is, and when that changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import pi, sin
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol


class Source(Protocol):
    """Draws the outcomes of one variant in one task."""

    p: float
    """The true value: the long-run share of good outcomes."""

    def draw(self, random: Random, now: int) -> dict[str, Any]:
        """Return the fields of the next outcome; ``now`` is the number of outcomes of the task so far."""


class Rate:
    """Succeeds with probability ``p``, independently of what came before."""

    def __init__(self, p: float) -> None:
        self.p = p

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002 - always the same rate
        """Draw a success or a failure."""
        return {"status": "success" if random.random() < self.p else "failure"}


class Runs:
    """Like ``Rate``, but with runs: an outcome and the next one have this ``correlation``."""

    def __init__(self, p: float, correlation: float = 0.3) -> None:
        self.p = p
        self._last, self._correlation = p, correlation

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw an outcome that resembles the last one."""
        good = random.random() < self.p + self._correlation * (self._last - self.p)
        self._last = float(good)
        return {"status": "success" if good else "failure"}


class Days:
    """Like ``Rate``, but the rate swings by ``SWING`` around ``p``, with a period of ``DAY`` outcomes."""

    SWING, DAY = 0.05, 200

    def __init__(self, p: float) -> None:
        self.p = p

    def draw(self, random: Random, now: int) -> dict[str, Any]:
        """Draw an outcome at the present rate."""
        rate = self.p + self.SWING * sin(2 * pi * now / self.DAY)
        return {"status": "success" if random.random() < rate else "failure"}


class Rewards:
    """Always succeeds, with a reward around ``2 p - 1``."""

    SPREAD = 0.35

    def __init__(self, p: float) -> None:
        self.p = p

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw a reward from -1 to 1."""
        return {"status": "success", "reward": max(-1.0, min(1.0, random.gauss(2 * self.p - 1, self.SPREAD)))}


class Errors:
    """Always succeeds, but a share of ``1 - p`` of the outcomes has an error."""

    def __init__(self, p: float) -> None:
        self.p = p

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw whether there is an error."""
        return {"status": "success", "error_count": int(random.random() >= self.p)}


class Recorded:
    """Draws from real outcomes."""

    FIELDS = ("status", "quality", "error_count", "duration_seconds", "reward")

    def __init__(self, outcomes: list[dict[str, Any]]) -> None:
        self._outcomes = [{k: o[k] for k in self.FIELDS if o.get(k) is not None} for o in outcomes]
        self.p = sum(o["status"] == "success" for o in outcomes) / len(outcomes)

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw one of the recorded outcomes, with replacement."""
        return random.choice(self._outcomes)


Make = Callable[[], Source]
"""Makes the source of one task; a source may remember what it drew."""


class World(NamedTuple):
    """A task's truth over time."""

    name: str
    kind: str
    """``healthy``, ``collapse``, ``only_worse``, ``newcomer`` or ``outage``; ``alone`` for a single variant."""
    phases: tuple[tuple[int, Mapping[str, Make]], ...]
    """From which outcome on each variant has which source."""
    outcomes: int
    changes_at: int | None = None
    """When the active variant becomes worse; None if it does not."""
    activates: str | None = None
    """The variant that an operator activates at ``changes_at``; None in most worlds."""

    @property
    def first(self) -> str:
        """The variant that is active at the beginning."""
        return next(iter(self.phases[0][1]))

    def at(self, number: int) -> int:
        """Return the index of the phase that outcome ``number`` belongs to."""
        return max(index for index, (begin, _) in enumerate(self.phases) if begin <= number)


def of(kind: Callable[[float], Source], *rates: float) -> dict[str, Make]:
    """Return variants a, b, c ... with these rates."""
    return {name: (lambda p=p: kind(p)) for name, p in zip("abcdefgh", rates, strict=False)}


def _healthy(kind: Callable[[float], Source], *rates: float, note: str = "") -> World:
    name = "/".join(f"{p:.2f}"[1:] for p in rates)
    return World(f"{name}{note}", "healthy", ((0, of(kind, *rates)),), 1_000)


def _collapse(before: float, after: float, other: float) -> World:
    kind = "collapse" if other > after else "only_worse"
    phases = ((0, of(Rate, before, other)), (300, of(Rate, after, other)))
    return World(f"{before:.2f}>{after:.2f}, other {other:.2f}", kind, phases, 700, 300)


def _newcomer(old: float, new: float) -> World:
    tried = min(0.97, max(new, old))
    phases = ((0, of(Rate, old, tried)), (312, of(Rate, old, new)))
    return World(f"{new:.2f} replaces {old:.2f}", "newcomer", phases, 612, 312, "b")


def _outage(*rates: float) -> World:
    phases = ((0, of(Rate, *rates)), (300, of(Rate, *[0.05] * len(rates))), (350, of(Rate, *rates)))
    return World("outage " + "/".join(f"{p:.2f}"[1:] for p in rates), "outage", phases, 1_000, 300)


def _alone(kind: Callable[[float], Source], p: float, note: str = "") -> World:
    return World(f"{p:.2f} alone{note}", "alone", ((0, of(kind, p)),), 4_000)


def _falls(before: float, after: float) -> World:
    return World(f"{before:.2f}>{after:.2f} alone", "alone", ((0, of(Rate, before)), (300, of(Rate, after))), 700, 300)


def _short_runs(p: float) -> Source:
    return Runs(p, 0.1)


WORLDS: tuple[World, ...] = (
    _healthy(Rate, 0.92, 0.92),
    _healthy(Rate, 0.92, 0.80),
    _healthy(Rate, 0.92, 0.50),
    _healthy(Rate, 0.97, 0.20),
    _healthy(Rate, 0.70, 0.65),
    _healthy(Rate, 0.92, 0.85, 0.50),
    _healthy(Rate, 0.30, 0.25),
    _healthy(Rewards, 0.85, 0.65, note=" rewards"),
    _healthy(Errors, 0.96, 0.80, note=" errors"),
    _healthy(Runs, 0.92, 0.80, note=" runs"),
    _healthy(Days, 0.90, 0.80, note=" days"),
    _healthy(Rate, 0.90, 0.88, 0.85, 0.80, 0.70, 0.60, 0.50, 0.40),
    _collapse(0.92, 0.50, 0.88),
    _collapse(0.90, 0.60, 0.85),
    _collapse(0.90, 0.75, 0.88),
    _collapse(0.97, 0.90, 0.95),
    _collapse(0.60, 0.20, 0.50),
    _collapse(0.92, 0.50, 0.30),
    _collapse(0.90, 0.60, 0.40),
    _collapse(0.90, 0.75, 0.50),
    _collapse(0.97, 0.90, 0.50),
    _newcomer(0.90, 0.60),
    _newcomer(0.90, 0.75),
    _newcomer(0.90, 0.90),
    _outage(0.92, 0.85, 0.80),
    _outage(0.92, 0.90),
    _alone(Rate, 0.70),
    _alone(Rate, 0.90),
    _alone(Rate, 0.95),
    _alone(Rate, 0.99),
    _alone(_short_runs, 0.90, " runs"),
    _falls(0.90, 0.60),
    _falls(0.90, 0.75),
)


def recorded(path: Path, least: int = 18, most: int = 4) -> list[World]:
    """Return a healthy world for each task of a JSONL file of outcomes; its best variant is active first.

    Only variants with ``least`` outcomes count, the best ``most`` of them.  A task needs two of them.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in path.read_text(encoding="utf-8").splitlines():
        outcome = json.loads(line)
        found[outcome["task_type"]][outcome["variant_id"]].append(outcome)
    worlds = []
    for task in sorted(found):
        sources = {name: Recorded(runs) for name, runs in found[task].items() if len(runs) >= least}
        best = sorted(sources, key=lambda name: (-sources[name].p, name))[:most]
        if len(best) >= 2:
            variants: dict[str, Make] = {name: (lambda source=sources[name]: source) for name in best}
            worlds.append(World(f"real {task}", "healthy", ((0, variants),), 1_000))
    return worlds


for _world in WORLDS:
    assert all(one[0] < other[0] for one, other in pairwise(_world.phases))
