"""The cheapest policy within the budget is recommended, if its advantage is large enough and not due to chance."""

from __future__ import annotations

from random import Random

from crl_stream.calibration.alternatives import Alternative
from crl_stream.calibration.estimates import Estimate, mean
from crl_stream.calibration.measurement import FallFigures, Figures
from crl_stream.calibration.recommendation import recommend
from crl_stream.core.policy import Policy

ALL = list[list[float]]


def a_policy(name: str, rate: float, harm: float, noise: float = 0.05, present: Figures | None = None) -> Figures:
    """Build the figures of a policy whose harm is ``harm``, varying from task to task by ``noise``."""
    random = Random(f"{name} {harm} {noise}")
    tasks = [random.gauss(harm, noise) for _ in range(64)]
    groups: ALL = [[random.gauss(harm, noise) for _ in range(8)] for _ in range(8)]
    first = (tasks, groups) if present is None else present.harms
    gains = [a - b for a, b in zip(first[0], tasks, strict=True)]
    of_groups = [[a - b for a, b in zip(*both, strict=True)] for both in zip(first[1], groups, strict=True)]
    rates = Estimate(rate, rate * 0.6, rate * 1.6, 0.5)
    return Figures(
        Alternative(name, Policy()),
        rates,
        mean(tasks, groups),
        (),
        mean(tasks, groups),
        mean(gains, of_groups),
        (tasks, groups),
    )


def test_a_present_policy_above_the_budget_is_replaced_by_the_cheapest_one_within() -> None:
    present = a_policy("present", 8.0, 0.5)
    found = [present, a_policy("slow", 0.05, 3.0, present=present), a_policy("quick", 0.1, 1.0, present=present)]
    advice = recommend(found, 0.2)
    assert advice.chosen is not None
    assert (advice.conclusion, advice.chosen.alternative.name) == ("change", "quick")
    assert "8.00 false rollbacks" in advice.reasons[0]


def test_what_a_change_costs_is_told_too() -> None:
    always = Estimate(1.0, 1.0, 1.0, 0.0)
    present = a_policy("present", 8.0, 0.5)
    better = a_policy("better", 0.15, 1.0, present=present)
    of_present, of_better = (FallFigures(0.5, always, delay, 20, always, pays=True) for delay in (9.0, 31.0))
    advice = recommend([present._replace(falls=(of_present,)), better._replace(falls=(of_better,))], 0.2)
    assert "31 instead of 9 when 50% of the successes are left" in advice.reasons[-1]
    assert advice.reasons[-2].endswith("(0.09 to 0.24), so it is probably within the budget, but not certainly")


def test_a_policy_that_is_provably_cheaper_is_recommended_and_its_saving_told() -> None:
    present = a_policy("present", 0.1, 3.0)
    advice = recommend([present, a_policy("better", 0.1, 1.0, present=present)], 0.2)
    assert advice.conclusion == "change"
    assert advice.reasons[0].startswith("better would save 1.99")


def test_a_present_policy_that_is_as_good_is_kept_though_another_one_is_a_little_cheaper() -> None:
    present = a_policy("present", 0.1, 1.05)
    advice = recommend([present, a_policy("other", 0.1, 1.0, present=present)], 0.2)
    assert advice.conclusion == "keep"


def test_a_difference_that_may_be_chance_is_told_as_such() -> None:
    present = a_policy("present", 0.1, 3.0, noise=20.0)
    advice = recommend([present, a_policy("other", 0.1, -4.0, noise=20.0, present=present)], 0.2)
    assert advice.conclusion == "undecided"
    assert any("--tasks" in reason or "history is too short" in reason for reason in advice.reasons)


def test_a_rate_that_may_be_within_the_budget_is_no_reason_to_change() -> None:
    present = a_policy("present", 0.25, 1.0)
    advice = recommend([present, a_policy("other", 0.1, 1.0, present=present)], 0.2)
    assert advice.conclusion == "undecided"
    assert "0.25 false rollbacks" in advice.reasons[0]


def test_if_no_policy_is_within_the_budget_the_closest_one_is_named_and_none_recommended() -> None:
    present = a_policy("present", 8.0, 0.5)
    advice = recommend([present, a_policy("closest", 0.9, 1.0, present=present)], 0.2)
    assert (advice.conclusion, advice.chosen) == ("none_within_budget", None)
    assert "closest is closest with 0.90" in advice.reasons[0]


def test_of_policies_that_cost_the_same_the_simpler_one_is_recommended() -> None:
    present = a_policy("present", 8.0, 0.5)
    named = a_policy("named", 0.1, 1.02, present=present)
    advice = recommend([present, named, a_policy("grid", 0.1, 1.0, present=present)], 0.2)
    assert advice.chosen is named
