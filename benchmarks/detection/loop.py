"""One task in closed loop: the engine's decisions determine which variant produces the next outcome."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, NamedTuple

from benchmarks.detection.worlds import Source, World
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Policy

NOON = 1_767_607_200_000
"""Append time of the first outcome, in milliseconds."""
EXPLORATION = 0.1
"""Share of the outcomes that try a variant other than the active one."""
_FIXED: dict[str, Any] = {
    "schema_version": 1,
    "timestamp": "2026-01-05T10:00:00Z",
    "agent_name": "agent",
    "task_type": "task",
}


class Change(NamedTuple):
    """The active variant was replaced."""

    at: int
    """Number of outcomes before it."""
    cause: str
    left: str
    chosen: str
    left_p: float
    chosen_p: float


class Result(NamedTuple):
    """What one task gained and lost."""

    outcomes: int
    live: int
    """Outcomes that were not exploration; the sums below are over these."""
    got: float
    """Sum of the true values of the variants that were used."""
    never: float
    """The same if the active variant were never replaced, except by an operator."""
    oracle: float
    """The same if the best variant were always used."""
    changes: tuple[Change, ...]
    alerts: Counter[str]
    alarms: tuple[int, ...]
    """When the active variant was found degraded: numbers of outcomes."""
    last: str
    """The variant that is active at the end."""


class Loop:
    """The state of one task."""

    def __init__(self, world: World, policy: Policy, seed: str) -> None:
        self.world, self.policy = world, policy
        self._choices, self._luck = Random(f"choices {seed}"), Random(f"luck {seed}")
        self._sources: dict[str, Source] = {}
        self._phase = -1
        self.row, self._offset = new_row(TaskKey("agent", "task")), 0
        self.operator = world.first
        """The variant that people chose last."""
        self.changes: list[Change] = []
        self.alerts: Counter[str] = Counter()
        self.alarms: list[int] = []

    def run(self) -> Result:
        """Draw and fold every outcome of the world."""
        world, live, got, never, oracle = self.world, 0, 0.0, 0.0, 0.0
        for number in range(world.outcomes):
            self._enter(world.at(number))
            if number == world.changes_at and world.activates is not None:
                self._activate(world.activates)
            active = self.row.active or world.first
            name, source = self._choose(active)
            if source == "live":
                live, got, never = live + 1, got + self._sources[active].p, never + self._sources[self.operator].p
                oracle += max(found.p for found in self._sources.values())
            self._fold(
                number,
                m.Invocation(
                    invocation_id=f"i{number}",
                    variant_id=name,
                    active_epoch=self.row.epoch or None,
                    variant_source=source,
                    **_FIXED,
                    **self._sources[name].draw(self._luck, number),
                ),
            )
        last = self.row.active or world.first
        return Result(
            world.outcomes, live, got, never, oracle, tuple(self.changes), self.alerts, tuple(self.alarms), last
        )

    def _enter(self, phase: int) -> None:
        if phase != self._phase:
            self._phase = phase
            self._sources = {name: make() for name, make in self.world.phases[phase][1].items()}

    def _choose(self, active: str) -> tuple[str, Any]:
        known = self.row.variants
        others = [n for n in self._sources if n != active and not (n in known and known[n].quarantined)]
        if self._choices.random() < EXPLORATION and others:
            return self._choices.choice(others), "explore"
        return active, "live"

    def _activate(self, name: str) -> None:
        self.operator = name
        command = m.ActivateVariant(command_id="new", actor="ada", reason="it is new", variant_id=name, **_FIXED)
        self._fold(self.world.changes_at or 0, command)

    def _fold(self, number: int, message: Any) -> None:
        at = Context(0, self._offset, NOON + self._offset * 1_000, 0, "0" * 16)
        self._offset += 1
        for fact in step(self.row, message, at, self.policy).facts:
            if isinstance(fact, m.Activation) and fact.from_variant is not None:
                left, chosen = self._sources[fact.from_variant].p, self._sources[fact.to_variant].p
                self.changes.append(Change(number, fact.cause, fact.from_variant, fact.to_variant, left, chosen))
            elif isinstance(fact, m.DegradationAlert) and fact.active and fact.state == "degraded":
                self.alarms.append(number)
            elif isinstance(fact, m.Alert) and not fact.resolved:
                self.alerts[fact.kind] += 1
