"""The weekly review: proposals made in the last seven days, those still waiting, and the five to decide first.

Guide: "Every Monday: review pending proposals", sorted by confidence, the top five; approve, reject or defer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages import Proposal
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.proposals.standing import select, status_at

WEEK_MS: Final = 7 * 86_400_000
TOP: Final = 5


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one review."""

    until: str
    """The time of the review; the week is the seven days before it."""
    generated: int
    """Number of proposals made in the week."""
    generated_by_type: dict[str, int]
    decided: dict[str, int]
    """Proposals closed in the week, by status."""
    pending: int
    deferred: int
    top: list[Proposal]
    """Pending proposals, most confident first, at most five; a deferred one is left out until it is due."""


def digest(proposals: Iterable[Proposal], now: int) -> Digest:
    """Return the review of ``proposals``, each in its last revision, at ``now`` (milliseconds)."""
    known = list(proposals)
    week = [proposal for proposal in known if now - WEEK_MS < from_text(proposal.timestamp) <= now]
    waiting, deferred = select(known, now, ("pending",)), select(known, now, ("deferred",))
    decided: Counter[str] = Counter()
    for proposal in known:
        status = status_at(proposal, now)
        # A proposal expires at ``expires_at``, whether or not the proposer has recorded this yet.
        at = proposal.expires_at if status == "expired" else proposal.history[-1].timestamp if proposal.history else ""
        if status not in OPEN_STATUSES and at and now - WEEK_MS < from_text(at) <= now:
            decided[status] += 1
    return Digest(
        until=to_text(now),
        generated=len(week),
        generated_by_type=dict(sorted(Counter(proposal.proposal_type for proposal in week).items())),
        decided=dict(sorted(decided.items())),
        pending=len(waiting),
        deferred=len(deferred),
        top=waiting[:TOP],
    )


def digest_text(review: Digest) -> str:
    """Return the review as text to print or mail; equal figures give equal bytes."""
    kinds = ", ".join(f"{count} {name}" for name, count in review.generated_by_type.items())
    lines = [f"Generated {review.generated} proposals this week:{f' {kinds}' if kinds else ' none'}"]
    if review.decided:
        lines.append("Closed this week: " + ", ".join(f"{count} {name}" for name, count in review.decided.items()))
    lines.append(f"Pending: {review.pending}, deferred: {review.deferred}")
    if review.top:
        lines += ["", f"Top {len(review.top)} by confidence:"]
    for proposal in review.top:
        lines += ["", *brief(proposal)]
    return "\n".join(lines)


def brief(proposal: Proposal) -> Sequence[str]:
    """Return the guide's lines about one proposal, and the command that shows it for a decision."""
    reasoning = " ".join("".join(c if c.isprintable() else " " for c in proposal.reasoning).split())
    return [
        proposal.proposal_id,
        f"  Agent: {proposal.agent_name}",
        f"  Task: {proposal.task_type}",
        f"  Confidence: {proposal.confidence:.0%}",
        f"  Type: {proposal.proposal_type}",
        f"  Reasoning: {reasoning}",
        f"  Decide: crl proposals show {proposal.proposal_id}",
    ]
