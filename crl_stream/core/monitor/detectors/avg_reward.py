"""Average reward: degraded if it fell by more than the guide's 15 %, relative to the baseline."""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.detector import Case, Limit
from crl_stream.core.monitor.likelihood import Claim, Triple, drops, lower
from crl_stream.core.monitor.row import MICRO, SUCCESS, Sums

NAME: Final = "avg_reward"
ORDER: Final = 2
LIMIT: Final = Limit("reward_drop", "of the baseline's mean reward", 0.15)
SUMS: Final = ("reward", "squares")
CHANGE: Final = "reward_drop_pct"
FLOOR: Final = Limit("reward_floor", "outcomes whose reward falls from 1 to -1, all told", 0.0, 0.0, 1_000.0)
WHOLE: Final = 2 * MICRO
NOTHING: Final = "no positive reward"


def worsening(baseline: Sums, recent: Sums) -> tuple[int, int]:
    """Return the drop in the mean and the baseline's mean, in millionths and multiplied by both outcome counts.

    A relative drop has no meaning if the baseline's mean is zero or less.

    >>> worsening(Sums(100, reward=80_000_000), Sums(20, reward=12_000_000))  # .80 to .60: a quarter
    (400000000, 1600000000)
    """
    before = baseline.reward * recent.n
    return before - recent.reward * baseline.n, before


def figure(sums: Sums) -> float:
    """Return the mean reward, -1 to 1."""
    return sums.reward / MICRO / sums.n


def describe(baseline: Sums, recent: Sums, change: float) -> str:
    """Return a sentence in the guide's style."""
    if baseline.reward <= 0:
        lower_by = figure(baseline) - figure(recent)
        return f"Average reward dropped from {figure(baseline):.2f} to {figure(recent):.2f} ({lower_by:.2f} lower)"
    return f"Average reward dropped from {figure(baseline):.2f} to {figure(recent):.2f} ({change:.1%} drop)"


def claims(limit: float, floor: float) -> Claim:
    """Return drops of one, two and four times the limit.

    With a floor they are relative to a mean of at least twice the drop that the floor requires.
    """
    return drops(limit, min(4.0 * floor, 1.0))


def weigh(found: Triple, reward: int, flags: int, baseline: Sums, claims: Claim) -> Triple:  # noqa: ARG001
    """Weigh one outcome as evidence that rewards are lower."""
    return lower(found, reward, baseline.n, baseline.reward, baseline.squares, claims)


CASE: Final = Case(
    sums=lambda n, amount: Sums(n, reward=amount),
    most=MICRO,
    better=True,
    good=(MICRO, SUCCESS),
    bad=(-MICRO, SUCCESS),
    example=(
        Sums(100, 90, 10, 80 * MICRO, 0),
        Sums(20, 15, 5, 12 * MICRO, 0),
        "Average reward dropped from 0.80 to 0.60 (25.0% drop)",
        {"baseline_avg_reward": 0.80, "recent_avg_reward": 0.60, "reward_drop_pct": 0.25},
    ),
)
