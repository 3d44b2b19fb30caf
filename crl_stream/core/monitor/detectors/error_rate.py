"""Error rate: degraded if the share of outcomes with an error rose by more than the guide's 20 % of the baseline."""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.detector import Case, Limit
from crl_stream.core.monitor.likelihood import SPREAD, Claim, Triple, oftener, share
from crl_stream.core.monitor.row import ERROR, MICRO, SUCCESS, Sums

NAME: Final = "error_rate"
ORDER: Final = 3
LIMIT: Final = Limit("error_increase", "of the baseline's error rate", 0.20, 0.0, 1e9)
SUMS: Final = ("errors",)
CHANGE: Final = "error_increase_pct"
FLOOR: Final = Limit("error_floor", "errors more than the baseline predicts", 0.0, 0.0, 1_000.0)
WHOLE: Final = 1
NOTHING: Final = "no error"


def worsening(baseline: Sums, recent: Sums) -> tuple[int, int]:
    """Return the rise in the rate and the baseline's rate, multiplied by both outcome counts to give whole numbers.

    >>> worsening(Sums(100, errors=10), Sums(20, errors=5))  # .10 to .25: a rise of 150 %
    (300, 200)
    """
    before = baseline.errors * recent.n
    return recent.errors * baseline.n - before, before


def figure(sums: Sums) -> float:
    """Return the error rate, 0 to 1."""
    return sums.errors / sums.n


def describe(baseline: Sums, recent: Sums, change: float) -> str:
    """Return a sentence in the guide's style."""
    if not baseline.errors:
        return (
            f"Error rate increased from 0% to {figure(recent):.0%}: {recent.errors} of {recent.n} outcomes had errors"
        )
    return f"Error rate increased from {figure(baseline):.0%} to {figure(recent):.0%} ({change:.1%} increase)"


def claims(limit: float, floor: float) -> Claim:  # noqa: ARG001 - errors are rare: no window shows a small rise
    """Return two, three and five times the baseline's rate, whatever the limit."""
    first, second, third = SPREAD
    return 1.0 + first, 1.0 + second, 1.0 + third, 0.0


def weigh(found: Triple, reward: int, flags: int, baseline: Sums, claims: Claim) -> Triple:  # noqa: ARG001
    """Weigh one outcome as evidence that errors happen more often."""
    return oftener(found, flags & ERROR != 0, share(baseline.errors, baseline.n), claims)


CASE: Final = Case(
    sums=lambda n, amount: Sums(n, errors=amount),
    most=1,
    better=False,
    good=(MICRO, SUCCESS),
    bad=(MICRO, SUCCESS | ERROR),
    example=(
        Sums(100, 90, 10, 80 * MICRO, 0),
        Sums(20, 15, 5, 12 * MICRO, 0),
        "Error rate increased from 10% to 25% (150.0% increase)",
        {"baseline_error_rate": 0.10, "recent_error_rate": 0.25, "error_increase_pct": 1.5},
    ),
)
