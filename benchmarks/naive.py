"""A monitor that you might write in an afternoon: a deque and dictionaries, recomputed for each outcome.

The yardstick for the fold: the same three detectors and Q, but no guarantees (exact amendments, stable bytes, duplicate
detection, evidence, facts).
"""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import fmean
from typing import Any


class NaiveMonitor:
    """Windows of 20 outcomes in memory."""

    def __init__(self) -> None:
        self.windows: dict[Any, deque[Any]] = defaultdict(lambda: deque(maxlen=20))
        self.history: dict[Any, list[Any]] = defaultdict(list)
        self.q: dict[Any, float] = defaultdict(float)

    def step(self, message: Any) -> bool:
        """Process an outcome; return whether its variant is degraded."""
        key = (message.agent_name, message.task_type, message.variant_id)
        reward = 1.0 if message.status == "success" else -1.0
        entry = {"success": message.status == "success", "reward": reward, "error": message.error_count > 0}
        window, history = self.windows[key], self.history[key]
        window.append(entry)
        history.append(entry)
        self.q[key] += 0.1 * (reward - self.q[key])
        if len(history) < 20:
            return False
        # Keep only the last 1,000; otherwise the cost would grow with every outcome.
        baseline = history[-1_000:]
        worse = []
        for name, limit, sign in (("success", 0.10, 1), ("reward", 0.15, 1), ("error", 0.20, -1)):
            before, after = fmean(e[name] for e in baseline), fmean(e[name] for e in window)
            worse.append(before > 0 and sign * (before - after) / before > limit)
        return any(worse)
