"""Entries for a proposal tracker: one JSON document, described in ``docs/proposals.md``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

from crl_stream.core.instant import to_text
from crl_stream.core.messages import Proposal
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.core.proposer.rules import RULE_OF
from crl_stream.proposals.standing import ending, status_at, updated_at

BINARY: Final = False
VERSION: Final = 1
"""Version of the document format; new fields do not change it."""


def write(proposals: Sequence[Proposal], now: int) -> bytes:
    """Write all entries in one document."""
    document = {
        "source": "crl-stream",
        "version": VERSION,
        "exported_at": to_text(now),
        "entries": [entry(proposal, now) for proposal in proposals],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def entry(proposal: Proposal, now: int) -> dict[str, Any]:
    """Return the tracker entry of one proposal; ``type`` is one of the guide's four ``crl_`` types."""
    task, status = f"{proposal.agent_name}/{proposal.task_type}", status_at(proposal, now)
    actor, why = ending(proposal)
    filing = proposal.filing
    reviewed = filing is None or proposal.revision > 1  # the first step of a filed proposal is the filing itself
    return {
        "id": proposal.proposal_id,
        "type": proposal.tracker_type,
        "title": RULE_OF[proposal.proposal_type].title.format(target=proposal.target_variant, task=task),
        "description": proposal.reasoning,
        "status": status,
        "confidence": proposal.confidence,
        "agent_name": proposal.agent_name,
        "task_type": proposal.task_type,
        "created_at": proposal.timestamp,
        "updated_at": updated_at(proposal),
        "expires_at": proposal.expires_at,
        "revision": proposal.revision,
        "reviewed_by": actor if reviewed else None,
        "review_reason": why if reviewed and actor else None,
        "source": None if filing is None else filing.source,
        "filed_by": None if filing is None else filing.actor,
        "evidence": None if filing is None else msgspec.to_builtins(filing.evidence),
        "supporting_data": proposal.supporting_data,
        "recommended_modifications": msgspec.to_builtins(proposal.recommended_modifications),
        "change": msgspec.to_builtins(proposal.change),
        "approve": f"crl proposals approve {proposal.proposal_id}" if status in OPEN_STATUSES else None,
        "reject": f"crl proposals reject {proposal.proposal_id} --reason ..." if status in OPEN_STATUSES else None,
    }
