"""What the guide's five sections say, for the text and for the pages: one wording, so both always agree.

Pure: a section's rows are made from the page of ``crl.overview`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from crl_stream.core.instant import from_text
from crl_stream.core.messages import AlertNote, Overview, ProposalNote, RollbackNote, TaskStanding
from crl_stream.core.overview import Condition
from crl_stream.core.reach import reach_fields

SYMBOLS: Final = {"HEALTHY": "✓", "STABLE": "●", "ATTENTION NEEDED": "⚠"}
HEALTH: Final = "System health overview"
ROLLBACKS: Final = "Recent rollbacks"
PROPOSALS: Final = "Pending proposals"
HIGH_CONFIDENCE: Final = "High-confidence variants"
THRESHOLDS: Final = "Q≥0.9, n≥10"
"""What makes a variant one of high confidence: the guide's auto-apply thresholds."""
DEGRADATIONS: Final = "Degradation alerts"
NO_ROLLBACKS: Final = "No rollbacks."
NO_PROPOSALS: Final = "No pending proposals."
NO_HIGH_CONFIDENCE: Final = "No high-confidence variants."
NO_DEGRADATIONS: Final = "No active degradation warnings."
OTHER_ALERTS: Final = "Other critical alerts that are open:"
SHADOW: Final = "shadow: nothing was changed"


def health_word(condition: Condition, troubles: Sequence[str] = ()) -> str:
    """Return the health in one word; it is never better than ATTENTION NEEDED while something is not working."""
    return "ATTENTION NEEDED" if troubles else condition.word


def health_figures(overview: Overview, condition: Condition) -> list[tuple[str, int]]:
    """Return the totals, each with its name."""
    return [
        ("Total Q-table Entries", overview.q_table_entries),
        ("Active Agents with Variants", overview.agents),
        ("Rollbacks (Last 30 Days)", condition.rollbacks_month),
        ("Pending Proposals", condition.pending),
    ]


def rollback_fields(event: RollbackNote) -> list[tuple[str, str]]:
    """Return the named facts about a rollback."""
    fields = [
        ("When", moment(from_text(event.timestamp))),
        ("Task", f"{event.agent_name}/{event.task_type}"),
        ("Change", f"{event.from_variant} → {event.to_variant}"),
        ("Reason", event.reason),
        *reach_fields(event),
    ]
    if not event.enforced:
        fields.append(("Mode", SHADOW))
    elif event.undo_command is not None:
        fields.append(("Undo", event.undo_command))
    return fields


def proposal_fields(proposal: ProposalNote) -> list[tuple[str, str]]:
    """Return the named facts about a proposal."""
    fields = [
        ("Agent", proposal.agent_name),
        ("Task", proposal.task_type),
        ("Type", proposal.proposal_type),
        ("Variant", proposal.target_variant),
        ("Confidence", f"{proposal.confidence:.0%}"),
        ("Expires", moment(from_text(proposal.expires_at))),
        *reach_fields(proposal),
        ("Review", f"crl proposals show {proposal.proposal_id}"),
    ]
    if proposal.undo_command is not None:
        fields.append(("Undo", proposal.undo_command))
    if proposal.status != "pending":
        fields.insert(5, ("Status", proposal.status))
    return fields


def high_confidence_fields(variant: TaskStanding) -> list[tuple[str, str]]:
    """Return the named facts about a variant that meets the guide's auto-apply thresholds."""
    return [("Q-value", figures(variant)), ("Status", readiness(variant))]


def degradation_fields(variant: TaskStanding) -> list[tuple[str, str]]:
    """Return the named facts about a degraded variant."""
    return [
        ("Since", moment(from_text(variant.since)) if variant.since else "unknown"),
        *_present(variant),
        ("Q-value", figures(variant)),
        ("Status", protection(variant)),
        *reach_fields(variant),
    ]


def others_open(alerts: Sequence[AlertNote]) -> list[AlertNote]:
    """Return the open critical alerts that the list of degraded variants does not cover."""
    return [alert for alert in alerts if alert.kind != "degradation"]


def readiness(variant: TaskStanding) -> str:
    """Return what will happen to a proven variant, as far as the records of its task show it."""
    if variant.active:
        return "active"
    if variant.decision == "human_approval":
        return "waits for a person's approval"
    waits = variant.not_applied
    if waits is None or waits.startswith("applied with the next outcome"):
        return "ready for auto-apply"
    return f"not applied yet: {waits}"


def _present(variant: TaskStanding) -> list[tuple[str, str]]:
    """Return a sentence on the current verdict, and the verdict itself if it is better than the alert's."""
    if variant.verdict in {None, "DEGRADED"}:
        return [("Reason", variant.reason)]
    return [("Now", f"{variant.verdict}, not recovered yet"), ("Reason", variant.reason)]


def protection(variant: TaskStanding) -> str:
    """Return whether a degraded variant is in use, and what prevents its rollback."""
    if not variant.active:
        return "not active"
    return f"ACTIVE, not rolled back: {variant.no_rollback}" if variant.no_rollback else "ACTIVE"


def figures(variant: TaskStanding) -> str:
    """Return the variant's Q-value and number of outcomes."""
    return f"{variant.q_value:.2f}, n = {variant.n_visits}"


def moment(milliseconds: int) -> str:
    """Format a time like ``2025-11-19 14:30:00 UTC``."""
    return f"{datetime.fromtimestamp(milliseconds // 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
