"""Success rate: degraded if the share of successes fell by more than the guide's 10 %, relative to the baseline."""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.detector import Case, Limit
from crl_stream.core.monitor.likelihood import Claim, Triple, drops, fewer, share
from crl_stream.core.monitor.row import MICRO, SUCCESS, Sums

NAME: Final = "success_rate"
ORDER: Final = 1
LIMIT: Final = Limit("success_drop", "of the baseline's success rate", 0.10)
SUMS: Final = ("successes",)
CHANGE: Final = "success_drop_pct"
FLOOR: Final = Limit("success_floor", "successes fewer than the baseline predicts", 0.0, 0.0, 1_000.0)
WHOLE: Final = 1
NOTHING: Final = "no success"


def worsening(baseline: Sums, recent: Sums) -> tuple[int, int]:
    """Return the drop in the rate and the baseline's rate, multiplied by both outcome counts to give whole numbers.

    >>> worsening(Sums(100, successes=90), Sums(20, successes=15))  # .90 to .75: a drop of a sixth
    (300, 1800)
    """
    before = baseline.successes * recent.n
    return before - recent.successes * baseline.n, before


def figure(sums: Sums) -> float:
    """Return the success rate, 0 to 1."""
    return sums.successes / sums.n


def describe(baseline: Sums, recent: Sums, change: float) -> str:
    """Return the guide's sentence."""
    return f"Success rate dropped from {figure(baseline):.0%} to {figure(recent):.0%} ({change:.1%} drop)"


def claims(limit: float, floor: float) -> Claim:  # noqa: ARG001 - a success rate is never negative
    """Return drops of one, two and four times the limit."""
    return drops(limit)


def weigh(found: Triple, reward: int, flags: int, baseline: Sums, claims: Claim) -> Triple:  # noqa: ARG001
    """Weigh one outcome as evidence that successes happen less often."""
    return fewer(found, flags & SUCCESS != 0, share(baseline.successes, baseline.n), claims)


CASE: Final = Case(
    sums=lambda n, amount: Sums(n, successes=amount),
    most=1,
    better=True,
    good=(MICRO, SUCCESS),
    bad=(MICRO, 0),
    example=(
        Sums(100, 90, 10, 80 * MICRO, 0),
        Sums(20, 15, 5, 10 * MICRO, 0),
        "Success rate dropped from 90% to 75% (16.7% drop)",
        {"baseline_success_rate": 0.90, "recent_success_rate": 0.75, "success_drop_pct": 0.167},
    ),
)
