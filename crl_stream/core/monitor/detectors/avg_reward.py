"""Average reward: it fell by more than the guide's 15 %, relative to the baseline."""

from __future__ import annotations

from crl_stream.core.monitor import detectors
from crl_stream.core.monitor.row import MICRO, Sums
from crl_stream.core.policy import Degradation

NAME = "avg_reward"
ORDER = 2


def limit(degradation: Degradation) -> int:
    """The largest drop that is still healthy, in millionths."""
    return round(degradation.reward_drop * MICRO)


def exceeds(baseline: Sums, recent: Sums, limit: int) -> bool | None:
    """In whole numbers; None at a baseline that is zero or negative, where a share means nothing."""
    before = baseline.reward * recent.n
    return (before - recent.reward * baseline.n) * MICRO > limit * before if before > 0 else None


def detect(baseline: Sums, recent: Sums, limit: int) -> detectors.Finding | None:
    """How far the mean fell; None at a baseline that is zero or negative."""
    before = baseline.reward * recent.n
    if before <= 0:
        return None
    change = (before - recent.reward * baseline.n) / before
    return detectors.Finding(change, change * MICRO / limit if limit else change)


def describe(baseline: Sums, recent: Sums, change: float) -> str:
    """A sentence in the guide's form."""
    return (
        f"Average reward dropped from {baseline.reward / MICRO / baseline.n:.2f} "
        f"to {recent.reward / MICRO / recent.n:.2f} ({change:.1%} drop)"
    )


def measure(baseline: Sums, recent: Sums, change: float | None) -> dict[str, float]:
    """The figures for ``degradation_metrics``."""
    figures = {
        "baseline_avg_reward": baseline.reward / MICRO / baseline.n,
        "recent_avg_reward": recent.reward / MICRO / recent.n,
    }
    return figures if change is None else figures | {"reward_drop_pct": change}
