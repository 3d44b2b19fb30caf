"""What people and other agents may order on ``crl.commands``: imperatives, each applied or refused.

Every command names who gives it and why.  ``expected_epoch`` makes it a compare-and-set: it is refused
when the active variant has changed since the person looked.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crl_stream.core.messages.parts import (
    Identifier,
    Modification,
    Ordinal,
    SchemaVersion,
    ShortText,
    Timestamp,
)
from crl_stream.core.policy import Hours, PolicySet


class Command(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """What all commands carry."""

    schema_version: SchemaVersion
    command_id: Identifier
    timestamp: Timestamp
    actor: ShortText
    """Who orders it: a person or a program."""
    reason: ShortText = ""
    expires_at: Timestamp | None = None
    """Refused when it reaches the log later than this."""


class TaskCommand(Command, frozen=True, omit_defaults=True, kw_only=True):
    """A command for one task."""

    agent_name: Identifier
    task_type: Identifier
    expected_epoch: Ordinal | None = None


class ActivateVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Make a known variant the active one."""

    variant_id: Identifier
    untested: bool = False
    """Also when it has no outcome yet; without it such a variant is refused."""


class UndoRollback(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Take the latest change back, lift the quarantine it made and hold automatic changes for a while."""

    rollback_id: Identifier | None = None
    """Refused when given and not the latest change."""


class ConfirmRollback(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Mark a rollback as reviewed; the quarantine stays."""

    rollback_id: Identifier


class PinVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """No promotion until unpinned or expired; a rollback still protects, unless a hold keeps it from happening."""

    variant_id: Identifier | None = None
    """Made the active one first when it is not; absent pins whatever is active."""
    hours: Hours | None = None
    """Default: the policy's ``operations.pin_hours``."""


class UnpinVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End a pin."""


class HoldTask(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Nothing automatic until resumed or expired; alerts go on and say who held it."""

    hours: Hours | None = None
    """Default: the policy's ``operations.hold_hours``."""


class ResumeTask(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End a hold."""


class LiftQuarantine(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Let a variant that was rolled back be chosen again."""

    variant_id: Identifier


class RegisterVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Make a variant known, with its parent and configuration; it is explored, never activated at n = 0."""

    variant_id: Identifier
    parent: Identifier | None = None
    model_tier: ShortText | None = None
    provider: ShortText | None = None
    model: ShortText | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    modifications: list[Modification] = []


class RetireVariant(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Never choose or explore a variant again; refused while it is active."""

    variant_id: Identifier


class Change(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The exact effect of an approved proposal."""

    action: Literal["register", "activate", "retire"]
    variant_id: Identifier
    parent: Identifier | None = None
    model_tier: ShortText | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    modifications: list[Modification] = []


class ApproveProposal(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Accept a proposal; carries the exact change, so that the monitor needs nothing else to apply it."""

    proposal_id: Identifier
    change: Change
    valid_until: Timestamp | None = None


class RejectProposal(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Decline a proposal; the reason is kept for analysis."""

    proposal_id: Identifier


class DeferProposal(TaskCommand, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Put a proposal off; a later review may still approve or reject it."""

    proposal_id: Identifier
    until: Timestamp | None = None


class SetPolicy(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Put a policy set into force for every task; referenced once in every partition of the log."""

    policy: PolicySet
    policy_hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$", max_length=16)]
    if_none: bool = False
    """Refused where a policy was set before: what a worker sends at its start, which must not change a fleet's policy.
    """


class HoldAll(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Nothing automatic in any task until resumed or expired; alerts go on and say who held the fleet.

    One record in each partition of ``crl.commands``, all with the same command_id: it holds the tasks of the
    partition it stands in.  A task's own hold is kept apart from it.
    """

    hours: Hours | None = None
    """Default: ``operations.hold_hours`` of the default policy."""


class ResumeAll(Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """End the hold of the fleet, one record in each partition; tasks that are held themselves stay held."""


AnyTaskCommand = (
    ActivateVariant
    | UndoRollback
    | ConfirmRollback
    | PinVariant
    | UnpinVariant
    | HoldTask
    | ResumeTask
    | LiftQuarantine
    | RegisterVariant
    | RetireVariant
    | ApproveProposal
    | RejectProposal
    | DeferProposal
)
FleetCommand = HoldAll | ResumeAll
AnyCommand = AnyTaskCommand | SetPolicy | FleetCommand
