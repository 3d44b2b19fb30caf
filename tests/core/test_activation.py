"""The guide's decision matrix with its wording, and each condition for a promotion without a person."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from builders import a_command, invocations
from hypothesis import assume, given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.decision_matrix import (
    best_candidate,
    blocked,
    cooldown_left,
    decide,
    not_applied,
    reasoning,
    show,
)
from crl_stream.core.monitor.row import MICRO, RETIRED, Sums, TaskRow, Variant, new_row
from crl_stream.core.policy import AutoApply, Operations, Policy

from .reference_model import Estimate, Model
from .task import HOUR, KEY, Task

GUIDE = Policy()


def a_variant(q: float, n: int, **fields: Any) -> Variant:
    return Variant("api-optimized", q=q, life=Sums(n=n), **fields)


@pytest.mark.parametrize(
    ("q", "n", "decision", "words"),
    [
        (0.95, 12, "auto_apply", "High confidence: Q-value 0.95 >= 0.9 and n_visits 12 >= 10"),
        (0.9, 10, "auto_apply", "High confidence: Q-value 0.90 >= 0.9 and n_visits 10 >= 10"),
        (0.95, 9, "human_approval", "Medium confidence: Q-value 0.95 >= 0.7 and n_visits 9 >= 5"),
        (0.8, 100, "human_approval", "Medium confidence: Q-value 0.80 >= 0.7 and n_visits 100 >= 5"),
        (0.88, 9, "human_approval", "Medium confidence: Q-value 0.88 >= 0.7 and n_visits 9 >= 5"),
        (0.7, 5, "human_approval", "Medium confidence: Q-value 0.70 >= 0.7 and n_visits 5 >= 5"),
        (0.69, 1000, "no_action", "Low confidence: Q-value 0.69 < 0.7"),
        (1.0, 4, "no_action", "Insufficient samples: n_visits 4 < 5"),
        (0.5, 4, "no_action", "Insufficient samples: n_visits 4 < 5"),
    ],
)
def test_the_matrix_decides_as_the_guides_table_and_says_so(q: float, n: int, decision: str, words: str) -> None:
    variant = a_variant(q, n)
    assert decide(variant, active=False, policy=GUIDE) == decision
    assert reasoning(variant, active=False, policy=GUIDE) == words


@given(st.floats(-1, 1), st.integers(0, 100))
def test_every_q_and_every_n_have_the_tables_decision(q: float, n: int) -> None:
    if q >= 0.9 and n >= 10:
        expected = "auto_apply"
    elif q >= 0.7 and n >= 5:
        expected = "human_approval"
    else:
        expected = "no_action"
    assert decide(a_variant(q, n), active=False, policy=GUIDE) == expected


@given(st.floats(-1, 1), st.integers(0, 100))
def test_the_words_begin_with_the_level_of_the_decision(q: float, n: int) -> None:
    variant = a_variant(q, n)
    first = {
        "auto_apply": ("High",),
        "human_approval": ("Medium",),
        "no_action": ("Low", "Insufficient"),
    }[decide(variant, active=False, policy=GUIDE)]
    assert reasoning(variant, active=False, policy=GUIDE).split()[0] in first


def test_the_conservative_thresholds_of_the_guide_are_obeyed() -> None:
    conservative = Policy(auto_apply=AutoApply(q_threshold=0.95, min_samples=20))
    assert decide(a_variant(0.94, 50), active=False, policy=conservative) == "human_approval"
    assert decide(a_variant(0.95, 19), active=False, policy=conservative) == "human_approval"
    assert decide(a_variant(0.95, 20), active=False, policy=conservative) == "auto_apply"


@pytest.mark.parametrize(
    ("variant", "active", "decision", "words"),
    [
        (a_variant(0.95, 12), True, "no_action", "Already the default variant"),
        (a_variant(0.95, 12, state=RETIRED), False, "no_action", "Retired"),
        (a_variant(0.95, 12, quarantined=True), False, "human_approval", "Quarantined after a rollback: "),
        (a_variant(0.95, 32, degraded_at=13), False, "human_approval", "Recent degradation 19 outcomes ago: "),
        (a_variant(0.95, 33, degraded_at=13), False, "auto_apply", "High confidence: "),
    ],
)
def test_what_speaks_against_a_high_confidence_is_named(
    variant: Variant, active: bool, decision: str, words: str
) -> None:
    assert decide(variant, active=active, policy=GUIDE) == decision
    assert reasoning(variant, active=active, policy=GUIDE).startswith(words)


@given(st.floats(0, 1), st.floats(0, 1).map(lambda x: round(x, 2)))
def test_a_number_is_shown_on_the_side_of_its_limit_on_which_it_is(value: float, limit: float) -> None:
    assert (float(show(value, limit)) >= limit) == (value >= limit)


def test_a_number_just_below_its_limit_is_not_rounded_onto_it() -> None:
    assert show(0.8999, 0.9) == "0.8999"
    assert show(0.89, 0.9) == "0.89"


# -- promotion -------------------------------------------------------------------------------------
MIXED = "SSSSF" * 6


def ready(policy: Policy | None = None) -> Task:
    """Build a task in which a candidate clearly leads a mediocre active variant and no waiting period is left."""
    task = Task(policy)
    task.run("default", MIXED)
    task.run("v2", "S" * 30, variant_source="explore")
    return task


def promotions(task: Task) -> list[str]:
    return [a.to_variant for a in task.stated(m.Activation) if a.cause == "auto_apply"]


def test_a_clear_leader_is_promoted_by_the_next_outcome_of_the_active_variant() -> None:
    task = ready()
    assert promotions(task) == []
    task.run("default", "S", active_epoch=1)
    assert promotions(task) == ["v2"]
    assert (task.row.active, task.row.epoch) == ("v2", 2)
    [activation] = [a for a in task.stated(m.Activation) if a.cause == "auto_apply"]
    assert activation.reasoning == "High confidence: Q-value 1.00 >= 0.9 and n_visits 30 >= 10"


def short_of(change: Callable[[Task], None]) -> Task:
    task = ready()
    change(task)
    task.run("default", "S", active_epoch=1)
    return task


def _set(task: Task, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(task.variant("v2"), name, value)


PRECONDITIONS: dict[str, Callable[[Task], None]] = {
    "Q below .9": lambda task: _set(task, q=0.89),
    "nine visits": lambda task: _set(task, life=Sums(9, 9, 0, 9_000_000, 9_000_000)),
    "a lead of less than .05 in Q": lambda task: setattr(task.variant("default"), "q", 0.96),
    "a lead of less than .05 in mean reward": lambda task: setattr(task.variant("v2").life, "reward", 19_500_000),
    "only nine outcomes since it was last active": lambda task: _set(task, left_at=21),
    "a quarantine": lambda task: _set(task, quarantined=True),
    "a recent degradation": lambda task: _set(task, degraded_at=12),
    "retirement": lambda task: _set(task, state=RETIRED),
    "a pin": lambda task: task.take(a_command(m.PinVariant)) and None,
    "a hold": lambda task: task.take(a_command(m.HoldTask)) and None,
    "a change 19 outcomes ago": lambda task: setattr(task.row, "changed_n", task.row.n + 1 - 19),
}


@pytest.mark.parametrize("missing", PRECONDITIONS)
def test_nothing_is_promoted_while_one_precondition_is_missing(missing: str) -> None:
    task = short_of(PRECONDITIONS[missing])
    assert promotions(task) == []
    assert task.row.active == "default", (
        "a rollback has replaced the active variant, so this case says nothing about promotions"
    )


def test_exactly_enough_is_enough() -> None:
    def barely(task: Task) -> None:
        _set(task, left_at=20, degraded_at=10, q=0.9)
        task.variant("default").q = 0.8
        task.row.changed_n = task.row.n + 1 - 20

    assert promotions(short_of(barely)) == ["v2"]


def test_of_several_ready_candidates_the_best_is_promoted_then_the_more_visited_then_the_first_name() -> None:
    task = ready()
    for name in ("v4", "v3"):
        task.run(name, "S" * 31, variant_source="explore")
    task.run("v5", "S" * 39 + "F", variant_source="explore")
    task.run("default", "S", active_epoch=1)
    assert promotions(task) == ["v3"]


quarters = st.integers(0, 4).map(lambda quarter: quarter / 4)
"""Q-values and mean rewards whose differences are exact in binary, so that a lead can equal its limit."""


@st.composite
def standings(draw: st.DrawFn) -> TaskRow:
    """A row with up to four variants whose figures often equal each other or a limit."""
    row = new_row(KEY)
    for name in draw(st.permutations(["v1", "v2", "v3", "v4"])):
        n, mean = draw(st.integers(3, 6)), draw(quarters)
        life = Sums(n, n, 0, int(n * mean * MICRO), 0)
        row.variants[name] = Variant(name, q=draw(quarters), life=life, left_at=draw(st.integers(0, 2)))
    row.active = draw(st.sampled_from(["v1", "v2", None]))
    return row


def estimates(variant: Variant) -> list[Estimate]:
    """Return the lifetime's promise for reward, success and outcomes without an error."""
    life = variant.life
    value = (Fraction(life.reward, MICRO) + life.n) / 2
    return [Estimate(life.n, total) for total in (value, Fraction(life.successes), Fraction(life.n - life.errors))]


@given(standings(), st.sampled_from([0.0, 0.25, 0.5]))
def test_the_candidate_is_the_best_of_those_that_lead_by_enough_in_q_and_in_mean_reward(
    row: TaskRow, min_lead: float
) -> None:
    auto = AutoApply(q_threshold=0.5, min_samples=4, min_lead=min_lead, min_outcomes_since_active=3)
    active, oracle = row.variants.get(row.active or ""), Model()
    ready = [
        variant
        for variant in row.variants.values()
        if active is not None
        and variant is not active
        and variant.q >= 0.5
        and variant.life.n >= 4
        and variant.life.n - variant.left_at >= 3
        and variant.q - active.q >= min_lead
        and variant.life.reward / variant.life.n / MICRO - active.life.reward / active.life.n / MICRO >= min_lead
        and oracle._is_better(estimates(variant), estimates(active), Fraction(1, 2))
    ]
    assume(not oracle.ambiguous)
    ready.sort(key=lambda variant: variant.variant_id)
    ready.sort(key=lambda variant: (variant.q, variant.life.n), reverse=True)
    assert best_candidate(row, Policy(auto_apply=auto)) is (ready[0] if ready else None)


def test_a_lead_of_exactly_the_limit_is_enough_to_be_applied() -> None:
    task = ready(Policy(auto_apply=AutoApply(min_lead=0.25)))
    task.variant("v2").q, task.variant("default").q = 1.0, 0.75
    assert not_applied(task.row, task.variant("v2"), task.policy) == "applied with the next outcome of default"
    task.variant("default").q = 0.7500001
    assert not_applied(task.row, task.variant("v2"), task.policy) == (
        "0.2499999 ahead of default in Q-value, 0.25 ahead needed"
    )


def test_a_variant_at_exactly_the_q_value_of_the_table_gets_its_decision() -> None:
    task = Task()
    task.run("default", MIXED)
    task.run("v2", "S" * 5, variant_source="explore", reward=0.7)
    assert task.variant("v2").q == 0.7
    assert [(d.variant_id, d.decision) for d in task.stated(m.Decision)][-1] == ("v2", "human_approval")


def test_shadow_mode_says_what_it_would_promote_again_once_people_have_activated_another_variant() -> None:
    task = ready(Policy(operations=Operations(mode="shadow"), auto_apply=AutoApply(cooldown=0)))
    task.run("v3", MIXED, variant_source="explore")
    task.run("default", "SS", active_epoch=1)
    task.order(m.ActivateVariant, variant_id="v3")
    task.run("v3", "SS", active_epoch=2)
    would = [(a.from_variant, a.to_variant) for a in task.stated(m.Activation) if not a.enforced]
    assert would == [("default", "v2"), ("v3", "v2")]


@pytest.mark.parametrize(
    ("mode", "active", "enforced"),
    [("shadow", "default", [False]), ("observe", "default", []), ("enforce", "v2", [True])],
)
def test_only_enforce_changes_anything_and_shadow_says_once_what_it_would_do(
    mode: Any, active: str, enforced: list[bool]
) -> None:
    task = ready(Policy(operations=Operations(mode=mode)))
    task.run("default", "SSSSS", active_epoch=1)
    assert task.row.active == active
    assert [a.enforced for a in task.stated(m.Activation) if a.cause == "auto_apply"] == enforced


def test_a_change_blocks_promotions_for_20_outcomes_of_the_task() -> None:
    task = ready()
    task.run("default", "S", active_epoch=1)
    assert cooldown_left(task.row, GUIDE) == 20
    assert blocked(task.row, GUIDE) == "cooling down: 20 outcomes left"
    task.run("v2", "S" * 19, active_epoch=2)
    assert cooldown_left(task.row, GUIDE) == 1
    task.run("v2", "S", active_epoch=2)
    assert cooldown_left(task.row, GUIDE) == 0
    assert blocked(task.row, GUIDE) is None


def test_late_results_of_an_old_variant_promote_nothing() -> None:
    task = ready()
    task.order(m.ActivateVariant, variant_id="v2")
    task.order(m.ActivateVariant, variant_id="default")
    task.pass_time(HOUR)
    task.row.changed_n = 0
    task.run("default", "S" * 5, active_epoch=1)
    assert promotions(task) == []


def test_the_first_live_outcome_makes_its_variant_the_first_active_one_and_exploration_does_not() -> None:
    task = Task()
    task.run("v2", "S", variant_source="explore")
    assert task.row.active is None
    task.run("default", "S", role="shadow")
    assert task.row.active is None
    task.run("v3", "F")
    assert (task.row.active, task.row.epoch, task.row.cause) == ("v3", 1, "first_seen")


def test_a_retired_variant_does_not_become_the_first_active_one() -> None:
    task = Task()
    task.order(m.RegisterVariant, variant_id="old")
    task.order(m.RetireVariant, variant_id="old")
    task.run("old", "S")
    assert task.row.active is None
    task.run("default", "S")
    assert task.row.active == "default"


def test_a_decision_is_stated_at_most_once_per_variant_level_and_epoch() -> None:
    task = ready()
    task.run("default", "SSSSSSSSS", active_epoch=1)
    task.take(*invocations("v2", "SFSFSFSSSSSSSSSSSSSS", active_epoch=2))
    stated = [(d.variant_id, d.decision, d.epoch) for d in task.stated(m.Decision)]
    assert len(stated) == len(set(stated))
    assert ("v2", "human_approval", 1) in stated
    assert ("v2", "auto_apply", 1) in stated


def test_an_auto_apply_names_the_decision_that_caused_it() -> None:
    task = Task()
    task.run("default", "S" * 30, quality=0.6)
    task.run("better", "S" * 12, variant_source="explore", quality=1.0)
    while not [a for a in task.stated(m.Activation) if a.cause == "auto_apply"]:
        task.run("default", "S", quality=0.6)
        assert task.offset < 500, "nothing was promoted"
    [activation] = [a for a in task.stated(m.Activation) if a.cause == "auto_apply"]
    decisions = {d.decision_id: d for d in task.stated(m.Decision)}
    assert (decisions[activation.cause_id].variant_id, decisions[activation.cause_id].decision) == (
        "better",
        "auto_apply",
    )
    assert task.stated(m.ActiveVariant)[-1].cause_id == activation.cause_id
