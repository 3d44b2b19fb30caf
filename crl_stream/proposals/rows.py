"""Proposals as rows of a table, for spreadsheets."""

from __future__ import annotations

from typing import Final

import msgspec

from crl_stream.core.messages import Proposal
from crl_stream.proposals.standing import ending, status_at, updated_at

Cell = str | int | float | None

FIGURES: Final = ("n_invocations", "avg_q_default", "potential_improvement", "variance")
"""The columns for the guide's supporting data; other supporting data is only in the jsonl format."""
COLUMNS: Final = (
    "proposal_id",
    "timestamp",
    "agent_name",
    "task_type",
    "proposal_type",
    "reasoning",
    "confidence",
    *FIGURES,
    "recommended_modifications",
    "status",
    "actor",
    "status_reason",
    "target_variant",
    "change",
    "tracker_type",
    "trigger",
    "epoch",
    "revision",
    "updated_at",
    "expires_at",
    "source",
    "filed_by",
    "evidence",
)
"""The guide's fields in the guide's order, followed by ours."""


def row(proposal: Proposal, now: int) -> list[Cell]:
    """Return the cells of one proposal, in the order of ``COLUMNS``."""
    actor, why = ending(proposal)
    filing = proposal.filing
    figures: list[Cell] = []
    for name in FIGURES:
        value = proposal.supporting_data.get(name)
        figures.append(int(value) if name == "n_invocations" and value is not None else value)
    return [
        proposal.proposal_id,
        proposal.timestamp,
        proposal.agent_name,
        proposal.task_type,
        proposal.proposal_type,
        proposal.reasoning,
        proposal.confidence,
        *figures,
        _json(proposal.recommended_modifications),
        status_at(proposal, now),
        actor,
        why,
        proposal.target_variant,
        _json(proposal.change),
        proposal.tracker_type,
        proposal.trigger,
        proposal.epoch,
        proposal.revision,
        updated_at(proposal),
        proposal.expires_at,
        None if filing is None else filing.source,
        None if filing is None else filing.actor,
        None if filing is None or filing.evidence is None else _json(filing.evidence),
    ]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
