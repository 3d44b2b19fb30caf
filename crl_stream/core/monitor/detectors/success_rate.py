"""Success rate: the share of successes fell by more than the guide's 10 %, relative to the baseline."""

from __future__ import annotations

from crl_stream.core.monitor import detectors
from crl_stream.core.monitor.row import MICRO, Sums
from crl_stream.core.policy import Degradation

NAME = "success_rate"
ORDER = 1


def limit(degradation: Degradation) -> int:
    """The largest drop that is still healthy, in millionths."""
    return round(degradation.success_drop * MICRO)


def exceeds(baseline: Sums, recent: Sums, limit: int) -> bool | None:
    """In whole numbers, so that a drop of exactly the limit is healthy; None at a zero baseline."""
    before = baseline.successes * recent.n
    return (before - recent.successes * baseline.n) * MICRO > limit * before if before else None


def detect(baseline: Sums, recent: Sums, limit: int) -> detectors.Finding | None:
    """How far the rate fell; None at a zero baseline."""
    before = baseline.successes * recent.n
    if before == 0:
        return None
    change = (before - recent.successes * baseline.n) / before
    return detectors.Finding(change, change * MICRO / limit if limit else change)


def describe(baseline: Sums, recent: Sums, change: float) -> str:
    """The guide's sentence."""
    return (
        f"Success rate dropped from {baseline.successes / baseline.n:.0%} "
        f"to {recent.successes / recent.n:.0%} ({change:.1%} drop)"
    )


def measure(baseline: Sums, recent: Sums, change: float | None) -> dict[str, float]:
    """The figures of the guide's ``degradation_metrics``."""
    figures = {
        "baseline_success_rate": baseline.successes / baseline.n,
        "recent_success_rate": recent.successes / recent.n,
    }
    return figures if change is None else figures | {"success_drop_pct": change}
