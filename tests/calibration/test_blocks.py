"""Resampled outcomes follow each other as in the history, and each outcome is equally likely."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import pi, sin
from random import Random

import pytest

from calibration.worlds import bernoulli
from crl_stream.calibration.blocks import Stream, block_length


def length_of(successes: list[bool]) -> float:
    return block_length(successes, [[float(one) for one in successes]])


@pytest.mark.parametrize("length", [1.0, 20.0])
def test_in_the_long_run_every_outcome_comes_equally_often(length: float) -> None:
    stream = Stream(bernoulli(Random(1), 0.7, 20, 0.3), length, Random(2))
    counts = Counter(stream.draw() for _ in range(40_000))
    assert len(counts) == 20
    assert max(abs(count - 2_000) for count in counts.values()) < 400


@pytest.mark.parametrize("length", [1.0, 5.0, 20.0])
def test_a_failure_follows_a_failure_as_often_as_in_the_history(length: float) -> None:
    history = bernoulli(Random(3), 0.8, 2_000, 0.4)

    def after_failure(found: list[bool]) -> float:
        following = [not later for earlier, later in pairwise(found) if not earlier]
        return sum(following) / len(following)

    stream = Stream(history, length, Random(4))
    assert after_failure([history[stream.draw()] for _ in range(40_000)]) == pytest.approx(
        after_failure(history), abs=0.03
    )


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_a_markov_chain_needs_no_blocks(correlation: float) -> None:
    lengths = [length_of(bernoulli(Random(seed), 0.85, 1_000, correlation)) for seed in range(30)]
    assert lengths.count(1.0) >= 28


def test_swings_that_no_chain_explains_are_kept_in_blocks() -> None:
    random = Random(5)
    days = [random.random() < 0.7 + 0.25 * sin(2 * pi * number / 200) for number in range(2_000)]
    assert length_of(days) >= 50


def test_a_variant_that_always_does_the_same_needs_no_blocks() -> None:
    assert length_of([True] * 500) == 1.0
