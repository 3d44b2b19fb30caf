"""One task in closed loop: a contestant's decisions determine which variant produces the next outcome."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from msgspec.structs import replace

from benchmarks.detection.engine import FIXED, Alarmed, Decider, Switched
from benchmarks.detection.sources import Source
from benchmarks.detection.worlds import World
from crl_stream.core import messages as m

EXPLORATION = 0.1
"""Share of the outcomes that try a variant other than the active one."""
UNSCORED = 0.2
"""Share of the outcomes that never get a quality, in worlds where qualities arrive late."""


class Change(NamedTuple):
    """The active variant was replaced."""

    at: int
    """Number of outcomes before the change."""
    cause: str
    left: str
    chosen: str
    left_p: float
    chosen_p: float


class Result(NamedTuple):
    """What one task gained and lost."""

    outcomes: int
    live: int
    """Number of outcomes that were not exploration; the sums below are over these outcomes."""
    got: float
    """Sum of the true values of the variants that were used."""
    never: float
    """Sum of the true values if the active variant were never replaced, except by an operator."""
    oracle: float
    """Sum of the true values if the best variant were always used."""
    changes: tuple[Change, ...]
    alerts: Counter[str]
    alarms: tuple[int, ...]
    """The numbers of the outcomes at which the active variant was found degraded."""
    last: str
    """The variant that is active at the end."""


class Loop:
    """The state of one task."""

    def __init__(self, world: World, decider: Decider, seed: str) -> None:
        self.world, self.decider = world, decider
        self._choices, self._luck = Random(f"choices {seed}"), Random(f"luck {seed}")
        self._lateness = Random(f"lateness {seed}")
        self._sources: dict[str, Source] = {}
        self._begins = {begin: phase for phase, (begin, _) in enumerate(world.phases)}
        self._due: list[tuple[int, int, Any]] = []
        """Messages that have not arrived yet: when each is due, its sequence number, and the message itself."""
        self._sent = 0
        self.operator = world.first
        """The variant that an operator chose last."""
        self.changes: list[Change] = []
        self.alerts: Counter[str] = Counter()
        self.alarms: list[int] = []

    def run(self) -> Result:
        """Draw and fold every outcome of the world."""
        world, decider, live, got, never, oracle = self.world, self.decider, 0, 0.0, 0.0, 0.0
        for number in range(world.outcomes):
            if number in self._begins:
                self._enter(self._begins[number])
            if number == world.changes_at and world.activates is not None:
                self._activate(number, world.activates)
            active = decider.active or world.first
            name, source, counts = self._choose(active)
            if counts:
                live, got, never = live + 1, got + self._sources[name].p, never + self._sources[self.operator].p
                oracle += max(found.p for found in self._sources.values())
            outcome = m.Invocation(
                invocation_id=f"i{number}",
                variant_id=name,
                active_epoch=decider.epoch or None,
                variant_source=source,
                provider=world.providers.get(name),
                **FIXED,
                **self._sources[name].draw(self._luck, number),
            )
            self._send(number, outcome)
            while self._due and self._due[0][0] <= number:
                self._take(number, heappop(self._due)[2])
        last = decider.active or world.first
        return Result(
            world.outcomes, live, got, never, oracle, tuple(self.changes), self.alerts, tuple(self.alarms), last
        )

    def _enter(self, phase: int) -> None:
        self._sources = {name: make() for name, make in self.world.phases[phase][1].items()}

    def _choose(self, active: str) -> tuple[str, Any, bool]:
        """Return the next variant, whether it is explored, and whether its outcome counts (all do in a rollout)."""
        weights = self.decider.weights()
        if weights is not None:
            name = self._choices.choices(list(weights), list(weights.values()))[0]
            return name, "live" if name == active else "explore", True
        others = [name for name in self._sources if name != active and not self.decider.excludes(name)]
        if self._choices.random() < EXPLORATION and others:
            return self._choices.choice(others), "explore", False
        return active, "live", True

    def _activate(self, number: int, name: str) -> None:
        self.operator = name
        kind = m.StartRollout if self.world.staged and self.decider.stages else m.ActivateVariant
        self._take(number, kind(command_id="new", actor="ada", reason="it is new", variant_id=name, **FIXED))

    def _send(self, number: int, outcome: m.Invocation) -> None:
        """Report an outcome at once, or with the delay that the world defines."""
        world, due = self.world, number
        if world.late_results > 1:
            due += self._lateness.randrange(world.late_results)
        if not world.late_scores or outcome.quality is None:
            self._post(due, outcome)
            return
        scored_at = due + 1 + self._lateness.randrange(world.late_scores)
        is_scored = self._lateness.random() >= UNSCORED
        unscored = replace(outcome, quality=None)
        if not self.decider.amends:
            # A contestant that cannot amend an outcome gets it only when its score has arrived or can no longer arrive.
            self._post(*((scored_at, outcome) if is_scored else (due + world.late_scores, unscored)))
            return
        self._post(due, unscored)
        if is_scored:
            self._post(scored_at, _score_of(outcome))

    def _post(self, due: int, message: Any) -> None:
        heappush(self._due, (due, self._sent, message))
        self._sent += 1

    def _take(self, number: int, message: Any) -> None:
        for event in self.decider.take(message):
            if isinstance(event, Switched):
                left, chosen = self._sources[event.left].p, self._sources[event.chosen].p
                self.changes.append(Change(number, event.cause, event.left, event.chosen, left, chosen))
            elif isinstance(event, Alarmed):
                self.alarms.append(number)
            else:
                self.alerts[event.kind] += 1


def _score_of(outcome: m.Invocation) -> m.Feedback:
    number = outcome.invocation_id
    return m.Feedback(feedback_id=f"f{number}", invocation_id=number, quality=outcome.quality, **FIXED)
