"""Outcome to reward, and reward to Q: the formula of the design, and the guide's expectations of Q."""

from __future__ import annotations

from fractions import Fraction

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.monitor.learning import Formula, reward_of, speed_of
from crl_stream.core.monitor.row import ABSENT, MICRO
from crl_stream.core.monitor.window import advance
from crl_stream.core.policy import Learning

from .reference_model import reward
from .task import Task

LEARNING = Formula(Learning())
millionths = st.integers(-MICRO, MICRO)


@pytest.mark.parametrize(
    ("complexity", "seconds", "expected"),
    [
        ("low", 60, 0.0),
        ("medium", 300, 0.0),
        ("high", 900, 0.0),
        (None, 300, 0.0),
        ("low", 30, 1.0),
        ("low", 45, 0.5),
        ("low", 75, -0.5),
        ("low", 90, -1.0),
        ("high", 0, 1.0),
        ("low", 1e9, -1.0),
    ],
)
def test_speed_is_measured_against_60_300_or_900_seconds(
    complexity: str | None, seconds: float, expected: float
) -> None:
    invocation = an_invocation(duration_seconds=float(seconds), complexity=complexity)
    assert speed_of(invocation, LEARNING) == expected * MICRO


def test_without_a_duration_there_is_no_speed() -> None:
    assert speed_of(an_invocation(complexity="low"), LEARNING) == ABSENT


@pytest.mark.parametrize(
    ("success", "quality", "speed", "errors", "expected"),
    [
        (True, ABSENT, ABSENT, 0, 1.0),
        (False, ABSENT, ABSENT, 0, -1.0),
        (True, MICRO, MICRO, 0, 1.0),
        (True, 0, ABSENT, 0, 0.1 / 0.7),
        (True, MICRO // 2, 0, 0, 0.4 / 0.9),
        (False, MICRO, ABSENT, 0, -0.1 / 0.7),
        (True, ABSENT, ABSENT, 3, 0.7),
        (True, ABSENT, ABSENT, 255, -1.0),
        (False, ABSENT, ABSENT, 1, -1.0),
    ],
)
def test_a_reward_is_the_weighted_mean_of_the_parts_present_less_a_tenth_per_error(
    success: bool, quality: int, speed: int, errors: int, expected: float
) -> None:
    assert reward_of(success, quality, speed, errors, LEARNING) == round(expected * MICRO)


@given(
    st.sampled_from(["success", "failure", "error"]),
    st.none() | st.integers(0, 20).map(lambda n: n / 20),
    st.none() | st.integers(0, 2000).map(float),
    st.sampled_from(["low", "medium", "high", None]),
    st.integers(0, 30),
)
def test_the_engines_reward_is_the_exact_fraction_rounded_to_a_millionth(
    status: str, quality: float | None, seconds: float | None, complexity: str | None, errors: int
) -> None:
    invocation = an_invocation(
        status=status, quality=quality, duration_seconds=seconds, complexity=complexity, error_count=errors
    )
    task = Task()
    task.take(invocation)
    assert task.variant("default").life.reward == reward(invocation) * MICRO


@given(st.booleans(), st.integers(0, MICRO), millionths, st.integers(0, 20))
def test_a_reward_stays_in_bounds_and_grows_with_every_good_part(
    success: bool, quality: int, speed: int, errors: int
) -> None:
    found = reward_of(success, quality, speed, errors, LEARNING)
    assert -MICRO <= found <= MICRO
    assert reward_of(True, quality, speed, errors, LEARNING) >= found
    assert reward_of(success, MICRO, speed, errors, LEARNING) >= found
    assert reward_of(success, quality, MICRO, errors, LEARNING) >= found
    assert reward_of(success, quality, speed, errors + 1, LEARNING) <= found


def test_a_given_reward_is_taken_as_it_is() -> None:
    task = Task()
    task.take(an_invocation(status="failure", reward=0.25, quality=0.0, error_count=9))
    assert task.variant("default").life.reward == 250_000


@given(st.lists(millionths, min_size=1, max_size=10))
def test_q_is_the_mean_of_the_first_ten_rewards(rewards: list[int]) -> None:
    q = 0.0
    for n, found in enumerate(rewards, start=1):
        q = advance(q, n, found, LEARNING.rate)
    assert q == pytest.approx(float(Fraction(sum(rewards), len(rewards) * MICRO)), abs=1e-9)


@given(st.floats(-1, 1), st.integers(11, 10**6), millionths)
def test_after_ten_outcomes_q_moves_a_tenth_of_the_way(q: float, n: int, found: int) -> None:
    assert advance(q, n, found, LEARNING.rate) == pytest.approx(0.9 * q + 0.1 * found / MICRO, abs=1e-12)


def test_a_variant_at_88_hundredths_and_nine_visits_needs_one_or_two_more_good_invocations() -> None:
    q, more = 0.88, 0
    while q < 0.9:
        more += 1
        q = advance(q, 9 + more, MICRO, LEARNING.rate)
    assert more in {1, 2}


@pytest.mark.parametrize(("success_rate", "settles_at"), [(0.98, 0.96), (0.90, 0.80), (0.70, 0.40)])
def test_outcomes_alone_settle_where_the_matrix_tells_the_levels_apart(success_rate: float, settles_at: float) -> None:
    # In expectation: the mean reward is a fixed point of the update.
    mean = round((2 * success_rate - 1) * MICRO)
    assert advance(settles_at, 1000, mean, LEARNING.rate) == pytest.approx(settles_at, abs=1e-9)
    q = 0.0
    for n in range(1, 300):
        q = advance(q, n, mean, LEARNING.rate)
    assert q == pytest.approx(settles_at, abs=1e-6)


def test_shadow_outcomes_never_move_the_live_figures() -> None:
    task = Task()
    task.run("default", "SSFSE")
    before = task.variant("default")
    figures = (before.q, before.life.n, bytes(before.window), task.row.n, task.row.active)
    task.run("default", "FFFFF", role="shadow")
    after = task.variant("default")
    assert (after.q, after.life.n, bytes(after.window), task.row.n, task.row.active) == figures
    assert (after.shadow.n, after.shadow.successes) == (5, 0)
