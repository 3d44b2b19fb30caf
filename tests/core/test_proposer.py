"""The life of a proposal, snapshot by snapshot: opened, revised, reviewed, deferred, superseded and expired."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from builders import AGENT, AT

from crl_stream.core import messages as m
from crl_stream.core.proposer.step import approval_of

from .desk import Desk, opened
from .snapshots import GUIDES, SECURITY, a_review, a_variant, limits, waiting_for_approval


# -- opened ----------------------------------------------------------------------------------------
def test_a_proposal_has_the_guides_fields_under_the_guides_names() -> None:
    _, proposal = opened()
    document = msgspec.to_builtins(proposal)
    guide = "proposal_id timestamp agent_name task_type proposal_type reasoning confidence supporting_data"
    assert list(document)[:10] == [*guide.split(), "recommended_modifications", "status"]
    assert (document["agent_name"], document["task_type"]) == ("backend-architect", "security-audit")
    assert document["proposal_type"] == "create_specialized_variant"
    assert document["tracker_type"] == "crl_create_specialized_variant"
    assert document["supporting_data"] == {
        "n_invocations": 60,
        "avg_q_default": 0.5,
        "potential_improvement": 0.3,
        "variance": 0.12,
    }
    assert " ".join(document["supporting_data"]) == "n_invocations avg_q_default potential_improvement variance"
    assert len(document["recommended_modifications"]) == len(GUIDES)
    assert document["status"] == "pending"
    assert document["expires_at"] == "2025-12-19T14:30:00.000Z"
    prefix, _, rest = document["proposal_id"].partition("-20251119-")
    assert prefix == "prop"
    assert len(rest) >= 8 and set(rest) <= set("0123456789abcdef")


def test_days_until_it_expires_are_those_of_the_snapshot() -> None:
    [proposal] = Desk().see(a_variant(), proposal_limits=limits(expires_days=7))
    assert proposal.expires_at == "2025-11-26T14:30:00.000Z"


@pytest.mark.parametrize("older", [{"offset": 110}, {"offset": 109}, {"offset": 500, "incarnation": -1}])
def test_a_snapshot_that_is_not_newer_changes_nothing(older: dict[str, Any]) -> None:
    desk, _ = opened()
    before = desk.data
    assert desk.see(a_variant(q=0.9), **older) == []
    assert desk.data == before


def test_a_log_made_anew_is_newer_whatever_its_offsets() -> None:
    desk, _ = opened()
    assert desk.see(a_variant(q=0.9), offset=0, incarnation=1)


def test_what_is_said_once_is_not_said_again() -> None:
    desk, _ = opened()
    for _ in range(5):
        assert desk.see(a_variant()) == []


# -- revised ---------------------------------------------------------------------------------------
def test_a_revision_needs_half_as_much_evidence_again() -> None:
    desk, first = opened()
    assert desk.see(a_variant(n=89)) == []
    [second] = desk.see(a_variant(q=0.4, n=90))
    assert (second.proposal_id, second.revision, second.status) == (first.proposal_id, 2, "pending")
    assert (second.supporting_data["n_invocations"], second.supporting_data["avg_q_default"]) == (90, 0.4)
    assert second.position.offset == desk.offset
    assert [entry.reason for entry in second.history] == [
        "60 invocations, Q-value 0.50",
        "new evidence: 90 invocations, Q-value 0.40",
    ]
    assert (second.timestamp, second.expires_at) == (first.timestamp, first.expires_at)


def test_a_class_of_confidence_that_changes_is_worth_a_revision_with_a_tenth_more_evidence() -> None:
    desk = Desk()
    desk.see(a_variant(n=95))
    assert desk.see(a_variant(n=104)) == []
    [revised] = desk.see(a_variant(n=105))
    assert (revised.revision, revised.confidence) == (2, 0.75)


def test_a_trigger_that_changes_is_worth_a_revision_too_and_may_not_flap() -> None:
    desk = Desk()
    [first] = desk.see(a_variant(q=0.6, n=200), waiting_for_approval("v2", 0.79, 40))
    assert first.trigger == "medium_confidence"
    assert desk.see(a_variant(q=0.55, n=200), waiting_for_approval("v2", 0.79, 43)) == []
    [second] = desk.see(a_variant(q=0.55, n=200), waiting_for_approval("v2", 0.79, 44))
    assert (second.revision, second.trigger, second.proposal_id) == (2, "performance_gap", first.proposal_id)
    for n in range(45, 49):
        assert desk.see(a_variant(q=0.6 if n % 2 else 0.55, n=200), waiting_for_approval("v2", 0.79, n)) == []


def test_revisions_grow_with_the_logarithm_of_the_evidence() -> None:
    desk = Desk()
    for n in range(50, 3_000, 10):
        desk.see(a_variant(n=n))
    assert len(desk.published) <= 12
    assert len(desk.open) == 1


# -- reviewed --------------------------------------------------------------------------------------
def test_a_rejection_closes_it_and_keeps_reason_and_actor() -> None:
    desk, first = opened()
    [closed] = desk.see(a_variant(n=61), reviews=[a_review(first, "rejected")])
    assert (closed.status, closed.revision) == ("rejected", 2)
    assert (closed.history[-1].actor, closed.history[-1].reason) == ("ada", "too early")
    assert desk.open == []


def test_a_rejected_proposal_stays_silent_until_its_evidence_has_doubled() -> None:
    desk, first = opened()
    rejected = [a_review(first, "rejected")]
    desk.see(a_variant(n=60), reviews=rejected)
    for n in (60, 75, 90, 119):
        assert desk.see(a_variant(n=n), reviews=rejected) == []
    [again] = desk.see(a_variant(n=120), reviews=rejected)
    assert (again.status, again.revision, again.target_variant) == ("pending", 1, first.target_variant)
    assert again.proposal_id != first.proposal_id


def test_the_evidence_that_has_to_double_is_what_there_was_when_it_was_rejected() -> None:
    desk, first = opened()
    desk.see(a_variant(n=80), reviews=[a_review(first, "rejected")])
    assert desk.see(a_variant(n=159)) == []
    assert desk.see(a_variant(n=160))


def test_the_silence_outlasts_a_change_of_the_active_variant() -> None:
    desk = Desk()
    [first] = desk.see(a_variant(), a_variant("v2", q=0.1))[:1]
    retire = next(p for p in desk.open if p.proposal_type == "retire_underperforming_variant")
    desk.see(a_variant(), a_variant("v2", q=0.1), reviews=[a_review(retire, "rejected")])
    assert first.status == "pending"
    moved = desk.see(a_variant("v3", q=0.9), a_variant(), a_variant("v2", q=0.1), epoch=2)
    assert [p for p in moved if p.target_variant == "v2"] == []


def test_a_refused_review_leaves_it_open() -> None:
    desk, first = opened()
    assert desk.see(a_variant(), reviews=[a_review(first, "approved", outcome="refused")]) == []
    assert [p.status for p in desk.open] == ["pending"]


def test_an_approval_closes_it_although_the_change_has_moved_the_epoch() -> None:
    desk = Desk()
    [first] = desk.see(a_variant(), a_variant("v2", q=0.9))
    approved = desk.see(a_variant("v2", q=0.9), a_variant(), epoch=2, reviews=[a_review(first, "approved")])
    assert [(p.proposal_id, p.status) for p in approved][:1] == [(first.proposal_id, "approved")]


def test_a_review_of_another_proposal_is_not_its_own() -> None:
    desk, first = opened()
    other = msgspec.structs.replace(first, proposal_id="prop-20251119-00000000")
    assert desk.see(a_variant(), reviews=[a_review(other, "rejected")]) == []


def test_a_deferred_one_stays_open_and_comes_back_when_it_was_said() -> None:
    desk, first = opened()
    put_off = [a_review(first, "deferred", until="2025-11-20T00:00:00Z")]
    [deferred] = desk.see(a_variant(), reviews=put_off)
    assert (deferred.status, deferred.deferred_until) == ("deferred", "2025-11-20T00:00:00Z")
    assert deferred.history[-1].reason == "deferred until 2025-11-20T00:00:00Z: too early"
    assert deferred.history[-1].actor == "ada"
    assert desk.see(a_variant(), reviews=put_off, hours=9.49) == []
    [back] = desk.see(a_variant(), reviews=put_off, hours=9.5)
    assert (back.status, back.deferred_until, back.revision) == ("pending", None, 3)
    assert desk.see(a_variant(), reviews=put_off, hours=10) == [], (
        "a review that is seen again does not defer the proposal again"
    )
    again = [*put_off, a_review(first, "deferred", command_id="cmd-2"), a_review(first, "rejected")]
    assert [p.status for p in desk.see(a_variant(), reviews=again, hours=11)] == ["deferred", "rejected"]


def test_new_evidence_does_not_bring_a_deferred_one_back_before_its_time() -> None:
    desk, first = opened()
    put_off = [a_review(first, "deferred", until="2025-11-20T00:00:00Z")]
    desk.see(a_variant(), reviews=put_off)
    [revised] = desk.see(a_variant(n=120), reviews=put_off, hours=1)
    assert (revised.status, revised.deferred_until) == ("deferred", "2025-11-20T00:00:00Z")
    [back] = desk.see(a_variant(n=120), reviews=put_off, hours=10)
    assert back.status == "pending"


def test_one_that_is_deferred_without_an_end_waits_for_a_review_and_still_gathers_evidence() -> None:
    desk, first = opened()
    put_off = [a_review(first, "deferred", reason="")]
    [deferred] = desk.see(a_variant(), reviews=put_off)
    assert deferred.history[-1].reason == "deferred"
    [revised] = desk.see(a_variant(n=120), reviews=put_off, hours=600)
    assert (revised.status, revised.supporting_data["n_invocations"]) == ("deferred", 120)
    made = a_variant("default-v2", n=0, configuration=m.VariantConfiguration(parent="default"))
    [approved] = desk.see(a_variant(n=120), made, reviews=[*put_off, a_review(first, "approved")], hours=601)
    assert approved.status == "approved"


# -- superseded and expired ------------------------------------------------------------------------
def test_it_is_superseded_when_the_epoch_moves_and_made_anew_where_it_is_still_right() -> None:
    desk = Desk()
    [first] = [p for p in desk.see(a_variant(q=0.8), a_variant("v2", q=0.1)) if p.target_variant == "v2"]
    closed, anew = desk.see(a_variant("v3", q=0.8), a_variant(q=0.7), a_variant("v2", q=0.1), epoch=2)
    assert (closed.proposal_id, closed.status) == (first.proposal_id, "superseded")
    assert closed.history[-1].reason == "made for epoch 1; v3 has since become active (epoch 2)"
    assert (anew.target_variant, anew.status, anew.epoch) == ("v2", "pending", 2)
    assert anew.proposal_id != first.proposal_id


def test_it_is_superseded_when_its_ground_is_lost_and_comes_back_with_half_as_much_evidence_again() -> None:
    desk, first = opened()
    [closed] = desk.see(a_variant(q=0.61, n=64))
    assert (closed.proposal_id, closed.status) == (first.proposal_id, "superseded")
    assert closed.history[-1].reason == "Q-value 0.61 >= 0.6 after 64 invocations"
    assert desk.see(a_variant(q=0.59, n=89)) == []
    assert [p.status for p in desk.see(a_variant(q=0.59, n=90))] == ["pending"]


def test_a_figure_that_swings_about_its_limit_makes_few_proposals() -> None:
    desk = Desk()
    for n in range(50, 1_000):
        desk.see(a_variant(q=0.59 if n % 2 else 0.61, n=n))
    assert len({p.proposal_id for p in desk.published}) <= 8


def test_it_expires_after_30_days_and_says_so_when_a_later_snapshot_shows_it() -> None:
    desk, first = opened()
    assert desk.see(a_variant(), hours=30 * 24) == [], (
        "the proposal can be approved up to and including the last instant"
    )
    [expired] = desk.see(a_variant(), hours=30 * 24 + 1)
    assert (expired.proposal_id, expired.status) == (first.proposal_id, "expired")
    assert expired.history[-1].reason == "not reviewed by 2025-12-19T14:30:00.000Z"
    assert desk.see(a_variant(n=89), hours=31 * 24) == []
    assert [p.status for p in desk.see(a_variant(n=90), hours=31 * 24)] == ["pending"]


def test_an_approval_orders_the_change_word_for_word() -> None:
    _, proposal = opened()
    command = approval_of(proposal, schema_version=1, command_id="c1", timestamp=AT, actor="ada", reason="yes")
    assert command.change == proposal.change
    assert (command.expected_epoch, command.valid_until) == (1, proposal.expires_at)
    assert (command.proposal_id, command.agent_name, command.task_type) == (proposal.proposal_id, AGENT, SECURITY)
