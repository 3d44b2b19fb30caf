"""What people are told when they steer a rollout: where it is, what it waits for, and whether it is still aborted."""

from __future__ import annotations

import pytest

from crl_stream.core import messages as m
from crl_stream.core.monitor.row import StandingOrder
from crl_stream.core.policy import Operations, Policy

from .rolling import CANDIDATE, registered, rolling, steps
from .task import Task

SHADOW = Policy(operations=Operations(mode="shadow"))


def test_a_rollout_in_one_stage_names_no_further_ones() -> None:
    task = registered()
    detail = task.order(m.StartRollout, variant_id=CANDIDATE, stages=[0.5]).detail
    [begun] = task.stated(m.RolloutStep)
    assert detail == (
        f"{begun.rollout_id} of {CANDIDATE} began with 50 % of the invocations; each stage takes at least 20 outcomes"
    )


def test_the_last_stage_is_called_the_last() -> None:
    task = rolling(stages=[0.1, 0.5])
    assert task.order(m.PauseRollout).detail.startswith(f"{CANDIDATE} stays at 10 % (stage 1) until resumed; ")
    assert task.order(m.PromoteRollout).detail == f"{CANDIDATE} now gets 50 % (stage 2, the last)"


def hold_the_fleet(task: Task) -> None:
    task.fleet = StandingOrder("eve", "look", task.now)


@pytest.mark.parametrize(
    ("what", "blocked", "aborted"),
    [
        ("nothing", "", ""),
        ("pin", "pinned by bob", "it is still aborted if degraded"),
        ("hold", "held by bob", "it is not aborted even if degraded: held by bob until 2025-11-20T14:30:33"),
        ("fleet", "the fleet is held by eve", "it is not aborted even if degraded: the fleet is held by eve"),
        (
            "promotions",
            "promotions are stopped in the whole fleet by eve",
            "it is still aborted if degraded",
        ),
        ("shadow", "", "it is not aborted even if degraded: shadow mode: rollbacks are only reported"),
    ],
)
def test_who_steers_a_rollout_is_told_what_else_it_waits_for_and_whether_it_is_still_aborted(
    what: str, blocked: str, aborted: str
) -> None:
    task = rolling()
    if what == "pin":
        task.order(m.PinVariant, actor="bob")
    elif what == "hold":
        task.order(m.HoldTask, actor="bob")
    elif what == "fleet":
        hold_the_fleet(task)
    elif what == "promotions":
        task.fleet = StandingOrder("eve", "look", task.now, stops="promotions")
    elif what == "shadow":
        task.policy = SHADOW
    still = aborted or "it is still aborted if degraded"
    assert f"until resumed; {still}" in task.order(m.PauseRollout).detail
    resumed = task.order(m.ResumeRollout).detail
    waits = f"; the next stage does not begin yet: {blocked}; {aborted}"
    assert resumed.startswith(f"{CANDIDATE} continues at 5 % (stage 1){waits if blocked else ''}")
    assert ("the next stage" in resumed) is (blocked != "")


def test_a_candidate_without_outcomes_is_not_made_active_at_the_end_of_the_last_stage() -> None:
    task = rolling(stages=[0.5])
    refused = task.order(m.PromoteRollout)
    assert (refused.outcome, task.row.active) == ("refused", "default")
    assert refused.detail == (
        f"{CANDIDATE} has no outcome yet; to use it untested for all invocations: crl activate "
        f"backend-architect/api-design {CANDIDATE} --untested"
    )


def test_a_command_that_names_the_rollout_in_progress_is_obeyed() -> None:
    task = rolling()
    [begun] = task.stated(m.RolloutStep)
    assert task.order(m.PromoteRollout, rollout_id=begun.rollout_id).outcome == "applied"
    assert task.order(m.AbortRollout, rollout_id=begun.rollout_id).outcome == "applied"


@pytest.mark.parametrize(("reason", "words"), [("a cheaper model", "a cheaper model"), ("", "requested by ada")])
def test_every_step_that_a_person_orders_says_why_or_else_who(reason: str, words: str) -> None:
    task = registered()
    task.order(m.StartRollout, variant_id=CANDIDATE, reason=reason)
    task.order(m.PromoteRollout, reason=reason)
    task.order(m.AbortRollout, reason=reason)
    assert steps(task) == ["started", "stage_passed", "aborted"]
    assert [step.reasoning for step in task.stated(m.RolloutStep)] == [words] * 3
