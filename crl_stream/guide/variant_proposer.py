"""``VariantProposer``: suggests changes for a person to decide (guide: Components, 3)."""

from __future__ import annotations

import math
from typing import Any, Final, get_args

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.messages.snapshots import OPEN_STATUSES, ProposalStatus
from crl_stream.core.proposer.step import approval_of
from crl_stream.errors import NotFound, UsageError
from crl_stream.guide.shapes import proposal_fields
from crl_stream.guide.store import Store
from crl_stream.kafka.commands import task_command

_LIMIT_OF: Final = {
    "specialize_q_threshold": "create_below_q",
    "performance_gap_threshold": "promote_gap",
    "underperformance_q_threshold": "modify_below_q",
    "retire_q_threshold": "retire_below_q",
    "retire_after_rollbacks": "retire_after_rollbacks",
}
STATUSES: Final[tuple[str, ...]] = get_args(ProposalStatus)


class VariantProposer:
    """Analyzes the figures and manages the queue of proposals that are waiting for a review.

    Limits that are not given come from the store's policy: they are the guide's, unless the settings differ. On live
    topics, the running proposer analyzes everything by the workers' limits, and limits given here have no effect.
    """

    def __init__(
        self,
        *,
        specialize_q_threshold: float | None = None,
        performance_gap_threshold: float | None = None,
        underperformance_q_threshold: float | None = None,
        retire_q_threshold: float | None = None,
        retire_after_rollbacks: int | None = None,
        store: Store | None = None,
    ) -> None:
        self.store = store or Store.default()
        given = {
            "specialize_q_threshold": specialize_q_threshold,
            "performance_gap_threshold": performance_gap_threshold,
            "underperformance_q_threshold": underperformance_q_threshold,
            "retire_q_threshold": retire_q_threshold,
            "retire_after_rollbacks": retire_after_rollbacks,
        }
        self._limits = {_LIMIT_OF[name]: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            if value is not None and not math.isfinite(value):
                raise UsageError(f"{name} {value} is not a number.", hint="omit it to use the policy's value")

    def analyze_and_propose(self, min_invocations: int = 50) -> list[dict[str, Any]]:
        """Analyze every task; return new proposals and those with new evidence, in the guide's schema.

        The default variant needs ``min_invocations`` outcomes before it can count as weak. Pending proposals without
        new evidence are only in ``get_proposals``. On live topics, all pending proposals are returned.
        """
        if min_invocations < 1:
            raise UsageError(f"min_invocations {min_invocations} is less than 1.", hint="the guide's is 50")
        found = self.store.source.analyze(self._limits | {"min_invocations": min_invocations})
        return [proposal_fields(proposal) for proposal in found]

    def get_proposals(self, status: str | None = None) -> list[dict[str, Any]]:
        """Return the proposals that have this ``status``, or all, in the guide's schema, newest first.

        A proposal past its expiry time is ``expired``, even if that has not been recorded yet.
        """
        if status is not None and status not in STATUSES:
            raise UsageError(f"There is no status {status!r}.", hint=f"use one of {', '.join(STATUSES)}")
        now = self.store.source.now()
        found = []
        for fields in self.store.source.proposals():
            if fields["status"] in OPEN_STATUSES and now > from_text(fields["expires_at"]):
                fields["status"] = "expired"
            if status in {None, fields["status"]}:
                found.append(fields)
        return found

    # -- the review --------------------------------------------------------------------------------
    def approve(self, proposal_id: str, reason: str = "", *, reviewer: str | None = None) -> m.CommandResult:
        """Accept a proposal and apply its ``change``; raises ``CommandRefused`` with the reason if that fails."""
        proposal = self._open(proposal_id)
        if proposal.change.action == "enforce":
            raise UsageError(
                f"{proposal_id} changes the policy of the whole fleet, which this class cannot do.",
                hint=f"run crl proposals approve {proposal_id}",
            )
        template = task_command(m.RejectProposal, _key(proposal), proposal_id=proposal_id, actor=reviewer)
        named = ("schema_version", "command_id", "timestamp", "actor", "expires_at")
        common = {name: getattr(template, name) for name in named}
        return self.store.order(approval_of(proposal, reason=reason, **common))

    def reject(self, proposal_id: str, reason: str, *, reviewer: str | None = None) -> m.CommandResult:
        """Decline a proposal and record the reason. It may be proposed again when its evidence has doubled."""
        return self._review(m.RejectProposal, proposal_id, reason, reviewer)

    def defer(
        self, proposal_id: str, reason: str = "", *, until: str | None = None, reviewer: str | None = None
    ) -> m.CommandResult:
        """Postpone a proposal.

        ``proposal_id`` names it, ``reason`` is recorded, ``until`` is a time such as ``2025-12-01T09:00:00Z`` (None: no
        fixed time), and ``reviewer`` is your name.
        """
        return self._review(m.DeferProposal, proposal_id, reason, reviewer, until=until)

    def _review(
        self, kind: type[Any], proposal_id: str, reason: str, reviewer: str | None, **fields: Any
    ) -> m.CommandResult:
        key = _key(self._open(proposal_id))
        return self.store.order(
            task_command(kind, key, proposal_id=proposal_id, reason=reason, actor=reviewer, **fields)
        )

    def _open(self, proposal_id: str) -> m.Proposal:
        proposal = self.store.source.open_proposal(proposal_id)
        if proposal is None:
            raise NotFound(
                f"{proposal_id} is not waiting for a review.",
                hint='get_proposals(status="pending") lists the proposals that are waiting',
            )
        return proposal


def _key(proposal: m.Proposal) -> TaskKey:
    return TaskKey(proposal.agent_name, proposal.task_type)
