"""Which proposals there are: of each the highest revision, and how it stands at an hour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

from crl_stream.core.instant import from_text
from crl_stream.core.messages import Proposal
from crl_stream.core.messages.snapshots import OPEN_STATUSES, ProposalStatus, ProposalType

STATUSES: Final[tuple[str, ...]] = get_args(ProposalStatus)
TYPES: Final[tuple[str, ...]] = get_args(ProposalType)


def latest(messages: Iterable[Any]) -> list[Proposal]:
    """The proposals among the messages of ``crl.proposals``, each once, in its highest revision."""
    found: dict[str, Proposal] = {}
    for message in messages:
        if isinstance(message, Proposal):
            kept = found.get(message.proposal_id)
            if kept is None or message.revision >= kept.revision:
                found[message.proposal_id] = message
    return list(found.values())


def status_at(proposal: Proposal, now: int) -> str:
    """Its status at ``now`` (milliseconds): an open one whose time is over is expired, whatever was written last."""
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
    """Those that fit, by falling confidence, the older one first among equals."""
    wanted = set(statuses)
    found = [
        proposal
        for proposal in proposals
        if status_at(proposal, now) in wanted
        and agent in {None, proposal.agent_name}
        and proposal_type in {None, proposal.proposal_type}
    ]
    return sorted(found, key=lambda p: (-p.confidence, from_text(p.timestamp), p.proposal_id))


def updated_at(proposal: Proposal) -> str:
    """When it last took a step."""
    return proposal.history[-1].timestamp if proposal.history else proposal.timestamp


def ending(proposal: Proposal) -> tuple[str | None, str]:
    """Who took its last step, and why; nobody when the proposer itself did."""
    last = proposal.history[-1] if proposal.history else None
    return (None, "") if last is None else (last.actor, last.reason)
