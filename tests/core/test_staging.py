"""What is compared in a rollout: every stage in the candidate's proportions, and separately the last outcomes."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from random import Random

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.monitor.promise import Promise, promise_of
from crl_stream.core.monitor.row import MICRO, Frozen, Stratum, Sums
from crl_stream.core.monitor.staging import control_of, delivered_lately, delivered_so_far
from crl_stream.core.monitor.window import judged_outcomes
from crl_stream.core.policy import Policy

from .rolling import CANDIDATE, rolling
from .task import Task
from .test_feedback import feedback

WINDOW = Policy().degradation.lookback_window


@st.composite
def sums(draw: st.DrawFn, least: int) -> Sums:
    n = draw(st.integers(least, 300))
    reward = draw(st.integers(-n * MICRO, n * MICRO))
    return Sums(n, draw(st.integers(0, n)), draw(st.integers(0, n)), reward, 0)


def delivered(strata: list[Stratum]) -> tuple[Promise, Promise]:
    """Return what both have delivered after these stages, the last of which is in progress."""
    row = rolling().row
    assert row.rollout is not None
    row.rollout.past, row.rollout.candidate = strata[:-1], strata[-1].candidate
    row.variants[CANDIDATE].baseline = Frozen("default", strata[-1].control, concurrent=True)
    return delivered_so_far(row)


@given(st.lists(st.builds(Stratum, sums(1), sums(1)), min_size=1, max_size=4))
def test_the_active_variant_is_compared_as_if_it_had_worked_in_the_candidates_proportions(
    strata: list[Stratum],
) -> None:
    candidate, control = delivered(strata)
    n = sum(stratum.candidate.n for stratum in strata)
    assert candidate.n == n
    for at, name in enumerate(Promise._fields[1:], 1):
        assert abs(candidate[at] - sum(promise_of(stratum.candidate)[at] for stratum in strata)) < len(strata)
        mean = Fraction(0)
        for stratum in strata:
            mean += Fraction(stratum.candidate.n * promise_of(stratum.control)[at], stratum.control.n * n)
        assert abs(Fraction(control[at], control.n) - mean) <= len(strata) + 1, name
    variance = sum(Fraction(stratum.candidate.n**2, n**2 * stratum.control.n) for stratum in strata)
    assert floor(1 / variance) <= control.n <= Fraction(1001, 1000) / variance
    assert all(type(figure) is int for figure in control), "so every machine decides alike"


@given(st.builds(Stratum, sums(1), sums(1)), st.sampled_from([(0, 40), (40, 0), (0, 0)]))
def test_a_stage_in_which_one_of_both_had_no_outcome_is_not_compared(stage: Stratum, counts: tuple[int, int]) -> None:
    alone = Stratum(*[Sums(n, n, n, -n * MICRO, 0) for n in counts])
    assert delivered([alone, stage]) == delivered([stage])
    assert delivered([alone]) == (Promise(0, 0, 0, 0), Promise(0, 0, 0, 0))


@pytest.mark.parametrize("millions", [1, 2, 3])
def test_a_candidates_first_outcome_can_be_compared_with_millions(millions: int) -> None:
    n = millions << 20
    _, control = delivered([Stratum(Sums(1, 1, 0, MICRO, 0), Sums(n, n, 0, n * MICRO, 0))])
    assert control == Promise(1 << 20, MICRO << 20, MICRO << 20, MICRO << 20)


def stay(task: Task) -> Task:
    """Let the rollout stay at its stage, whatever the outcomes."""
    task.order(m.PauseRollout)
    task.order(m.HoldTask)
    return task


@pytest.mark.parametrize("seed", range(8))
def test_the_last_outcomes_are_those_of_the_candidates_last_one_to_two_windows(seed: int) -> None:
    luck, task = Random(seed), stay(rolling())
    blocks: list[list[tuple[str, Sums]]] = [[]]
    for _ in range(200):
        name, letter, errors = luck.choice(["default", CANDIDATE]), luck.choice("SSF"), luck.choice([0, 0, 1])
        task.run(name, letter, error_count=errors, variant_source="explore", reward=0.25)
        if sum(who == CANDIDATE for who, _ in blocks[-1]) == WINDOW:
            blocks.append([])
        blocks[-1].append((name, Sums(1, int(letter == "S"), errors, 250_000, 0)))
        for who, found in zip((CANDIDATE, "default"), delivered_lately(task.row), strict=True):
            recent = [one for block in blocks[-2:] for name, one in block if name == who]
            n, successes = len(recent), sum(one.successes for one in recent)
            flawless = n - sum(one.errors for one in recent)
            assert found == Promise(n, n * 625_000, successes * MICRO, flawless * MICRO)
    assert len(blocks) > 3


def test_another_variant_takes_no_part_and_its_outcomes_are_recorded_as_they_were() -> None:
    task = stay(rolling())
    task.run("third", "FFSF", variant_source="explore")
    assert (control_of(task.row).n, delivered_lately(task.row)[1].n) == (0, 0)
    assert (task.variant("third").life.n, task.variant("third").life.successes) == (4, 1)


def test_work_that_is_not_compared_is_recorded_as_it_was() -> None:
    task = stay(rolling())
    task.run(CANDIDATE, "FFSF", variant_source="stale")
    assert task.row.rollout is not None and task.row.rollout.candidate.n == 0
    assert [outcome.letter for outcome in judged_outcomes(task.variant(CANDIDATE))] == ["F", "F", "S", "F"]
    assert task.variant(CANDIDATE).life.successes == 1


def test_a_late_score_of_an_outcome_in_a_rollout_that_is_over_still_counts_for_its_variant() -> None:
    task = rolling()
    task.take(an_invocation("default", "success", invocation_id="late", reward=0.0))
    task.order(m.AbortRollout)
    before = task.variant("default").life.reward
    task.take(feedback("late", reward=1.0))
    assert task.variant("default").life.reward == before + MICRO
