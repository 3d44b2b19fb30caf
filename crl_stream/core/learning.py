"""Outcome to reward, reward to Q."""

from __future__ import annotations

from crl_stream.core.messages import Invocation
from crl_stream.core.policy import Learning
from crl_stream.core.row import ABSENT, MICRO


def speed_of(invocation: Invocation, learning: Learning) -> int:
    """``clamp(2 (1 - duration / baseline), -1, 1)`` in millionths; ``ABSENT`` without a duration.

    The baseline is 60, 300 or 900 s for low, medium or high complexity; absent complexity counts as medium.
    """
    duration = invocation.duration_seconds
    if duration is None:
        return ABSENT
    if invocation.complexity == "low":
        baseline = learning.baseline_seconds_low
    elif invocation.complexity == "high":
        baseline = learning.baseline_seconds_high
    else:
        baseline = learning.baseline_seconds_medium
    speed = 2.0 * (1.0 - duration / baseline)
    return MICRO if speed >= 1.0 else -MICRO if speed <= -1.0 else round(speed * MICRO)


def reward_of(success: bool, quality: int, speed: int, errors: int, learning: Learning) -> int:
    """The reward of an outcome that came without one, in millionths of [-1, 1].

    The weighted mean over the parts present - outcome +1 or -1, quality as 2q - 1, speed - less a penalty
    for each error.  Parts that are absent do not count as zero: a perfect agent without quality scores would
    never get above .55.
    """
    total = learning.outcome_weight if success else -learning.outcome_weight
    weight = learning.outcome_weight
    if quality != ABSENT:
        total += learning.quality_weight * (2 * quality - MICRO) / MICRO
        weight += learning.quality_weight
    if speed != ABSENT:
        total += learning.speed_weight * speed / MICRO
        weight += learning.speed_weight
    mean = (total / weight if weight else 0.0) - learning.error_penalty * errors
    return MICRO if mean >= 1.0 else -MICRO if mean <= -1.0 else round(mean * MICRO)


def advance(q: float, n: int, reward: int, rate: float) -> float:
    """Q after the n-th outcome: ``Q + max(rate, 1/n) (R - Q)``.

    The mean of the first ``1/rate`` outcomes, exponential from then on, so that Q >= .9 is in reach at n = 10.
    """
    step = 1.0 / n
    return q + (step if step > rate else rate) * (reward / MICRO - q)
