"""The sources: how the outcomes of one variant are drawn.  Each has a true value that contestants cannot see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log, pi, sin, sqrt
from random import Random
from typing import Any, Protocol


class Source(Protocol):
    """Draws the outcomes of one variant in one task."""

    p: float
    """The true value: the long-run share of good outcomes."""

    def draw(self, random: Random, now: int) -> dict[str, Any]:
        """Return the fields of the next outcome; ``now`` is the number of outcomes of the task so far."""


Make = Callable[[], Source]
"""Creates the source for one task; a source may remember what it has drawn."""


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


def short_runs(p: float) -> Source:
    """Return a source with a correlation of 0.1 instead of 0.3."""
    return Runs(p, 0.1)


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
    """Always succeeds, with a reward between -1 and 1 around ``2 p - 1``."""

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


class Judged:
    """Always succeeds; only the judge's quality, around ``p``, distinguishes good outcomes from bad ones."""

    def __init__(self, p: float, spread: float = 0.1) -> None:
        self.p, self._spread = p, spread

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw a quality from 0 to 1."""
        return {"status": "success", "quality": max(0.0, min(1.0, random.gauss(self.p, self._spread)))}


class Priced:
    """Always succeeds, at a cost that is lognormal around ``price``, with a standard deviation of ``spread`` means."""

    p = 1.0

    def __init__(self, price: float, spread: float) -> None:
        self._price, self._sigma = price, sqrt(log(1.0 + spread * spread))

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw a cost."""
        cost = self._price * exp(random.gauss(-self._sigma * self._sigma / 2.0, self._sigma))
        return {"status": "success", "cost": cost}


def constant(p: float) -> Source:
    """Return a source whose judge gives nearly the same quality every time."""
    return Judged(p, 0.004)


class Recorded:
    """Draws from real outcomes."""

    FIELDS = ("status", "quality", "error_count", "duration_seconds", "reward")

    def __init__(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        self._outcomes = [{k: o[k] for k in self.FIELDS if o.get(k) is not None} for o in outcomes]
        self.p = sum(o["status"] == "success" for o in outcomes) / len(outcomes)

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Draw one of the recorded outcomes, with replacement."""
        return random.choice(self._outcomes)


class Replayed(Recorded):
    """Replays real outcomes in order, from a random one on and round again, so that runs of failures are kept."""

    _next: int | None = None

    def draw(self, random: Random, now: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the next recorded outcome, in order."""
        at = random.randrange(len(self._outcomes)) if self._next is None else self._next
        self._next = (at + 1) % len(self._outcomes)
        return self._outcomes[at]


def of(kind: Callable[[float], Source], *rates: float) -> dict[str, Make]:
    """Return variants a, b, c ... with these rates."""
    return {name: (lambda p=p: kind(p)) for name, p in zip("abcdefgh", rates, strict=False)}
