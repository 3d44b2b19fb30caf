"""Computes the rewards of outcomes.  Rewards are whole millionths, so their sums stay exact."""

from __future__ import annotations

from crl_stream.core.messages import Invocation
from crl_stream.core.monitor.row import ABSENT, MICRO
from crl_stream.core.policy import Learning


class Formula:
    """The reward formula under a policy, precomputed for the hot path.

    Args:
        learning: Weights, rate and penalty, each 0 to 1, and the speed baselines in seconds.
    """

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
    """Return the speed of an outcome: ``clamp(2 (1 - duration / baseline), -1, 1)``.

    Args:
        invocation: Gives ``duration_seconds``, 0 or more, and ``complexity``; a missing complexity counts as medium.
        formula: Gives the baselines in seconds; by default 60, 300 and 900 for low, medium and high complexity.

    Returns:
        The speed in millionths, -1,000,000 to 1,000,000; ``ABSENT`` if there is no duration.

    The speed is 1 at half the baseline or less, 0 at the baseline, and -1 at one and a half times the baseline or more.
    The formula is this project's own; the guide has none.

    >>> formula = Formula(Learning())
    >>> def speed(seconds, complexity=None):
    ...     return speed_of(an_invocation(duration_seconds=seconds, complexity=complexity), formula)
    >>> speed(150.0), speed(300.0), speed(450.0), speed(30.0, "low")
    (1000000, 0, -1000000, 1000000)
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
    """Compute the reward of an outcome that came without one.

    It is the weighted mean over the parts present (outcome as +1 or -1, quality as 2q - 1, speed), less a
    penalty for each error.  Missing parts do not count as zero: otherwise a perfect agent without quality scores would
    never get above .55.

    Args:
        success: Whether the outcome is a success.
        quality: The quality in millionths, 0 to 1,000,000; ``ABSENT`` if it was not given.
        speed: What ``speed_of`` returned, in millionths, -1,000,000 to 1,000,000; ``ABSENT`` if there was no duration.
        errors: How many errors there were, 0 to 255.
        formula: Weights and penalty, each 0 to 1; by default .4 outcome, .3 quality, .2 speed, .1 for each
            error.

    Returns:
        The reward in millionths, -1,000,000 to 1,000,000.

    >>> formula = Formula(Learning())
    >>> reward_of(True, ABSENT, ABSENT, 0, formula)
    1000000
    >>> reward_of(True, 750_000, 0, 1, formula)  # (.4 + .3 * .5 + .2 * 0) / .9 - .1
    511111
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
