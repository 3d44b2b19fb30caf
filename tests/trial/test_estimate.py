"""What a policy saves or loses is counted from recorded outcomes, and its limits are those of a binomial rate."""

from __future__ import annotations

import math

from builders import invocations
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.trial.estimate import LATEST, spans_of, stretches_of, total, wilson
from crl_stream.trial.run import Activated
from crl_stream.trial.traffic import Traffic


def traffic_of(*parts: tuple[str, str, str | None]) -> Traffic:
    found, offset = Traffic(), 0
    for variant, letters, source in parts:
        for outcome in invocations(variant, letters, variant_source=source):
            found.add(offset, outcome)
            offset += 1
    return found


def test_outcomes_that_explored_are_not_counted_as_traffic_but_say_how_a_variant_does() -> None:
    traffic = traffic_of(("a", "S" * 10, None), ("b", "SSSF", "explore"), ("a", "FFSF", None))
    [stretch] = stretches_of(traffic, [Activated(0, "a")], [Activated(0, "a"), Activated(9, "b")])
    assert (stretch.first, stretch.last, stretch.used) == (11, 18, "against")
    assert (stretch.bad, stretch.outcomes, stretch.sample, stretch.rate) == (3, 4, 4, 0.25)
    assert stretch.saved == 3 - 4 * 0.25


def test_nothing_is_estimated_from_a_variant_without_outcomes() -> None:
    traffic = traffic_of(("a", "F" * 10, None))
    stretches = stretches_of(traffic, [Activated(0, "a")], [Activated(0, "a"), Activated(4, "b")])
    found = total([stretches])
    assert (found.saved, found.outcomes, found.unknown) == (0.0, 0, 5)


def test_only_the_latest_outcomes_of_the_other_variant_count() -> None:
    traffic = traffic_of(("b", "F" * 50, None), ("b", "S" * LATEST, None), ("a", "F" * 10, None))
    active = [Activated(0, "a")], [Activated(0, "a"), Activated(LATEST + 49, "b")]
    [stretch] = stretches_of(traffic, *active)
    assert (stretch.sample, stretch.rate, stretch.saved) == (LATEST, 0.0, 10.0)


def test_shadow_outcomes_and_repeated_ids_are_no_traffic() -> None:
    traffic = Traffic()
    [one] = invocations("a", "F")
    [shadow] = invocations("a", "F", role="shadow")
    for offset, outcome in enumerate((one, one, shadow)):
        traffic.add(offset, outcome)
    assert len(traffic) == 1


def test_a_change_takes_effect_after_the_outcome_that_it_came_with() -> None:
    traffic = traffic_of(("a", "S" * 6, None))
    assert spans_of(traffic, [Activated(0, "a"), Activated(3, "b"), Activated(3, "c")]) == [(1, "a"), (5, "c")]


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_limits_of_a_rate_solve_the_equation_of_the_score_test(counted: tuple[int, int]) -> None:
    """Wilson's limits are the rates p for which the observed rate lies 1.96 standard errors of p away."""
    bad, n = counted
    low, high = wilson(bad, n)
    assert 0.0 <= low <= bad / n <= high <= 1.0
    for limit in (low, high):
        if 0.0 < limit < 1.0:
            assert math.isclose((bad / n - limit) ** 2, 1.959964**2 * limit * (1 - limit) / n, rel_tol=1e-6)


def test_errors_are_added_within_a_task_and_their_squares_between_tasks() -> None:
    traffic = traffic_of(("b", "SSSF" * 5, "explore"), ("a", "SF" * 20, None))
    active = [Activated(0, "a")], [Activated(0, "a"), Activated(19, "b")]
    [stretch] = stretches_of(traffic, *active)
    one, both, apart = total([[stretch]]), total([[stretch, stretch]]), total([[stretch], [stretch]])
    assert one[:3] == (stretch.saved, stretch.low, stretch.high)
    assert both.saved == apart.saved == 2 * one.saved
    assert math.isclose(both.saved - both.low, 2 * (one.saved - one.low))
    assert math.isclose(apart.saved - apart.low, math.sqrt(2) * (one.saved - one.low))
    assert math.isclose(apart.high - apart.saved, math.sqrt(2) * (one.high - one.saved))


def test_with_as_many_outcomes_of_both_variants_the_exchange_still_reverses_the_estimate() -> None:
    traffic = traffic_of(("a", "S" * 10, None), ("b", "SSSF", None), ("a", "FSFS", None))
    one, other = [Activated(0, "a")], [Activated(0, "a"), Activated(9, "b")]
    [there], [back] = stretches_of(traffic, one, other), stretches_of(traffic, other, one)
    assert there.outcomes == back.outcomes == 4
    assert there.saved is not None
    assert there.saved == -(back.saved or 0.0) != 0.0
