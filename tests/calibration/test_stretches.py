"""A real collapse is found and left out; chance and runs of failures are not mistaken for one."""

from __future__ import annotations

from random import Random

import pytest

from calibration.worlds import bernoulli
from crl_stream.calibration.stretches import Stretch, longest_stable_stretch

SEEDS = range(30)


def stretch_of(successes: list[bool]) -> Stretch:
    return longest_stable_stretch({"success": [float(one) for one in successes]})


@pytest.mark.parametrize("correlation", [0.0, 0.3])
@pytest.mark.parametrize("count", [60, 400])
def test_a_stable_history_is_taken_whole_nearly_always(count: int, correlation: float) -> None:
    found = [stretch_of(bernoulli(Random(seed), 0.9, count, correlation)) for seed in SEEDS]
    assert sum(one.changes == () and (one.first, one.end) == (0, count) for one in found) >= len(SEEDS) - 2


@pytest.mark.parametrize(("after", "length"), [(0.2, 20), (0.5, 100)])
def test_a_collapse_at_the_end_is_cut_off_where_it_began(after: float, length: int) -> None:
    near = 0
    for seed in SEEDS:
        random = Random(seed)
        found = stretch_of(bernoulli(random, 0.92, 400) + bernoulli(random, after, length))
        near += found.first == 0 and abs(found.end - 400) <= 8
    assert near >= 0.8 * len(SEEDS)


def test_an_outage_in_the_middle_is_in_no_stretch() -> None:
    apart = 0
    for seed in SEEDS:
        random = Random(seed)
        found = stretch_of(bernoulli(random, 0.92, 300) + bernoulli(random, 0.1, 25) + bernoulli(random, 0.92, 200))
        apart += found.first < 10 and abs(found.end - 300) <= 8 and len(found.changes) >= 2
    assert apart >= 0.8 * len(SEEDS)


def test_of_two_levels_the_longer_one_is_taken_and_the_change_is_told() -> None:
    found = stretch_of([True] * 100 + [True, False] * 100)
    assert (found.first, found.end) == (100, 300) or abs(found.first - 100) <= 2
    [change] = found.changes
    assert change.what == "success"
    assert (change.before, round(change.after, 1)) == (1.0, 0.5)


def test_a_change_of_the_reward_alone_is_found() -> None:
    random = Random(1)
    rewards = [random.gauss(0.8, 0.1) for _ in range(200)] + [random.gauss(0.5, 0.1) for _ in range(80)]
    found = longest_stable_stretch({"success": [1.0] * 280, "errors": [0.0] * 280, "reward": rewards})
    assert [change.what for change in found.changes] == ["reward"]
    assert abs(found.end - 200) <= 2


def test_a_short_history_is_never_cut() -> None:
    assert stretch_of([True] * 9 + [False] * 9) == Stretch(0, 18, ())
