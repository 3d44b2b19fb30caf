"""The window holds the last outcomes; its sums are exact, whatever is added, evicted or amended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core.monitor.learning import Formula, reward_of
from crl_stream.core.monitor.row import ABSENT, ERROR, EXPLICIT, FAILED, JUDGED, MICRO, OUTCOME, SUCCESS, Sums, Variant
from crl_stream.core.monitor.window import (
    Outcome,
    advance,
    amend,
    is_low,
    judged_outcomes,
    outcomes,
    relearn,
    restart_judging,
    take_in,
)
from crl_stream.core.policy import Learning

LEARNING = Formula(Learning())
RATE = 0.1
DROPS = (0.15, 0.3, 0.6)

flags = st.sampled_from([SUCCESS, 0, ERROR | FAILED, SUCCESS | ERROR]).flatmap(
    lambda base: st.sampled_from([base, base | JUDGED])
)
taken = st.tuples(st.integers(-MICRO, MICRO), flags)


def put(variant: Variant, outcome: Outcome | tuple[int, ...], size: int, rate: float, drops: Any) -> None:
    take_in(variant, OUTCOME.pack(*outcome), outcome[2], outcome[6], size, rate, drops)


def fill(entries: list[tuple[int, int]], size: int = 20) -> Variant:
    variant = Variant("v")
    for number, (reward, flag) in enumerate(entries):
        put(variant, (number, 1000 + number, reward, ABSENT, ABSENT, 0, flag | EXPLICIT), size, RATE, DROPS)
    return variant


def sums(entries: list[Any]) -> Sums:
    return Sums(
        len(entries),
        sum(bool(flag & SUCCESS) for _, flag in entries),
        sum(bool(flag & ERROR) for _, flag in entries),
        sum(reward for reward, _ in entries),
        sum(reward * reward // MICRO for reward, _ in entries),
    )


@settings(deadline=None)
@given(st.lists(taken, max_size=70), st.integers(2, 30))
def test_the_window_is_the_last_outcomes_in_order_and_its_sums_are_exact(
    entries: list[tuple[int, int]], size: int
) -> None:
    variant = fill(entries, size)
    assert [(o.reward, o.flags & ~EXPLICIT) for o in outcomes(variant)] == entries[-size:]
    assert [o.offset for o in outcomes(variant)] == list(range(len(entries)))[-size:]
    assert variant.life == sums(entries)
    assert variant.judged == sums([entry for entry in entries[-size:] if entry[1] & JUDGED])


@settings(deadline=None)
@given(st.lists(taken, min_size=1, max_size=70), st.integers(2, 30))
def test_q_is_the_value_at_the_windows_start_carried_over_the_window(entries: list[tuple[int, int]], size: int) -> None:
    variant = fill(entries, size)
    before = 0.0
    for number, (reward, _) in enumerate(entries[:-size], start=1):
        before = advance(before, number, reward, RATE)
    assert variant.q_start == pytest.approx(before, abs=1e-12)
    q = variant.q
    relearn(variant, RATE)
    assert variant.q == q


@settings(deadline=None)
@given(st.lists(taken, min_size=1, max_size=50), st.data())
def test_an_amended_outcome_equals_one_that_was_known_from_the_start(
    entries: list[tuple[int, int]], data: st.DataObject
) -> None:
    which = data.draw(st.integers(max(0, len(entries) - 20), len(entries) - 1))
    reward = data.draw(st.integers(-MICRO, MICRO))
    amended = fill(entries)
    assert amend(amended, 1000 + which, reward, None, LEARNING)
    known = [*entries]
    known[which] = (reward, entries[which][1])
    assert amended == fill(known)


def test_an_outcome_that_has_left_the_window_is_never_amended() -> None:
    variant = fill([(0, SUCCESS)] * 21)
    untouched = fill([(0, SUCCESS)] * 21)
    assert not amend(variant, 1000, MICRO, None, LEARNING)
    assert variant == untouched
    assert amend(variant, 1001, MICRO, None, LEARNING)


@pytest.mark.parametrize("quality", [0, MICRO // 4, MICRO])
def test_a_late_quality_enters_a_computed_reward_and_leaves_a_given_one_alone(quality: int) -> None:
    computed, explicit = Variant("a"), Variant("b")
    put(computed, (0, 1, MICRO, ABSENT, ABSENT, 1, SUCCESS), 20, RATE, DROPS)
    put(explicit, (0, 1, 300_000, ABSENT, ABSENT, 1, SUCCESS | EXPLICIT), 20, RATE, DROPS)
    assert amend(computed, 1, None, quality, LEARNING)
    assert amend(explicit, 1, None, quality, LEARNING)
    assert computed.life.reward == reward_of(True, quality, ABSENT, 1, LEARNING)
    assert explicit.life.reward == 300_000
    assert computed.low_quality == explicit.low_quality == (2 * quality < MICRO)


@settings(deadline=None)
@given(st.lists(taken, max_size=40))
def test_after_a_restart_nothing_old_is_judged_and_nothing_is_forgotten(entries: list[tuple[int, int]]) -> None:
    variant = fill(entries)
    variant.evidence = [3.0] * 9
    life, q, window = variant.life, variant.q, [o.reward for o in outcomes(variant)]
    restart_judging(variant)
    assert judged_outcomes(variant) == []
    assert variant.judged == Sums()
    assert variant.evidence == [0.0] * 9
    assert (variant.life, variant.q, [o.reward for o in outcomes(variant)]) == (life, q, window)
    put(variant, (99, 99, 5, ABSENT, ABSENT, 0, SUCCESS | JUDGED), 20, RATE, DROPS)
    assert variant.judged == Sums(1, 1, 0, 5, 0)


@settings(deadline=None)
@given(st.lists(taken, min_size=30, max_size=60), st.integers(2, 19))
def test_a_smaller_window_forgets_the_oldest_and_a_larger_one_fills_up(
    entries: list[tuple[int, int]], smaller: int
) -> None:
    variant = fill(entries)
    extra = (len(entries), 1, 7, ABSENT, ABSENT, 0, SUCCESS | JUDGED)
    put(variant, extra, smaller, RATE, DROPS)
    expected = [*entries, (7, SUCCESS | JUDGED)][-smaller:]
    assert [o.reward for o in outcomes(variant)] == [reward for reward, _ in expected]
    assert variant.judged == sums([entry for entry in expected if entry[1] & JUDGED])
    q = variant.q
    relearn(variant, RATE)
    assert variant.q == q
    put(variant, extra, 50, RATE, DROPS)
    assert len(list(outcomes(variant))) == smaller + 1


def test_letters_tell_success_failure_and_error_apart() -> None:
    letters = [Outcome(0, 0, 0, 0, 0, 0, flag).letter for flag in (SUCCESS, 0, ERROR | FAILED, SUCCESS | ERROR)]
    assert letters == ["S", "F", "E", "S"]


def test_a_quality_below_one_half_is_low_and_an_absent_one_is_not() -> None:
    assert [is_low(q) for q in (0, 499_999, 500_000, MICRO, ABSENT)] == [True, True, False, False, False]
