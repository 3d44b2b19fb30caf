"""The worlds: how good each variant of a task really is, and when that changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.detection.sources import (
    Days,
    Errors,
    Judged,
    Make,
    Priced,
    Rate,
    Recorded,
    Replayed,
    Rewards,
    Runs,
    Source,
    constant,
    of,
    short_runs,
)

TAU_BENCH = Path(__file__).with_name("outcomes") / "tau_bench_airline.jsonl"
"""Real outcomes of an agent on 50 tasks, four trials each; ``outcomes/README.md`` has source and licence."""
CHANGES_AT = 300
"""Number of the outcome at which a variant becomes worse, in most worlds."""


class World(NamedTuple):
    """A task's truth over time."""

    name: str
    kind: str
    """``healthy``, ``collapse``, ``only_worse``, ``newcomer``, ``rollout`` or ``outage``; ``alone`` for one
    variant, and ``guardrail`` for one whose cost is watched."""
    phases: tuple[tuple[int, Mapping[str, Make]], ...]
    """The first outcome of each phase, and the source of each variant in it."""
    outcomes: int
    changes_at: int | None = None
    """When the active variant becomes worse; None if it does not."""
    activates: str | None = None
    """The variant that an operator activates at ``changes_at``; None in most worlds."""
    staged: bool = False
    """Whether ``activates`` is rolled out in stages; contestants without rollouts activate it at once."""
    late_results: int = 1
    """An invocation is reported up to this many outcomes after its start; 1 means at once."""
    late_scores: int = 0
    """The quality is reported up to this many outcomes after its outcome; 0 means together with the outcome."""

    providers: Mapping[str, str] = {}
    """The provider that the outcomes of each variant name; a variant that is not listed names none."""

    @property
    def first(self) -> str:
        """The variant that is active at the beginning."""
        return next(iter(self.phases[0][1]))

    def at(self, number: int) -> int:
        """Return the index of the phase that outcome ``number`` belongs to."""
        return max(index for index, (begin, _) in enumerate(self.phases) if begin <= number)


Kind = Callable[[float], Source]


def _healthy(kind: Kind, *rates: float, note: str = "", **late: int) -> World:
    name = "/".join(f"{p:.2f}"[1:] for p in rates)
    return World(f"{name}{note}", "healthy", ((0, of(kind, *rates)),), 1_000, **late)


def _collapse(before: float, after: float, *others: float, kind: Kind = Rate, note: str = "", **late: int) -> World:
    label = "collapse" if max(others) > after else "only_worse"
    phases = ((0, of(kind, before, *others)), (CHANGES_AT, of(kind, after, *others)))
    other = "/".join(f"{p:.2f}" if len(others) == 1 else f"{p:.2f}"[1:] for p in others)
    return World(f"{before:.2f}>{after:.2f}, other {other}{note}", label, phases, 700, CHANGES_AT, **late)


def _newcomer(old: float, new: float, note: str = "", **late: int) -> World:
    tried = min(0.97, max(new, old))
    phases = ((0, of(Rate, old, tried)), (312, of(Rate, old, new)))
    return World(f"{new:.2f} replaces {old:.2f}{note}", "newcomer", phases, 612, 312, "b", **late)


def _rollout(old: float, new: float) -> World:
    tried = min(0.97, max(new, old))
    phases = ((0, of(Rate, old, tried)), (312, of(Rate, old, new)))
    return World(f"{new:.2f} rolled out for {old:.2f}", "rollout", phases, 2_012, 312, "b", staged=True)


def _outage(*rates: float, providers: str = "") -> World:
    """Return an outage: all variants fail, or those of provider ``a`` if there is one letter for each variant."""
    before = of(Rate, *rates)
    named = dict(zip(before, providers, strict=True)) if providers else {}
    fallen = [0.05 if named.get(name, "a") == "a" else p for name, p in zip(before, rates, strict=True)]
    phases = ((0, before), (300, of(Rate, *fallen)), (350, before))
    note = f", on {providers}" if providers else ""
    return World(
        "outage " + "/".join(f"{p:.2f}"[1:] for p in rates) + note, "outage", phases, 1_000, 300, providers=named
    )


def _alone(kind: Kind, p: float, note: str = "") -> World:
    return World(f"{p:.2f} alone{note}", "alone", ((0, of(kind, p)),), 3_000)


def _falls(before: float, after: float) -> World:
    phases = ((0, of(Rate, before)), (CHANGES_AT, of(Rate, after)))
    return World(f"{before:.2f}>{after:.2f} alone", "alone", phases, 700, CHANGES_AT)


def _priced(spread: float, factor: float = 1.0) -> World:
    """Return a variant that is alone, and whose cost is multiplied by ``factor``; 1: it stays the same."""
    before = {"a": partial(Priced, 1.0, spread)}
    if factor == 1.0:
        return World(f"cost, spread {spread:g}", "guardrail", ((0, before),), 3_000)
    phases = ((0, before), (CHANGES_AT, {"a": partial(Priced, factor, spread)}))
    return World(f"cost x{factor:g}, spread {spread:g}", "guardrail", phases, 700, CHANGES_AT)


def _tau_bench() -> tuple[World, ...]:
    """Return worlds that draw from real outcomes.

    The four trials of one agent are four variants that are truly equal.  In the collapse, the agent first gets only the
    tasks that are solved at least every other time (75 % succeed), then all tasks (42 %).
    """
    outcomes = [json.loads(line) for line in TAU_BENCH.read_text(encoding="utf-8").splitlines()]
    solved: dict[int, int] = defaultdict(int)
    for outcome in outcomes:
        solved[outcome["task"]] += outcome["status"] == "success"
    usual = [outcome for outcome in outcomes if solved[outcome["task"]] >= 2]
    every, easy = partial(Replayed, outcomes), partial(Replayed, usual)
    equal = dict.fromkeys("abcd", every)
    falls = ((0, {"a": easy, "b": easy}), (CHANGES_AT, {"a": every, "b": easy}))
    return (
        World("tau-bench, four equal", "healthy", ((0, equal),), 1_000),
        World("tau-bench .75>.42", "collapse", falls, 700, CHANGES_AT),
        World("tau-bench .42 alone", "alone", ((0, {"a": every}),), 3_000),
    )


WORLDS: tuple[World, ...] = (
    _healthy(Rate, 0.92, 0.92),
    _healthy(Rate, 0.92, 0.80),
    _healthy(Rate, 0.92, 0.50),
    _healthy(Rate, 0.97, 0.20),
    _healthy(Rate, 0.70, 0.65),
    _healthy(Rate, 0.30, 0.25),
    _healthy(Rate, 0.92, 0.85, 0.50),
    _healthy(Rate, 0.92, 0.90, 0.85, 0.70, 0.50),
    _healthy(Rate, 0.90, 0.88, 0.85, 0.80, 0.70, 0.60, 0.50, 0.40)._replace(name="eight, .90 to .40"),
    _healthy(Rewards, 0.85, 0.65, note=" rewards"),
    _healthy(Rewards, 0.45, 0.30, note=" rewards"),
    _healthy(Errors, 0.96, 0.80, note=" errors"),
    _healthy(constant, 0.95, 0.85, note=" constant"),
    _healthy(short_runs, 0.92, 0.80, note=" runs .1"),
    _healthy(Runs, 0.92, 0.80, note=" runs .3"),
    _healthy(Days, 0.90, 0.80, note=" days"),
    _healthy(Judged, 0.85, 0.70, note=" late scores", late_scores=10),
    _healthy(Rate, 0.92, 0.80, note=" late results", late_results=20),
    _collapse(0.92, 0.50, 0.88),
    _collapse(0.90, 0.60, 0.85),
    _collapse(0.90, 0.75, 0.88),
    _collapse(0.97, 0.90, 0.95),
    _collapse(0.60, 0.20, 0.50),
    _collapse(0.85, 0.50, 0.93),
    _collapse(0.60, 0.00, 0.90, 0.70),
    _collapse(0.90, 0.60, 0.88, 0.80, 0.70)._replace(name="0.90>0.60, four"),
    _collapse(0.90, 0.60, 0.85, kind=Runs)._replace(name="0.90>0.60 runs .3"),
    _collapse(0.85, 0.60, 0.80, kind=Rewards)._replace(name="0.85>0.60 rewards"),
    _collapse(0.45, 0.25, 0.40, kind=Rewards)._replace(name="0.45>0.25 rewards"),
    _collapse(0.95, 0.70, 0.93, kind=constant)._replace(name="0.95>0.70 constant"),
    _collapse(0.85, 0.60, 0.80, kind=Judged, late_scores=10)._replace(name="0.85>0.60 scores 10"),
    _collapse(0.85, 0.60, 0.80, kind=Judged, late_scores=30)._replace(name="0.85>0.60 scores 30"),
    _collapse(0.90, 0.60, 0.85, late_results=20)._replace(name="0.90>0.60 late results"),
    _collapse(0.92, 0.50, 0.30),
    _collapse(0.90, 0.60, 0.40),
    _collapse(0.90, 0.75, 0.50),
    _collapse(0.97, 0.90, 0.50),
    _newcomer(0.90, 0.60),
    _newcomer(0.90, 0.75),
    _newcomer(0.90, 0.90),
    _newcomer(0.90, 0.60, " late", late_results=20),
    _rollout(0.90, 0.60),
    _rollout(0.90, 0.80),
    _rollout(0.90, 0.90),
    _rollout(0.85, 0.95),
    _outage(0.92, 0.85, 0.80),
    _outage(0.92, 0.90),
    _outage(0.92, 0.85, 0.80, providers="aaa"),
    _outage(0.92, 0.90, providers="aa"),
    _outage(0.92, 0.85, 0.80, providers="aab"),
    _alone(Rate, 0.70),
    _alone(Rate, 0.90),
    _alone(Rate, 0.95),
    _alone(Rate, 0.99),
    _alone(short_runs, 0.90, " runs .1"),
    _alone(Runs, 0.90, " runs .3"),
    _falls(0.90, 0.60),
    _falls(0.90, 0.75),
    _falls(0.95, 0.85),
    _falls(0.70, 0.40),
    *(_priced(spread) for spread in (0.5, 1.0, 2.0)),
    *(_priced(spread, factor) for spread in (0.5, 1.0, 2.0) for factor in (2.0, 4.0)),
    *_tau_bench(),
)


def recorded(path: Path, least: int = 18, most: int = 4) -> list[World]:
    """Return a healthy world for each task of a JSONL file of outcomes; its best variant is active first.

    Only variants with at least ``least`` outcomes count, and of these the best ``most``.  A task needs two of them.
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
