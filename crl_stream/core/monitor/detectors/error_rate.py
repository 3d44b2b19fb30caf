"""Error rate: outcomes with an error rose by more than the guide's 20 %, relative to the baseline."""

from __future__ import annotations

from crl_stream.core.monitor import detectors
from crl_stream.core.monitor.row import MICRO, Sums
from crl_stream.core.policy import Degradation

NAME = "error_rate"
ORDER = 3


def limit(degradation: Degradation) -> int:
    """The largest increase that is still healthy, in millionths."""
    return round(degradation.error_increase * MICRO)


def exceeds(baseline: Sums, recent: Sums, limit: int) -> bool | None:
    """In whole numbers; None at a baseline without errors, which nothing can be relative to."""
    before = baseline.errors * recent.n
    return (recent.errors * baseline.n - before) * MICRO > limit * before if before else None


def detect(baseline: Sums, recent: Sums, limit: int) -> detectors.Finding | None:
    """How far the rate rose; None at a baseline without errors."""
    before = baseline.errors * recent.n
    if before == 0:
        return None
    change = (recent.errors * baseline.n - before) / before
    return detectors.Finding(change, change * MICRO / limit if limit else change)


def describe(baseline: Sums, recent: Sums, change: float) -> str:
    """A sentence in the guide's form."""
    return (
        f"Error rate increased from {baseline.errors / baseline.n:.0%} "
        f"to {recent.errors / recent.n:.0%} ({change:.1%} increase)"
    )


def measure(baseline: Sums, recent: Sums, change: float | None) -> dict[str, float]:
    """The figures for ``degradation_metrics``."""
    figures = {
        "baseline_error_rate": baseline.errors / baseline.n,
        "recent_error_rate": recent.errors / recent.n,
    }
    return figures if change is None else figures | {"error_increase_pct": change}
