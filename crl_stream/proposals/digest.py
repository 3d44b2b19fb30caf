"""The weekly review: proposals of the last seven days, what waits for a person, the five to decide first, what helped.

Guide: "Every Monday: review pending proposals", sorted by confidence, the top five; approve, reject or defer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages import Benefit, Overview, Proposal, WaitingRollback
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.overview.review import not_reviewed, rollback_words
from crl_stream.core.reach import reach_fields
from crl_stream.proposals.standing import age_of, select, status_at

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
    oldest_pending: str | None
    """When the proposal that has waited longest was made; None if none is waiting."""
    unreviewed: int | None
    """Rollbacks that no person has confirmed or undone; None if no overview of the fleet is known."""
    oldest_unreviewed: WaitingRollback | None
    """The one that has waited longest."""
    helped: dict[str, dict[str, int]]
    """Changes of the week that have been judged: findings by cause, such as ``approval``."""
    top: list[Proposal]
    """Pending proposals, most confident first, at most five; a deferred one is left out until it is due."""


def digest(
    proposals: Iterable[Proposal], now: int, benefits: Iterable[Benefit] = (), overview: Overview | None = None
) -> Digest:
    """Return the review of ``proposals``, each in its last revision, at ``now`` (milliseconds).

    ``benefits`` are the judgements of changes, in the order of the topic; the last one of each change counts.
    ``overview`` is the page from which the daily message takes the rollbacks that wait.
    """
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
        oldest_pending=min((proposal.timestamp for proposal in waiting), default=None),
        unreviewed=None if overview is None else overview.n_unreviewed,
        oldest_unreviewed=None if overview is None else next(iter(overview.unreviewed), None),
        helped=helped_of(benefits, now),
        top=waiting[:TOP],
    )


def helped_of(benefits: Iterable[Benefit], now: int) -> dict[str, dict[str, int]]:
    """Return how many changes of the week before ``now`` had which finding, by cause.

    ``benefits`` are oldest first: of each change, the last judgement counts.
    """
    last = {(one.agent_name, one.task_type, one.epoch): one for one in benefits}
    found: dict[str, Counter[str]] = {}
    for one in last.values():
        if now - WEEK_MS < from_text(one.timestamp) <= now:
            found.setdefault(one.cause, Counter())[one.finding] += 1
    return {cause: dict(sorted(count.items())) for cause, count in sorted(found.items())}


def benefit_lines(helped: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each cause: ``approval: 7 of 9 helped, 1 hurt, 1 no change``; open ones are not counted.

    >>> benefit_lines({"approval": {"helped": 7, "hurt": 1, "no_change": 1}, "undo": {"open": 1}})
    ['approval: 7 of 9 helped, 1 hurt, 1 no change', 'undo: 1 had too few outcomes to tell']
    """
    lines = []
    for cause, count in helped.items():
        judged = sum(number for finding, number in count.items() if finding != "open")
        words = f"{count.get('helped', 0)} of {judged} helped" if judged else ""
        words += "".join(
            f", {count[finding]} {finding.replace('_', ' ')}" for finding in ("hurt", "no_change") if count.get(finding)
        )
        if count.get("open"):
            words += f"{'; ' if words else ''}{count['open']} had too few outcomes to tell"
        lines.append(f"{cause.replace('_', ' ')}: {words}")
    return lines


def digest_text(review: Digest) -> str:
    """Return the review as text to print or mail; equal figures give equal bytes."""
    kinds = ", ".join(f"{count} {name}" for name, count in review.generated_by_type.items())
    proposals = f"{review.generated} proposal{'' if review.generated == 1 else 's'}"
    lines = [f"Generated {proposals} this week:{f' {kinds}' if kinds else ' none'}"]
    if review.decided:
        lines.append("Closed this week: " + ", ".join(f"{count} {name}" for name, count in review.decided.items()))
    lines.append(f"Pending: {review.pending}, deferred: {review.deferred}")
    if review.oldest_pending is not None:
        lines[-1] += f"; the oldest has waited {_age(review.oldest_pending, review)}"
    lines += _rollbacks(review)
    if review.helped:
        lines += ["Changes judged this week:", *(f"  {line}" for line in benefit_lines(review.helped))]
    if review.top:
        lines += ["", f"Top {len(review.top)} by confidence:"]
    for proposal in review.top:
        lines += ["", *brief(proposal)]
    return "\n".join(lines)


def _rollbacks(review: Digest) -> list[str]:
    """Return the rollbacks that wait for a person, in the words of the daily message."""
    if review.unreviewed is None:
        return ["Rollbacks not reviewed: not known, because no worker has published an overview yet"]
    lines, oldest = [f"To review: {not_reviewed(review.unreviewed)}"], review.oldest_unreviewed
    if oldest is not None:
        lines[-1] += "; all of them: crl rollbacks" if review.unreviewed > 1 else ""
        lines.append(
            f"  the oldest: {rollback_words(oldest, _age(oldest.since, review))}; or: crl undo {oldest.rollback_id}"
        )
    return lines


def _age(since: str, review: Digest) -> str:
    """Return how long something has waited, in days or hours."""
    return age_of(from_text(since), from_text(review.until))


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
        *(f"  {name}: {words}" for name, words in reach_fields(proposal)),
        f"  Decide: crl proposals show {proposal.proposal_id}",
        *([f"  Undo afterwards: {proposal.undo_command}"] if proposal.undo_command else []),
    ]
