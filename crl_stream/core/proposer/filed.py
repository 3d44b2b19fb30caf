"""Proposals that were filed from outside: the draft of each, and what the reviewer reads about it.

The monitor has checked and accepted them (``core/monitor/filing``), and its snapshot lists the open ones.  They have
the guide's type for a new variant and the trigger ``external``.  No claim of their source decides anything.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages import CandidateEvidence, FiledProposal, Proposal, TaskSnapshot
from crl_stream.core.messages.parts import ProposalType
from crl_stream.core.proposer.draft import Draft, View

TYPE: Final[ProposalType] = "create_specialized_variant"
"""The guide's type: an approval creates a variant for this task."""
CONFIDENCE: Final = 0.5
"""The lowest confidence of any proposal, because no outcome of a live invocation supports the candidate yet."""


def draft_of(view: View, filed: FiledProposal) -> Draft:
    """Return the draft of a filed proposal, with the figures of the active variant beside the claim."""
    active, change, filing = view.active, filed.change, filed.filing
    made = f", made from {change.parent}" if change.parent else ""
    claim = claim_of(filing.evidence)
    said = f"\n{filing.reason}" if filing.reason else ""
    return Draft(
        "external",
        change.variant_id,
        active.n_visits,
        CONFIDENCE,
        f"{filing.source} proposes {change.variant_id} for {view.snapshot.task_type} tasks{made}, filed by "
        f"{filing.actor}.{said}\n"
        + (f"It claims: {claim}." if claim else "It gives no evidence.")
        + " No live invocation has used the candidate yet.",
        f"filed, source: {filing.source}" + (f": {claim}" if claim else ""),
        active.q_value,
        gain_of(filing.evidence),
        active.reward_variance,
        change,
        change.modifications,
    )


def claim_of(evidence: CandidateEvidence | None) -> str:
    """Return the evidence in words: ``accuracy from 0.61 to 0.78 on 120 examples of refund-dev``; empty without any.

    >>> claim_of(CandidateEvidence(n=120, metric="accuracy", score_before=0.61, score_after=0.78))
    'accuracy from 0.61 to 0.78 on 120 examples'
    """
    if evidence is None:
        return ""
    before, after = evidence.score_before, evidence.score_after
    words = []
    if after is not None:
        words.append(
            f"{evidence.metric or 'score'} " + (f"{after:g}" if before is None else f"from {before:g} to {after:g}")
        )
    elif before is not None:
        words.append(f"{evidence.metric or 'score'} {before:g} before")
    if evidence.n is not None:
        words.append(f"on {evidence.n} example{'' if evidence.n == 1 else 's'}")
    if evidence.dataset is not None:
        words.append(f"of {evidence.dataset}")
    if evidence.url is not None:
        words.append(f"({evidence.url})")
    return " ".join(words)


def gain_of(evidence: CandidateEvidence | None) -> float:
    """Return the claimed improvement on the source's own scale; 0 unless both scores are given."""
    if evidence is None or evidence.score_before is None or evidence.score_after is None:
        return 0.0
    return evidence.score_after - evidence.score_before


def lapse(snapshot: TaskSnapshot, proposal: Proposal) -> str | None:
    """Return why an open filed proposal can no longer be approved; None if it can."""
    target = proposal.target_variant
    if any(v.variant_id == target and (v.n_visits or v.retired or v.configuration) for v in snapshot.variants):
        return f"{target} already exists"
    if all(filed.proposal_id != proposal.proposal_id for filed in snapshot.filed):
        return "the task's record no longer has it; file it again"
    return None
