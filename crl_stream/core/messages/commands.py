"""Commands from people and programs on ``crl.commands``; each is applied or refused.

Every command names who sends it and why.  ``expected_epoch`` makes it a compare-and-set: it is refused if the active
variant has changed since the sender looked.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from crl_stream.core.messages.parts import (
    CandidateEvidence,
    Change,
    ForeignText,
    Identifier,
    Modification,
    Ordinal,
    ProposalType,
    SchemaVersion,
    ShortText,
    Timestamp,
)
from crl_stream.core.policy import AtLeastOne, Hours, PolicySet, Share


class Command(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """The fields that all commands share."""

    schema_version: SchemaVersion
    command_id: Identifier
    timestamp: Timestamp
    actor: ShortText
    """Who sends the command: a person or a program."""
    reason: ShortText = ""
    expires_at: Timestamp | None = None
    """Expiry of the command: it is refused if it reaches the log after this time."""


class TaskCommand(Command, frozen=True, omit_defaults=True, kw_only=True):
    """A command for one task."""

    agent_name: Identifier
    task_type: Identifier
    expected_epoch: Ordinal | None = None


class ActivateVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Make a known variant the active one."""

    variant_id: Identifier
    untested: bool = False
    """Whether to accept a variant that has no outcomes yet."""


class UndoRollback(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Undo the latest change, lift the quarantine it caused, and hold automatic changes for a while."""

    rollback_id: Identifier | None = None
    """If given, the command is refused unless this rollback is the latest change."""


class ConfirmRollback(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Mark a rollback as reviewed; the quarantine stays."""

    rollback_id: Identifier


class PinVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Prevent promotions until the pin is removed or expires. Rollbacks still happen, unless a hold prevents them."""

    variant_id: Identifier | None = None
    """The variant to activate and pin; if absent, the active one is pinned."""
    hours: Hours | None = None
    """Hours that the pin lasts; default: the policy's ``operations.pin_hours``."""


class UnpinVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End a pin."""


class HoldTask(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Stop all automatic changes until the hold is released or expires. Alerts continue and say who holds the task."""

    hours: Hours | None = None
    """Hours that the hold lasts; default: the policy's ``operations.hold_hours``."""


class ResumeTask(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End a hold."""


class LiftQuarantine(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Release a variant from quarantine, so that it can be chosen again."""

    variant_id: Identifier


class AcceptLevel(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Accept what a degraded variant delivers now as its new baseline, because its decline is expected to last."""

    variant_id: Identifier | None = None
    """The variant whose level is accepted; default: the active variant."""


class StartRollout(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Let a known variant replace the active one in stages, as long as it does not deliver less."""

    variant_id: Identifier
    stages: Annotated[list[Share], msgspec.Meta(min_length=1, max_length=10)] | None = None
    """Share of the invocations in each stage. Default: the policy's ``rollout.stages``, else 5 %, 25 % and 50 %."""
    min_outcomes: AtLeastOne | None = None
    """Outcomes of the variant that each stage needs. Default: the policy's ``rollout.min_outcomes``."""


class RolloutCommand(TaskCommand, frozen=True, omit_defaults=True, kw_only=True):
    """A command for the rollout in progress."""

    rollout_id: Identifier | None = None
    """If given, the command is refused unless this rollout is in progress."""


class PauseRollout(RolloutCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Keep a rollout at its present stage until it is resumed. It is still aborted if its candidate is degraded."""


class ResumeRollout(RolloutCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Resume a paused rollout."""


class PromoteRollout(RolloutCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Begin the next stage of a rollout now; after the last stage, the candidate becomes active."""

    stage: AtLeastOne | None = None
    """If given, the command is refused unless this stage, counted from 1, is in progress."""
    full: bool = False
    """Whether to skip all further stages, so that the candidate becomes active now."""


class AbortRollout(RolloutCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End a rollout: all invocations use the active variant again. The candidate is not quarantined."""


class RegisterVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Add a variant with its parent and configuration. It may be explored, but is never promoted without outcomes.

    Once given, ``configuration`` and ``ref`` cannot be changed: a different configuration is a different variant.
    """

    variant_id: Identifier
    parent: Identifier | None = None
    model_tier: ShortText | None = None
    provider: ShortText | None = None
    model: ShortText | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    modifications: list[Modification] = []
    configuration: dict[str, Any] | None = None
    """What runtimes get for this variant: any JSON object of at most 16 KiB; crl-stream does not interpret it."""
    ref: ForeignText | None = None
    """Where the configuration is kept, such as ``langfuse:refund@12``, ``prompts:/refund/12`` or a git commit."""


class RetireVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Never choose or explore a variant again; refused while it is active."""

    variant_id: Identifier


class ProposeVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """File a candidate that was made elsewhere as a proposal. Nothing changes until a person approves it.

    The result on ``crl.decisions`` names the proposal. ``reason`` is shown to the reviewer.
    """

    variant_id: Identifier
    """Id of the new variant."""
    source: ForeignText
    """What made the candidate, as ``name@version``; or who, if a person wrote it."""
    parent: Identifier | None = None
    """The variant that the candidate was made from."""
    model_tier: ShortText | None = None
    provider: ShortText | None = None
    model: ShortText | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    modifications: list[Modification] = []
    configuration: dict[str, Any] | None = None
    """What runtimes would get for this variant: any JSON object of at most 16 KiB."""
    ref: ForeignText | None = None
    """Where the configuration is kept, such as ``langfuse:refund@12``."""
    evidence: CandidateEvidence | None = None


class ApproveProposal(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Accept a proposal. The command carries the exact change, so the monitor needs nothing else to apply it."""

    proposal_id: Identifier
    change: Change
    valid_until: Timestamp | None = None
    proposal_type: ProposalType | None = None
    """Type of the proposal; what becomes of its change is counted for this type.  Absent: it is not counted."""


class RejectProposal(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Decline a proposal; the reason is kept for analysis."""

    proposal_id: Identifier


class DeferProposal(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Postpone a proposal; a later review may still approve or reject it."""

    proposal_id: Identifier
    until: Timestamp | None = None


class SetPolicy(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Apply a set of policies to every task; every partition of the log has one reference to the command."""

    policy: PolicySet
    policy_hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$", max_length=16)]
    if_none: bool = False
    """Whether to refuse the command if a policy has been set before. Workers set this when they start, because
    starting a worker must not change the policy.
    """


class HoldAll(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Stop all automatic changes in every task, or only promotions, until the hold is released or expires.

    Alerts continue and say who holds the fleet. The command is sent as one record to each partition of
    ``crl.commands``, always with the same command_id. Each record puts the tasks of its partition on hold. A task's own
    hold is kept separately.
    """

    hours: Hours | None = None
    """Hours that the hold lasts; default: ``operations.hold_hours`` of the default policy."""
    stops: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] = "all"
    """What stops: ``all``, rollbacks too; or only ``promotions``, so that a rollback still protects each task.

    Older producers do not send it: everything stops.  A worker that does not know the value stops everything,
    and says so in its result and in the alert.
    """


class ResumeAll(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End the hold on the fleet, with one record in each partition. Tasks with their own hold stay held."""


class ReportTag(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Report that a provider or model is failing in many tasks, or no longer is.

    Only the role ``tags`` of a worker sends it, as one record to each partition of ``crl.commands``. A report alone
    holds no task. If a task's active variant is degraded, the report is evidence that the variant is not the cause.
    """

    tag: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """``provider:...`` or ``model:...``."""
    failing: bool
    incident_id: Identifier
    """The incident that the report is about. A report that the tag has stopped failing ends only this incident."""
    valid_until: Timestamp
    """When a report that the tag is failing expires, unless it is repeated."""


AnyTaskCommand = (
    ActivateVariant
    | UndoRollback
    | ConfirmRollback
    | PinVariant
    | UnpinVariant
    | HoldTask
    | ResumeTask
    | LiftQuarantine
    | AcceptLevel
    | StartRollout
    | PauseRollout
    | ResumeRollout
    | PromoteRollout
    | AbortRollout
    | RegisterVariant
    | RetireVariant
    | ProposeVariant
    | ApproveProposal
    | RejectProposal
    | DeferProposal
)
FleetCommand = HoldAll | ResumeAll
AnyCommand = AnyTaskCommand | SetPolicy | FleetCommand | ReportTag
