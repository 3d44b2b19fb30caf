"""The queue cannot rot: it is bounded, and what a type may claim is bounded by what its changes have delivered."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_command

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy

from .desk import Desk
from .snapshots import a_variant, drafts, limits
from .task import Task, proven

SHADOW = Policy(operations=Operations(mode="shadow"))


# -- the cap -----------------------------------------------------------------------------------------
def poor(number: int, n: int = 60) -> m.VariantSnapshot:
    """Return a variant that should be retired, with a confidence that depends on ``n``."""
    return a_variant(f"bad{number}", q=0.1, n=n)


def names(proposals: list[m.Proposal]) -> set[str]:
    return {one.target_variant for one in proposals}


def test_a_task_has_no_more_open_proposals_than_the_cap() -> None:
    desk = Desk()
    desk.see(a_variant(q=0.9), *map(poor, range(8)), proposal_limits=limits(max_open=5))
    assert len(desk.open) == 5
    assert {one.status for one in desk.published} == {"pending"}, "nothing was opened only to be closed"


def test_a_more_confident_proposal_takes_the_place_of_the_least_confident_one_which_says_why_it_was_closed() -> None:
    desk = Desk()
    few = limits(max_open=2)
    desk.see(a_variant(q=0.9), poor(1), poor(2, n=120), proposal_limits=few)
    assert names(desk.open) == {"bad1", "bad2"}
    closed, opened = desk.see(a_variant(q=0.9), poor(1), poor(2, n=120), poor(3, n=120), proposal_limits=few)
    assert (closed.target_variant, closed.status, opened.target_variant) == ("bad1", "superseded", "bad3")
    assert closed.history[-1].reason == (
        "made room for a more confident proposal about bad3 (85% against 70%): the task may have 2 open "
        "(proposals.max_open); it is proposed again when there is room"
    )
    assert names(desk.open) == {"bad2", "bad3"}


def test_a_proposal_that_made_room_comes_back_as_soon_as_there_is_room() -> None:
    desk, few = Desk(), limits(max_open=1)
    desk.see(a_variant(q=0.9), poor(1), proposal_limits=few)
    desk.see(a_variant(q=0.9), poor(1), poor(2, n=120), proposal_limits=few)
    assert names(desk.open) == {"bad2"}
    desk.see(a_variant(q=0.9), poor(1), a_variant("bad2", q=0.9, n=121), proposal_limits=few)
    assert names(desk.open) == {"bad1"}, "bad2 recovered, without more evidence against bad1"


def test_an_equally_confident_proposal_waits_and_displaces_nothing() -> None:
    desk, few = Desk(), limits(max_open=1)
    desk.see(a_variant(q=0.9), poor(1), proposal_limits=few)
    assert desk.see(a_variant(q=0.9), poor(1), poor(2), proposal_limits=few) == []
    assert names(desk.open) == {"bad1"}


def deferred(proposal: m.Proposal, until: str | None = None) -> m.ReviewResult:
    return m.ReviewResult(
        proposal_id=proposal.proposal_id,
        review="deferred",
        outcome="applied",
        actor="ada",
        reason="",
        detail="",
        timestamp="2025-11-19T15:00:00Z",
        command_id="cmd-1",
        until=until,
    )


def test_a_deferred_proposal_keeps_its_place_and_does_not_count() -> None:
    desk, few = Desk(), limits(max_open=1)
    [first] = desk.see(a_variant(q=0.9), poor(1), proposal_limits=few)
    review = deferred(first)
    desk.see(a_variant(q=0.9), poor(1), poor(2, n=120), proposal_limits=few, reviews=[review])
    assert {one.target_variant: one.status for one in desk.open} == {"bad1": "deferred", "bad2": "pending"}


def test_a_deferred_proposal_that_comes_back_makes_no_task_exceed_the_cap() -> None:
    desk, few = Desk(), limits(max_open=1)
    [first] = desk.see(a_variant(q=0.9), poor(1, n=120), proposal_limits=few)
    review = deferred(first, until="2025-11-19T16:00:00Z")
    seen: dict[str, Any] = {"proposal_limits": few, "reviews": [review]}
    desk.see(a_variant(q=0.9), poor(1, n=120), poor(2), timestamp="2025-11-19T15:00:00Z", **seen)
    assert names(desk.open) == {"bad1", "bad2"}
    desk.see(a_variant(q=0.9), poor(1, n=120), poor(2), timestamp="2025-11-19T17:00:00Z", **seen)
    assert {one.target_variant: one.status for one in desk.open} == {"bad1": "pending"}
    assert desk.published[-1].history[-1].reason == (
        "there were more: the task may have 1 open (proposals.max_open); it is proposed again when there is room"
    )


def test_a_lower_cap_closes_the_least_confident_ones() -> None:
    desk = Desk()
    some = [poor(1), poor(2, n=120), poor(3)]
    desk.see(a_variant(q=0.9), *some, proposal_limits=limits(max_open=3))
    desk.see(a_variant(q=0.9), *some, proposal_limits=limits(max_open=1))
    assert names(desk.open) == {"bad2"}
    desk.see(a_variant(q=0.9), *some, proposal_limits=limits(max_open=3))
    assert names(desk.open) == {"bad1", "bad2", "bad3"}


# -- the confidence that a type may claim ------------------------------------------------------------
KEPT = m.KeptPromises(judged=4, helped=1, no_change=2, hurt=1)


@pytest.mark.parametrize(
    ("rule", "variants", "fields", "unbounded"),
    [
        ("create_specialized_variant", [a_variant(n=120)], {}, 0.75),
        ("modify_variant_parameters", [a_variant(n=120), a_variant("v2", q=0.5, n=120)], {}, 0.85),
        ("promote_variant_to_default", [a_variant(q=0.6, n=300), a_variant("v2", q=0.91, n=200)], {}, 1.0),
        (
            "enforce_task",
            [a_variant(n=120)],
            {
                "mode": "shadow",
                "scorecard": m.RollbackScorecard(
                    judged=9, right=9, wrong=0, open=0, avoidable=20, caused=1, outcomes=90
                ),
            },
            0.91,
        ),
    ],
)
def test_each_type_that_is_judged_claims_no_more_than_its_earlier_changes_have_earned(
    rule: str, variants: list[m.VariantSnapshot], fields: dict[str, Any], unbounded: float
) -> None:
    [free] = drafts(rule, *variants, **fields)
    [bound] = drafts(rule, *variants, benefits={rule: KEPT}, **fields)
    [other] = drafts(rule, *variants, benefits={"some_other_type": KEPT}, **fields)
    assert (free.confidence, bound.confidence, other.confidence) == (unbounded, 0.33, unbounded)
    assert " of this task" in bound.reasoning
    assert "1 helped." in bound.reasoning
    assert bound.reasoning.splitlines()[-1] == free.reasoning.splitlines()[-1], "the suggestion stays the last line"


def test_a_retirement_is_judged_by_nothing_and_bounded_by_nothing() -> None:
    [draft] = drafts("retire_underperforming_variant", a_variant(q=0.9), poor(1), benefits={"enforce_task": KEPT})
    assert draft.confidence == 0.7


def approved(task: Task, variant: str, kind: str | None = "modify_variant_parameters") -> m.CommandResult:
    """Approve the creation of a variant that a proposal of this type wanted."""
    command = a_command(
        m.ApproveProposal,
        proposal_id=f"prop-{variant}",
        change=m.Change(action="register", variant_id=variant, parent="default"),
        proposal_type=kind,
    )
    [result] = [fact for fact in task.take(command) if isinstance(fact, m.CommandResult)]
    return result


def benefits(task: Task) -> dict[str, m.KeptPromises]:
    return task.stated(m.TaskSnapshot)[-1].benefits or {}


def test_a_variant_that_a_proposal_created_is_counted_for_its_type_once_it_is_active_and_judged() -> None:
    task = proven(SHADOW)
    assert approved(task, "v2").outcome == "applied"
    task.run("v2", "SF" * 10, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "SF" * 10)
    assert benefits(task) == {}, "only the last judgement counts"
    task.run("v2", "SF" * 15)
    assert benefits(task) == {"modify_variant_parameters": m.KeptPromises(judged=1, helped=0, no_change=0, hurt=1)}
    task.order(m.ActivateVariant, variant_id="default")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "SF" * 25)
    assert benefits(task)["modify_variant_parameters"].judged == 1, "it is judged once"


def test_an_approval_that_names_no_type_is_counted_for_none() -> None:
    task = proven(SHADOW)
    approved(task, "v2", None)
    task.run("v2", "SF" * 10, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "SF" * 25)
    assert benefits(task) == {}


def test_an_approval_cannot_make_a_variant_speak_for_a_type_that_creates_none() -> None:
    task = proven(SHADOW)
    approved(task, "v2", "retire_underperforming_variant")
    task.run("v2", "SF" * 10, variant_source="explore")
    task.order(m.ActivateVariant, variant_id="v2")
    task.run("v2", "SF" * 25)
    assert benefits(task) == {}


def test_rollbacks_that_helped_are_counted_for_proposals_to_enforce_them() -> None:
    task = proven(bad="S" * 30)
    task.order(m.ActivateVariant, variant_id="bad")
    while task.row.active == "bad":
        task.run("bad", "F")
    task.run("default", "S" * 50)
    assert benefits(task) == {"enforce_task": m.KeptPromises(judged=1, helped=1, no_change=0, hurt=0)}
