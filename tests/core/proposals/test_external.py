"""Proposals from outside at the proposer: opened, taken into a new epoch, reviewed and closed like all others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.desk import Desk
from core.snapshots import a_review, a_variant
from crl_stream.core import messages as m
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.monitor.filing import MAX_FILED, MAX_OPEN
from crl_stream.core.policy_size import MAX_TASK
from crl_stream.core.proposer.filed import claim_of, gain_of
from crl_stream.core.proposer.row import decode_row

GOOD = a_variant(q=0.9)
"""An active variant for which the proposer has nothing to propose."""
WEAK = a_variant(q=0.5)


def a_filing(name: str = "v9", number: int = 1, **fields: Any) -> m.FiledProposal:
    """Build a filed proposal as the snapshot lists it."""
    change = m.Change(action="register", variant_id=name, parent="default", configuration={"prompt": "p"})
    given: dict[str, Any] = {
        "proposal_id": f"prop-20251119-{number:012x}",
        "timestamp": "2025-11-19T14:30:00Z",
        "expires_at": "2025-12-19T14:30:00Z",
        "change": change,
        "filing": m.Filing(
            command_id=f"cmd-{number}",
            actor="nightly",
            source="gepa@0.1.4",
            reason="shorter",
            evidence=m.CandidateEvidence(n=120, metric="accuracy", score_before=0.61, score_after=0.78),
        ),
    }
    return m.FiledProposal(**(given | fields))


def opened(*others: m.FiledProposal) -> tuple[Desk, m.Proposal]:
    desk = Desk()
    return desk, desk.see(GOOD, filed=[a_filing(), *others])[0]


def test_it_has_the_guides_type_the_monitors_id_and_says_who_claims_what() -> None:
    _, proposal = opened()
    filed = a_filing()
    assert (proposal.proposal_id, proposal.status, proposal.revision) == (filed.proposal_id, "pending", 1)
    assert (proposal.proposal_type, proposal.trigger) == ("create_specialized_variant", "external")
    assert (proposal.target_variant, proposal.change, proposal.filing) == ("v9", filed.change, filed.filing)
    assert (proposal.timestamp, proposal.expires_at) == (filed.timestamp, filed.expires_at)
    assert "gepa@0.1.4 proposes v9" in proposal.reasoning
    assert "accuracy from 0.61 to 0.78 on 120 examples" in proposal.reasoning
    assert proposal.confidence == 0.5, "a claim alone never ranks above what was measured"
    assert list(proposal.supporting_data) == ["n_invocations", "avg_q_default", "potential_improvement", "variance"]
    assert proposal.supporting_data["potential_improvement"] == pytest.approx(0.17)
    assert proposal.history[0].actor == "nightly"


def test_what_became_of_earlier_ones_is_not_added_to_the_reason_that_a_person_gave() -> None:
    kept = {"create_specialized_variant": m.KeptPromises(judged=4, helped=1, no_change=2, hurt=1)}
    [proposal] = Desk().see(GOOD, filed=[a_filing()], benefits=kept)
    assert proposal.confidence == 0.33
    first, reason, _ = proposal.reasoning.splitlines()
    assert first.endswith("that became active, 1 helped.")
    assert reason == "shorter"


def test_it_is_opened_once_however_often_the_snapshot_lists_it() -> None:
    desk, _ = opened()
    assert [desk.see(GOOD, filed=[a_filing()]) for _ in range(5)] == [[]] * 5


def test_a_new_epoch_gives_it_a_revision_that_can_be_approved_there() -> None:
    desk, first = opened()
    [revised] = desk.see(a_variant("v2", q=0.7), GOOD, filed=[a_filing()], epoch=2)
    assert (revised.proposal_id, revised.status, revised.epoch) == (first.proposal_id, "pending", 2)
    assert revised.history[-1].reason == "v2 is active now (epoch 2)"
    assert revised.supporting_data["avg_q_default"] == 0.7
    assert (revised.change, revised.expires_at) == (first.change, first.expires_at)


@pytest.mark.parametrize("review", ["approved", "rejected"])
def test_a_review_closes_it_with_name_and_reason(review: str) -> None:
    desk, proposal = opened()
    [closed] = desk.see(GOOD, reviews=[a_review(proposal, review)])
    assert (closed.status, closed.history[-1].actor, closed.history[-1].reason) == (review, "ada", "too early")
    assert desk.open == []


def test_a_deferred_one_is_due_again_and_keeps_its_epoch_up_to_date() -> None:
    desk, proposal = opened()
    review = a_review(proposal, "deferred", until="2025-11-21T00:00:00Z")
    [deferred] = desk.see(GOOD, filed=[a_filing()], reviews=[review])
    assert (deferred.status, deferred.deferred_until) == ("deferred", "2025-11-21T00:00:00Z")
    [moved] = desk.see(a_variant("v2", q=0.9), GOOD, filed=[a_filing()], reviews=[review], epoch=2)
    assert (moved.status, moved.deferred_until, moved.epoch) == ("deferred", "2025-11-21T00:00:00Z", 2)
    [due] = desk.see(a_variant("v2", q=0.9), GOOD, filed=[a_filing()], reviews=[review], epoch=2, hours=48.0)
    assert (due.status, due.deferred_until) == ("pending", None)


def test_it_expires_and_is_not_opened_again_even_if_it_is_still_listed() -> None:
    desk, _ = opened()
    [expired] = desk.see(GOOD, filed=[a_filing()], hours=31 * 24.0)
    assert expired.status == "expired"
    assert desk.see(GOOD, filed=[a_filing()], hours=31 * 24.0) == []
    assert desk.see(GOOD, filed=[a_filing()], hours=32 * 24.0) == []


@pytest.mark.parametrize(
    ("variants", "filed", "why"),
    [
        ([GOOD, a_variant("v9", n=1)], [a_filing()], "v9 already exists"),
        ([GOOD, a_variant("v9", n=0, configuration=m.VariantConfiguration())], [], "v9 already exists"),
        ([GOOD], [], "the task's record no longer has it; file it again"),
    ],
)
def test_it_ends_when_it_can_no_longer_be_approved(
    variants: list[m.VariantSnapshot], filed: list[m.FiledProposal], why: str
) -> None:
    desk, _ = opened()
    [ended] = desk.see(*variants, filed=filed)
    assert (ended.status, ended.history[-1].reason) == ("superseded", why)
    assert desk.see(*variants, filed=filed) == []


def test_shadow_outcomes_of_the_candidate_do_not_end_it() -> None:
    desk, _ = opened()
    assert desk.see(GOOD, a_variant("v9", n=0, shadow_n=30), filed=[a_filing()]) == []


def test_a_proposal_of_the_proposer_gives_way_to_a_filed_one_for_the_same_name_and_takes_another() -> None:
    desk = Desk()
    [own] = desk.see(WEAK)
    assert own.target_variant == "default-v2"
    published = desk.see(WEAK, filed=[a_filing("default-v2")])
    assert [(p.status, p.target_variant, p.trigger) for p in published] == [
        ("superseded", "default-v2", "no_specialized_variant"),
        ("pending", "default-v2", "external"),
        ("pending", "default-v3", "no_specialized_variant"),
    ]
    assert published[0].history[-1].reason == f"nightly has proposed default-v2 as {a_filing().proposal_id}"


def test_filed_and_own_proposals_stay_open_side_by_side() -> None:
    desk = Desk()
    desk.see(WEAK, filed=[a_filing(), a_filing("v10", 2)])
    assert sorted(p.target_variant for p in desk.open) == ["default-v2", "v10", "v9"]


def test_a_proposer_that_lost_its_rows_publishes_them_under_the_same_ids() -> None:
    desk, proposal = opened()
    again = Desk()
    again.offset = desk.offset
    assert [p.proposal_id for p in again.see(GOOD, filed=[a_filing()])] == [proposal.proposal_id]


def test_rows_of_older_proposers_are_read_as_before() -> None:
    desk, _ = opened()
    assert desk.data is not None
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(desk.data)[:8])
    assert decode_row(older) == decode_row(desk.data)


def test_the_largest_filed_proposals_fit_into_the_proposers_row() -> None:
    prompt = {"prompt": "p" * (MAX_FILED - 1_000)}
    change = msgspec.structs.replace(a_filing().change, configuration=prompt)
    modification = m.Modification(section="s", operation="replace", content="p" * (MAX_FILED - 1_000))
    both = [change, msgspec.structs.replace(change, configuration=None, modifications=[modification])]
    for one in both:
        desk = Desk()
        names = [f"v{n}" for n in range(MAX_OPEN)]
        desk.see(
            GOOD,
            filed=[
                a_filing(name, n, change=msgspec.structs.replace(one, variant_id=name)) for n, name in enumerate(names)
            ],
        )
        assert len(desk.open) == MAX_OPEN
        assert desk.data is not None and len(desk.data) < MAX_TASK // 4
        assert {p.status for p in desk.open} <= OPEN_STATUSES


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (None, ""),
        (m.CandidateEvidence(), ""),
        (m.CandidateEvidence(score_after=0.5), "score 0.5"),
        (m.CandidateEvidence(score_before=0.5, metric="f1"), "f1 0.5 before"),
        (m.CandidateEvidence(n=1, dataset="d"), "on 1 example of d"),
        (m.CandidateEvidence(url="https://example.com/7"), "(https://example.com/7)"),
    ],
)
def test_a_claim_is_told_with_what_it_has(evidence: m.CandidateEvidence | None, words: str) -> None:
    assert claim_of(evidence) == words


@pytest.mark.parametrize(
    ("parent", "said"), [("default", "tasks, made from default, filed by"), (None, "tasks, filed by")]
)
def test_it_says_from_which_variant_the_candidate_was_made(parent: str | None, said: str) -> None:
    desk, filed = Desk(), a_filing()
    [proposal] = desk.see(
        GOOD, filed=[msgspec.structs.replace(filed, change=msgspec.structs.replace(filed.change, parent=parent))]
    )
    assert said in proposal.reasoning


@pytest.mark.parametrize(
    ("before", "after", "gain"), [(0.5, 0.75, 0.25), (0.75, 0.5, -0.25), (None, 0.75, 0.0), (0.5, None, 0.0)]
)
def test_the_gain_is_known_only_with_both_scores(before: float | None, after: float | None, gain: float) -> None:
    assert gain_of(m.CandidateEvidence(metric="x", score_before=before, score_after=after)) == gain
    assert gain_of(None) == 0.0
