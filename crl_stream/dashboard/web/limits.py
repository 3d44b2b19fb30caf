"""Limits how often somebody may try something."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_REMEMBERED: Final = 1_000


class RateLimit:
    """Allows ``burst`` attempts at once for each name, and one more every ``seconds``."""

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has_left(self, name: str) -> bool:
        """Return whether an attempt would be allowed, without counting one."""
        return self._left_now(name, self._clock()) >= 1.0

    def _left_now(self, name: str, now: float) -> float:
        left, then = self._left.get(name, (float(self._burst), now))
        return min(float(self._burst), left + (now - then) / self._seconds)

    def allows(self, name: str) -> bool:
        """Count an attempt; return whether it is allowed."""
        now = self._clock()
        left = self._left_now(name, now)
        self._left.pop(name, None)
        allowed = left >= 1.0
        self._left[name] = (left - 1.0 if allowed else left, now)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return allowed
