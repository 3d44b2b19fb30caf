"""Resampling that keeps failures in runs: after each outcome comes one that followed a similar outcome in the history.

Outcomes are drawn block by block, and within a block they follow each other as they did in the history.  A new block
begins at a random place after an outcome of the same state, success or failure (matched-block bootstrap: Carlstein, Do,
Hall, Hesterberg, Künsch 1998).  With blocks of one outcome, this is a Markov chain with the transitions of the history
(Rajarshi 1990), which is enough for most histories and lets rare events arise that the history happens not to contain.
Longer blocks are used only where sums of outcomes vary more than the chain explains, as they do by time of day.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from statistics import fmean, pvariance, variance
from typing import Final

from crl_stream.calibration.quantiles import gamma_quantile

_SCALES: Final = (5, 20, 50, 100)
"""Lengths of the blocks of outcomes whose sums are compared."""
_FEWEST_SUMS: Final = 8
_LEVEL: Final = 0.01
"""Approximate probability that longer blocks are used although the history is a Markov chain."""


def block_length(states: Sequence[bool], series: Sequence[Sequence[float]]) -> float:
    """Return the mean length of the blocks for outcomes with these states, which ``series`` describe.

    It is the largest number of outcomes whose sums vary significantly more than sums from the Markov chain would, for
    any series (chi-squared test of the dispersion), or 1.
    """
    size = len(states)
    scales = [scale for scale in _SCALES if size >= scale * _FEWEST_SUMS]
    varying = [values for values in series if min(values) < max(values)]
    level = _LEVEL / max(1, len(scales) * len(varying))
    return float(
        max((scale for scale in scales for values in varying if _varies_more(states, values, scale, level)), default=1)
    )


def _varies_more(states: Sequence[bool], values: Sequence[float], scale: int, level: float) -> bool:
    count = len(values) // scale
    sums = [sum(values[n * scale : (n + 1) * scale]) for n in range(count)]
    expected = scale * _long_run_variance(states, values)
    freedom = count - 1
    return expected > 0.0 and variance(sums) / expected > 2.0 * gamma_quantile(freedom / 2, 1.0 - level) / freedom


def _long_run_variance(states: Sequence[bool], values: Sequence[float]) -> float:
    """Return the variance of the sum of ``n`` values of the Markov chain, divided by ``n``, for large ``n``.

    Values depend on each other only through their states.  Their covariance at lag ``k`` is therefore that of the
    states, ``p (1 - p) r^k``, times the squared difference between the mean values of the two states.
    """
    good = [value for value, state in zip(values, states, strict=True) if state]
    bad = [value for value, state in zip(values, states, strict=True) if not state]
    if not good or not bad:
        return pvariance(values)
    share = len(good) / len(values)
    stays = [later for earlier, later in pairwise(states) if earlier]
    returns = [later for earlier, later in pairwise(states) if not earlier]
    if not stays or not returns:
        return pvariance(values)
    persistence = min(0.95, max(-0.95, fmean(stays) - fmean(returns)))
    between = share * (1.0 - share) * (fmean(good) - fmean(bad)) ** 2
    return pvariance(values) + 2.0 * between * persistence / (1.0 - persistence)


class Stream:
    """Draws an endless series of outcomes, block by block; in the long run, all are drawn equally often.

    Args:
        states: The states of the history's outcomes, in order; after the last one, the first one follows.
        length: Mean length of the blocks.
        random: Source of random numbers.
    """

    def __init__(self, states: Sequence[bool], length: float, random: Random) -> None:
        self._states, self._random, self._ends = states, random, 1.0 / length
        self._after: dict[bool, list[int]] = {False: [], True: []}
        for place, state in enumerate(states):
            self._after[state].append(place + 1 if place + 1 < len(states) else 0)
        self._at = random.randrange(len(states))

    def draw(self) -> int:
        """Draw the next outcome; return its index in the history."""
        at = self._at
        if self._ends >= 1.0 or self._random.random() < self._ends:
            self._at = self._random.choice(self._after[self._states[at]])
        else:
            self._at = at + 1 if at + 1 < len(self._states) else 0
        return at
