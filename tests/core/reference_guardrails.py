"""A naive model of guardrail metrics: every value is kept, and all means and statistics are computed from the lists.

It shares no code with the engine.  Its numbers are those of ADR 64.  Values are whole 64ths, which floats hold exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import sqrt
from typing import Any, Literal

from .reference_model import added

UNIT = 64
NEWCOMER, OWN = 20, 40
"""Values that a baseline needs: one that the replaced variant leaves, and a variant's own past.

A past that has been halved is always enough.
"""
FADING, BET, STEADY, MOST = 0.999, 0.9, Fraction(1, 20), 1e30
CLAIMS = (1, 2, 4)
NEAR = 1e-9


@dataclass(frozen=True)
class Rail:
    """What the policy says about one metric."""

    name: str
    action: Literal["alert", "rollback", "off"]
    worse: Literal[1, -1]
    """1 if higher is worse, -1 if lower is worse."""
    limit: Fraction
    floor: Fraction

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.worse

    def value(self, invocation: Any) -> Fraction | None:
        """Return the outcome's value, mapped so that higher is worse."""
        if self.name == "tokens":
            told = [n for n in (invocation.tokens_input, invocation.tokens_output) if n is not None]
            found = float(sum(told)) if told else None
        elif self.name in ("cost", "duration"):
            found = invocation.cost if self.name == "cost" else invocation.duration_seconds
        else:
            found = (invocation.metrics or {}).get(self.name)
        return None if found is None else self.worse * Fraction(found)


@dataclass
class Level:
    """Mean and variance over ``n`` values."""

    n: int
    mean: Fraction
    variance: Fraction = Fraction(0)


@dataclass
class Worse:
    """How much worse the window is than the baseline."""

    before: Level
    now: Level
    replaced: bool
    """Whether the baseline is what the replaced variant delivered."""

    @property
    def relative(self) -> float:
        rise = self.now.mean - self.before.mean
        return float(rise / abs(self.before.mean) if self.before.mean else rise)


def level_of(values: list[Fraction]) -> Level | None:
    return Level(len(values), added(values, UNIT) / len(values)) if values else None


@dataclass
class Meter:
    """One metric of one variant."""

    memory: int
    """All weights of the past are halved whenever they add up to this even number."""
    window: list[Fraction] = field(default_factory=list)
    left: list[Fraction] = field(default_factory=list)
    """The values that have left the window while no alert was open."""
    lowest: Fraction = Fraction(0)
    """The lowest value so far; 0 if that is lower."""
    replaced: Level | None = None
    """What the replaced variant delivered."""
    bets: list[tuple[float, float, float]] = field(default_factory=list)
    """By which each value multiplied each statistic, since judging began."""
    start: float = 0.0
    seen: int = 0
    is_open: bool = False
    since: int = 0
    """Values since the alert was opened."""
    ambiguous: bool = False
    _past: tuple[int, Level | None] = (0, None)
    """The past's number of values, and its level: it is computed again when their number has changed."""

    # -- levels ------------------------------------------------------------------------------------
    def past(self) -> Level | None:
        """Return the fading level of the values that have left the window."""
        if self._past[0] != len(self.left):
            weights, halvings = 0, list[int]()
            times = 0
            for _ in self.left:
                halvings.append(times)
                weights += 1
                if weights >= self.memory and weights % 2 == 0:
                    weights, times = weights // 2, times + 1
            parts = [(int(value * UNIT), at) for value, at in zip(self.left, halvings, strict=True)]
            total = Fraction(sum(part << at for part, at in parts), UNIT << times)
            squares = Fraction(sum(part * part << at for part, at in parts), UNIT * UNIT << times)
            mean = total / weights
            self._past = len(self.left), Level(weights, mean, squares / weights - mean * mean)
        return self._past[1] if self.left else None

    def baseline(self) -> Level | None:
        """Return what values are compared with.

        A newcomer is compared with the replaced variant until it has half of the memory, or as long as an alert is
        open; any other variant with its own past.
        """
        if self.replaced is not None and (self.is_open or 2 * self.seen < self.memory):
            return self.replaced
        past = self.past()
        return past if past is not None and past.n >= min(OWN, self.memory // 2) else None

    def all(self) -> Level | None:
        """Return what the variant delivers, over its past and its window."""
        past, now = self.past(), level_of(self.window)
        if past is None or now is None:
            return past or now
        return Level(past.n + now.n, (past.n * past.mean + now.n * now.mean) / (past.n + now.n))

    def left_behind(self) -> Level | None:
        """Return what a successor is compared with: this variant's own level, unless an alert says it is too high."""
        past = self.past()
        own = past if past is not None and past.n >= NEWCOMER else self.replaced
        found = self.baseline() if self.is_open else own
        return found if found is not None and found.n >= NEWCOMER else None

    # -- what happens ------------------------------------------------------------------------------
    def take(self, value: Fraction, rail: Rail, size: int) -> None:
        before = self.baseline()
        self.lowest = min(self.lowest, value)
        if before is not None:
            self.bets.append(self._bets(value, before, rail))
        if len(self.window) >= size:
            self._leave(len(self.window) - size + 1)
        self.window.append(value)
        self.seen, self.since = self.seen + 1, self.since + 1

    def _bets(self, value: Fraction, before: Level, rail: Rail) -> tuple[float, float, float]:
        variance = max(before.variance, (STEADY * before.mean) ** 2)
        mean = float(before.mean) + sqrt(variance / before.n)
        found = []
        for claim in CLAIMS:
            shift = max(claim * float(rail.limit) * abs(mean), float(rail.floor))
            bet = shift / (float(variance) + shift**2) if shift else MOST
            most = BET / (mean - float(self.lowest)) if mean > self.lowest else MOST
            found.append(max(0.0, FADING + min(bet, most) * (float(value) - mean)))
        return found[0], found[1], found[2]

    def e_value(self) -> float:
        """Return the mean of the three statistics, each ``R = (R + 1) L`` from the start on."""
        found = []
        for number in range(3):
            statistic = self.start
            for bets in self.bets:
                statistic = min((statistic + 1) * bets[number], MOST)
            found.append(statistic)
        return sum(found) / 3

    def is_proven(self, threshold: float) -> bool:
        found = self.e_value()
        self.ambiguous |= abs(found - threshold) < 1e-6 * threshold
        return found >= threshold

    def worse(self, rail: Rail, fewest: int) -> Worse | None:
        """Return how much worse the window is, if it is beyond the limit also without its highest value."""
        before = self.baseline()
        if before is None or len(self.window) < fewest:
            return None
        allowed = max(rail.limit * abs(before.mean), rail.floor)
        spared = list(self.window)
        spared.remove(max(spared))
        now = level_of(self.window)
        others = level_of(spared)
        assert now is not None and others is not None
        for mean in (now.mean, others.mean):
            margin = abs(mean - before.mean - allowed)
            self.ambiguous |= margin < NEAR * max(1, abs(mean)) and (margin > 0 or before.variance > 0)
        if min(now.mean, others.mean) - before.mean <= allowed:
            return None
        return Worse(before, now, before is self.replaced)

    def alarm(self) -> None:
        """Open the alert; only new evidence counts from here on."""
        self.is_open, self.since, self.bets, self.start = True, 0, [], 0.0

    def calm(self) -> None:
        """End the alert."""
        self.is_open, self.bets, self.start = False, [], 0.0

    def begin(self, replaced: Level | None = None, start: float = 0.0) -> None:
        """Judge only new values, against those of the replaced variant if there are any."""
        self._leave(len(self.window))
        self.is_open, self.seen, self.replaced, self.bets, self.start = False, 0, replaced, [], start
        if replaced is not None:
            self.lowest = min(self.lowest, replaced.mean)

    def accept(self) -> None:
        """Begin a new baseline with the next value."""
        self.window, self.left, self.replaced, self.seen = [], [], None, 0
        self.is_open, self.bets, self.start, self._past = False, [], 0.0, (0, None)

    def _leave(self, count: int) -> None:
        if not self.is_open:
            self.left += self.window[:count]
        del self.window[:count]
