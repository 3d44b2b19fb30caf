"""Enforcement is proposed for a task in shadow mode whose reported rollbacks were right."""

from __future__ import annotations

from typing import Any

import pytest

from core.snapshots import REMEDIES, a_snapshot, a_variant, drafts, limits, viewed
from crl_stream.core import messages as m
from crl_stream.core.proposer.row import decode_row
from crl_stream.core.proposer.rules import RULE_OF
from crl_stream.core.proposer.step import proposals_of, review_task

RULE = "enforce_task"


def a_card(right: int = 9, wrong: int = 0, **fields: Any) -> m.RollbackScorecard:
    given: dict[str, Any] = {"open": 0, "avoidable": 212, "caused": 0, "outcomes": 450}
    return m.RollbackScorecard(judged=right + wrong, right=right, wrong=wrong, **(given | fields))


def proposed(card: m.RollbackScorecard | None, mode: str = "shadow", **fields: Any) -> list[Any]:
    return drafts(RULE, a_variant(q=0.7), a_variant("v2", q=0.8), mode=mode, scorecard=card, **fields)


def test_nine_of_nine_right_is_reason_enough_and_names_the_setting() -> None:
    [draft] = proposed(a_card())
    assert (draft.trigger, draft.target, draft.evidence) == (
        "shadow_precision",
        "default",
        "9 of 9 right, 212 bad invocations avoidable",
    )
    assert draft.reasoning == (
        "9 of 9 right, 212 bad invocations avoidable: shadow mode has reported 9 rollbacks of this task without making "
        "them, and what happened next shows which were right.\n"
        'Suggest enforcing them: tasks."backend-architect/security-audit".operations.mode = "enforce".'
    )
    assert draft.change == m.Change(action="enforce", variant_id="default")
    assert (draft.confidence, round(draft.improvement, 3)) == (0.91, 0.471)
    assert draft.figures == {"judged": 9.0, "right": 9.0, "avoidable": 212.0, "caused": 0.0}


def test_what_stayed_open_and_what_would_have_been_caused_is_said() -> None:
    [draft] = proposed(a_card(9, 1, open=2, caused=3))
    assert draft.evidence == "9 of 10 right, 212 bad invocations avoidable, 3 caused"
    assert "reported 12 rollbacks" in draft.reasoning
    assert "; 2 more had too few outcomes to tell" in draft.reasoning


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_only_shadow_mode_can_be_left(mode: str) -> None:
    assert proposed(a_card(), mode=mode) == []


def test_nothing_is_proposed_without_a_score() -> None:
    assert proposed(None) == []


@pytest.mark.parametrize(("right", "wrong", "enough"), [(4, 0, False), (5, 0, True), (9, 1, True), (8, 1, False)])
def test_it_takes_five_judged_rollbacks_and_nine_of_ten_right(right: int, wrong: int, enough: bool) -> None:
    assert bool(proposed(a_card(right, wrong))) == enough


def test_the_limits_are_those_of_the_snapshot() -> None:
    assert proposed(a_card(2, 1), proposal_limits=limits(enforce_min_rollbacks=3, enforce_precision=0.6))
    assert not proposed(a_card(9), proposal_limits=limits(enforce_min_rollbacks=10))


def test_a_share_is_compared_in_decimals() -> None:
    assert proposed(a_card(7, 3), proposal_limits=limits(enforce_precision=0.7))
    assert not proposed(a_card(6, 4), proposal_limits=limits(enforce_precision=0.7))


def test_what_would_cause_more_than_it_avoids_is_not_proposed() -> None:
    assert not proposed(a_card(avoidable=3, caused=4))
    assert proposed(a_card(avoidable=4, caused=4))
    assert proposed(a_card(avoidable=0)), "rewards can fall without a single bad invocation"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"mode": "enforce", "scorecard": a_card()}, "the task is in enforce mode now"),
        ({"mode": "shadow", "scorecard": None}, "the thresholds have changed, and nothing has been judged by"),
        ({"mode": "shadow", "scorecard": a_card(9, 2)}, "9 of 11 right, 90% needed"),
        ({"mode": "shadow", "scorecard": a_card(3)}, "3 rollbacks judged, 5 needed"),
        (
            {"mode": "shadow", "scorecard": a_card(avoidable=1, caused=2)},
            "would have caused more than it avoids: 2 and 1",
        ),
    ],
)
def test_an_open_one_lapses_when_its_score_no_longer_suffices(fields: Any, why: str) -> None:
    found = RULE_OF[RULE].lapse(viewed(a_variant(), **fields), "default", "shadow_precision")
    assert found is not None and why in found
    assert (
        RULE_OF[RULE].lapse(viewed(a_variant(), mode="shadow", scorecard=a_card()), "default", "shadow_precision")
        is None
    )


def test_there_is_one_proposal_per_task_and_the_scorecard_is_in_its_figures() -> None:
    at = {"mode": "shadow", "scorecard": a_card()}
    data, first = review_task(None, a_snapshot(a_variant(q=0.9, n=80), **at), REMEDIES)
    [proposal] = first
    assert (proposal.proposal_type, proposal.tracker_type) == ("enforce_task", "crl_enforce_task")
    assert list(proposal.supporting_data)[4:] == ["judged", "right", "avoidable", "caused"]
    again = a_snapshot(a_variant(q=0.9, n=90), offset=200, **at)
    assert review_task(data, again, REMEDIES)[1] == []


def test_after_an_approval_it_is_not_proposed_again_before_the_policy_can_follow() -> None:
    at = {"mode": "shadow", "scorecard": a_card()}
    data, [proposal] = review_task(None, a_snapshot(a_variant(q=0.9, n=80), **at), REMEDIES)
    approved = m.ReviewResult(
        proposal_id=proposal.proposal_id,
        review="approved",
        outcome="applied",
        actor="ada",
        reason="",
        detail="",
        timestamp=proposal.timestamp,
        command_id="cmd-1",
    )
    for n, number in ((81, 0), (121, 0), (122, 1)):
        snapshot = a_snapshot(a_variant(q=0.9, n=n), offset=100 + n, reviews=[approved], **at)
        data, published = review_task(data, snapshot, REMEDIES)
        assert len([p for p in published if p.status == "pending"]) == number, n
    assert len(proposals_of(data)) == 1
    assert decode_row(data).carried == {}
