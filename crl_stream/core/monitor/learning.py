"""Outcome to reward, reward to Q."""

from __future__ import annotations

from crl_stream.core.messages import Invocation
from crl_stream.core.monitor.row import ABSENT, MICRO
from crl_stream.core.policy import Learning


class Formula:
    """How outcomes become rewards under a policy, made ready for the hot path."""

    __slots__ = (
        "error_penalty",
        "outcome_weight",
        "quality_weight",
        "rate",
        "seconds_high",
        "seconds_low",
        "seconds_medium",
        "speed_weight",
    )

    def __init__(self, learning: Learning) -> None:
        self.rate, self.error_penalty = learning.rate, learning.error_penalty
        self.outcome_weight, self.quality_weight = learning.outcome_weight, learning.quality_weight
        self.speed_weight = learning.speed_weight
        self.seconds_low, self.seconds_medium = learning.baseline_seconds_low, learning.baseline_seconds_medium
        self.seconds_high = learning.baseline_seconds_high


def speed_of(invocation: Invocation, formula: Formula) -> int:
    """``clamp(2 (1 - duration / baseline), -1, 1)`` in millionths; ``ABSENT`` without a duration.

    The baseline is 60, 300 or 900 s for low, medium or high complexity; absent complexity counts as medium.
    """
    duration = invocation.duration_seconds
    if duration is None:
        return ABSENT
    complexity = invocation.complexity
    if complexity == "low":
        baseline = formula.seconds_low
    elif complexity == "high":
        baseline = formula.seconds_high
    else:
        baseline = formula.seconds_medium
    speed = 2.0 * (1.0 - duration / baseline)
    return MICRO if speed >= 1.0 else -MICRO if speed <= -1.0 else round(speed * MICRO)


def reward_of(success: bool, quality: int, speed: int, errors: int, formula: Formula) -> int:
    """The reward of an outcome that came without one, in millionths of [-1, 1].

    The weighted mean over the parts present - outcome +1 or -1, quality as 2q - 1, speed - less a penalty
    for each error.  Parts that are absent do not count as zero: a perfect agent without quality scores would
    never get above .55.
    """
    weight = formula.outcome_weight
    total = weight if success else -weight
    if quality != ABSENT:
        total += formula.quality_weight * (2 * quality - MICRO) / MICRO
        weight += formula.quality_weight
    if speed != ABSENT:
        total += formula.speed_weight * speed / MICRO
        weight += formula.speed_weight
    mean = (total / weight if weight else 0.0) - formula.error_penalty * errors
    return MICRO if mean >= 1.0 else -MICRO if mean <= -1.0 else round(mean * MICRO)


def advance(q: float, n: int, reward: int, rate: float) -> float:
    """Q after the n-th outcome: ``Q + max(rate, 1/n) (R - Q)``.

    The mean of the first ``1/rate`` outcomes, exponential from then on, so that Q >= .9 is in reach at n = 10.
    """
    step = 1.0 / n
    return q + (step if step > rate else rate) * (reward / MICRO - q)
