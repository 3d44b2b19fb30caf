"""A variant is only replaced by one that promises more, and chance alone rarely creates such a promise."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.promise import Promise, delivered, describe, is_better, leads, promise_of
from crl_stream.core.monitor.row import MICRO, Sums, Variant
from crl_stream.core.monitor.rules import Rules, rules_of
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.policy import Policy, Rollback
from crl_stream.settings import load_settings

from .task import Task, proven

distances = st.floats(0.0, 5.0)


@st.composite
def promises(draw: st.DrawFn) -> Promise:
    n = draw(st.integers(0, 300))
    successes, flawless = draw(st.integers(0, n)), draw(st.integers(0, n))
    return Promise(n, draw(st.integers(0, n * MICRO)), successes * MICRO, flawless * MICRO)


@given(promises(), promises(), distances)
def test_of_two_promises_at_most_one_is_better(one: Promise, other: Promise, errors: float) -> None:
    assert not (is_better(one, other, errors) and is_better(other, one, errors))
    assert not is_better(one, one, errors)


@given(promises(), promises(), distances, distances)
def test_a_promise_that_is_better_by_a_distance_is_better_by_any_shorter_one(
    one: Promise, other: Promise, far: float, near: float
) -> None:
    far, near = max(far, near), min(far, near)
    assert is_better(one, other, near) or not is_better(one, other, far)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(40, 500), st.integers(0, 50))
def test_what_a_variant_delivers_lies_between_its_window_and_its_baseline(
    recent: int, good: int, before: int, doubt: int
) -> None:
    good = min(good, recent)
    window = Sums(recent, good, 0, (2 * good - recent) * MICRO, 0)
    variant = Variant("a", judged=window, life=Sums(before, before, 0, before * MICRO, 0))
    found = delivered(variant, rules_of(Policy(rollback=Rollback(doubt=doubt))))
    assert found.n == recent + doubt
    assert good / recent <= found.successes / MICRO / found.n <= 1.0
    assert good / recent - 1e-6 <= found.value / MICRO / found.n <= 1.0


@pytest.mark.parametrize(("recent", "successes", "doubted"), [(19, 0, True), (20, 1, True), (20, 0, False)])
def test_only_a_full_window_without_a_success_is_believed_as_it_is(recent: int, successes: int, doubted: bool) -> None:
    reward = (2 * successes - recent) * MICRO
    variant = Variant("a", judged=Sums(recent, successes, 0, reward, 0), life=Sums(100, 80, 0, 60 * MICRO, 0))
    rules = rules_of(Policy())
    assert delivered(variant, rules, certain=True).n == recent + (rules.doubt if doubted else 0)
    assert delivered(variant, rules).n == recent + rules.doubt


METRICS = Promise._fields[1:]


@pytest.mark.parametrize("lead", METRICS)
@pytest.mark.parametrize("rest", METRICS)
def test_a_target_may_lead_in_one_metric_only_if_it_does_not_clearly_trail_in_another(lead: str, rest: str) -> None:
    left = Promise(30, *[18 * MICRO] * 3)
    target = Promise(100, *[60 * MICRO] * 3)
    assert not is_better(target, left, 0.5)
    better = target._replace(**{lead: 90 * MICRO})
    assert is_better(better, left, 0.5)
    if rest != lead:
        assert not is_better(better._replace(**{rest: 20 * MICRO}), left, 0.5)


@given(promises(), st.integers(1, 50), distances)
def test_how_many_outcomes_there_are_is_no_merit(one: Promise, factor: int, errors: float) -> None:
    more = Promise(*[figure * factor for figure in one])
    assert not is_better(more, one, errors)
    assert not is_better(one, more, errors)


def test_a_lead_counts_only_if_it_is_as_large_as_what_is_asked_for() -> None:
    many, few = promise_of(Sums(130, 130, 0, 130 * MICRO, 0)), promise_of(Sums(20, 18, 0, 16 * MICRO, 0))
    assert leads(many, few, 1.0)
    assert not leads(many, few, 2.0)
    assert not leads(few, many, 1.0)


@pytest.mark.parametrize(("flawless", "better"), [(7, True), (6, False), (5, False)])
def test_a_lead_must_be_larger_than_what_may_be_a_loss_by_chance(flawless: int, better: bool) -> None:
    """Seven successes of ten against six are as much as six outcomes without an error against seven."""
    one, other = Promise(10, 0, 7 * MICRO, flawless * MICRO), Promise(10, 0, 6 * MICRO, 7 * MICRO)
    assert is_better(one, other, 0.0) is better


@given(st.integers(1, 200), st.integers(1, 200), st.data(), st.floats(0.1, 5.0))
def test_a_lead_in_standard_errors_is_that_of_the_formula(n: int, m: int, data: st.DataObject, errors: float) -> None:
    good, less = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    both = Fraction(good + less, n + m)
    lead = (good + both) / (n + 1) - (less + both) / (m + 1)
    means = [((good + Fraction(1, 2)) / (n + 1), n), ((less + Fraction(1, 2)) / (m + 1), m)]
    square = lead**2 / sum(mean * (1 - mean) / (k + 2) for mean, k in means)
    assume(abs(square - Fraction(errors) ** 2) > Fraction(1, 10**9))
    one, other = Promise(n, 0, good * MICRO, 0), Promise(m, 0, less * MICRO, 0)
    assert leads(one, other, errors) is (good * m > less * n and square > Fraction(errors) ** 2)


def test_errors_are_told_where_there_are_any() -> None:
    assert describe(promise_of(Sums(4, 3, 1, 2 * MICRO, 0))) == "reward 0.500, success 75.0%, errors 25.0%"
    assert describe(promise_of(Sums(4, 3, 0, 2 * MICRO, 0))) == "reward 0.500, success 75.0%"


def test_a_newcomer_whose_every_outcome_has_an_error_is_left_even_if_its_rewards_are_better() -> None:
    task = Task(load_settings(environment={}, flags={"profile": "production"}).policies.default)
    task.run("old", "S" * 60, reward=0.85)
    task.run("new", "S" * 10, reward=0.95, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="new")
    task.run("new", "S" * 9, reward=0.95, error_count=1)
    assert task.row.active == "new"
    task.run("new", "S", reward=0.95, error_count=1)
    [event] = task.stated(m.RollbackEvent)
    assert (event.to_variant, event.reason) == (
        "old",
        "Error rate increased from 0% to 100%: 10 of 10 outcomes had errors",
    )


def test_a_metric_that_is_added_asks_for_a_target_that_is_not_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    task = proven(equal="S" * 30, weak="SSF" * 10)
    rules = Rules(task.policy)
    added = rules.checks[0][0]
    assert [c.chosen for c in candidates(task.row, rules, added)] == [False, False]
    monkeypatch.setattr(rules, "further", ((added, 0, 0),))
    why = {c.variant_id: c.why_not for c in candidates(task.row, rules, added)}
    assert why["equal"] is None
    assert why["weak"] is not None and why["weak"].startswith("worse: reward 0.3")


# -- in closed loop ----------------------------------------------------------------------------------
def follow(seed: int, outcomes: int, **rates: float) -> Task:
    """Let the fleet follow the engine: nine outcomes in ten use the active variant, the others explore the rest."""
    task, random = Task(), Random(seed)
    first = next(iter(rates))
    for _ in range(outcomes):
        active = task.row.active or first
        others = [name for name in rates if name != active]
        explored = random.random() < 0.1
        name = random.choice(others) if explored else active
        letter = "S" if random.random() < rates[name] else "F"
        task.run(name, letter, variant_source="explore" if explored else "live", active_epoch=task.row.epoch)
    return task


@pytest.mark.parametrize("rates", [{"a": 0.97, "b": 0.2}, {"a": 0.92, "b": 0.5}])
def test_a_healthy_variant_is_never_left_for_one_that_is_far_worse(rates: dict[str, float]) -> None:
    for seed in range(8):
        task = follow(seed, 600, **rates)
        assert task.stated(m.RollbackEvent) == []
        assert task.row.active == "a"


def test_a_collapsed_variant_is_left_for_a_good_one_and_kept_where_there_is_only_a_worse_one() -> None:
    for seed in range(8):
        left, kept = follow(seed, 150, a=0.97, b=0.9), follow(seed, 150, a=0.97, b=0.05)
        for task, name in ((left, "b"), (kept, "a")):
            task.run("a", ("SF" * 30 + "F")[: 60 if name == "a" else 40], active_epoch=task.row.epoch)
            assert task.row.active == name
