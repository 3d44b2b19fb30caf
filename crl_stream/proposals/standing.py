"""The current proposals: the highest revision of each, and its status at a given time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from crl_stream.core.instant import from_text
from crl_stream.core.messages import Proposal
from crl_stream.core.messages.parts import ProposalType
from crl_stream.core.messages.snapshots import OPEN_STATUSES, ProposalStatus

STATUSES: Final[tuple[str, ...]] = get_args(ProposalStatus)
TYPES: Final[tuple[str, ...]] = get_args(ProposalType)


def latest(messages: Iterable[Any]) -> list[Proposal]:
    """Return the highest revision of each proposal among the messages of ``crl.proposals``."""
    found: dict[str, Proposal] = {}
    for message in messages:
        if isinstance(message, Proposal):
            kept = found.get(message.proposal_id)
            if kept is None or message.revision >= kept.revision:
                found[message.proposal_id] = message
    return list(found.values())


def status_at(proposal: Proposal, now: int) -> str:
    """Return the proposal's status at ``now`` (milliseconds); an open one counts as expired after its expiry time."""
    if proposal.status in OPEN_STATUSES and from_text(proposal.expires_at) <= now:
        return "expired"
    return proposal.status


def select(
    proposals: Iterable[Proposal],
    now: int,
    statuses: Iterable[str] = OPEN_STATUSES,
    agent: str | None = None,
    proposal_type: str | None = None,
) -> list[Proposal]:
    """Return the matching proposals, most confident first; among equals, older first.

    ``now`` is in milliseconds since the epoch.  ``statuses``, ``agent`` and ``proposal_type`` are filters; None
    matches every agent or type.
    """
    wanted = set(statuses)
    found = [
        proposal
        for proposal in proposals
        if status_at(proposal, now) in wanted
        and agent in {None, proposal.agent_name}
        and proposal_type in {None, proposal.proposal_type}
    ]
    return sorted(found, key=lambda p: (-p.confidence, from_text(p.timestamp), p.proposal_id))


def age_of(since: int, now: int) -> str:
    """Return how long ago a time was (both in milliseconds), in one unit.

    >>> age_of(0, 40_000), age_of(0, 5_400_000), age_of(0, 172_800_000)
    ('0 min', '90 min', '48 h')
    """
    minutes = max(0, now - since) // 60_000
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 72 * 60 else f"{minutes // 1_440} d"


def updated_at(proposal: Proposal) -> str:
    """Return when the proposal last changed."""
    return proposal.history[-1].timestamp if proposal.history else proposal.timestamp


def ending(proposal: Proposal) -> tuple[str | None, str]:
    """Return who made the last change, and why; the name is empty if the proposer made it."""
    last = proposal.history[-1] if proposal.history else None
    return (None, "") if last is None else (last.actor, last.reason)
