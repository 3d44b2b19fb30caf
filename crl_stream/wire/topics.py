"""The messages on each topic; ``topic_names`` has the names.

Partitions, retention, writers and readers are in ``topics/catalog.toml``; a test checks that the two agree.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core import messages as m
from crl_stream.wire.topic_names import (
    ACTIVE_VARIANTS,
    ALERTS,
    BRIDGE_INBOX,
    COMMANDS,
    DEAD_LETTERS,
    DECISIONS,
    DEGRADATIONS,
    INVOCATIONS,
    MIRRORS,
    OVERVIEW,
    OVERVIEW_EVENTS,
    PROPOSALS,
    RECEIPTS,
    ROLLBACKS,
    TAG_CONDITIONS,
    TASKS,
    VARIANTS,
    Topics,
)

__all__ = [
    "ACTIVE_VARIANTS",
    "ALERTS",
    "BRIDGE_INBOX",
    "COMMANDS",
    "DEAD_LETTERS",
    "DECISIONS",
    "DEGRADATIONS",
    "FLEET_KEY",
    "INVOCATIONS",
    "MESSAGES",
    "MIRRORS",
    "OVERVIEW",
    "OVERVIEW_EVENTS",
    "OVERVIEW_KEY",
    "PARTITION_ROW",
    "POLICY_KEY",
    "PROPOSALS",
    "RECEIPTS",
    "ROLLBACKS",
    "TAG_CONDITIONS",
    "TASKS",
    "TICK_KEY",
    "TOPIC_OF",
    "VARIANTS",
    "Topics",
]

MESSAGES: Final[dict[str, tuple[type, ...]]] = {
    INVOCATIONS: (m.Invocation, m.Feedback, m.CommandRef, m.Tick),
    COMMANDS: (
        m.ActivateVariant,
        m.UndoRollback,
        m.ConfirmRollback,
        m.PinVariant,
        m.UnpinVariant,
        m.HoldTask,
        m.ResumeTask,
        m.LiftQuarantine,
        m.AcceptLevel,
        m.StartRollout,
        m.PauseRollout,
        m.ResumeRollout,
        m.PromoteRollout,
        m.AbortRollout,
        m.RegisterVariant,
        m.RetireVariant,
        m.ProposeVariant,
        m.ApproveProposal,
        m.RejectProposal,
        m.DeferProposal,
        m.SetPolicy,
        m.HoldAll,
        m.ResumeAll,
        m.ReportTag,
    ),
    DEGRADATIONS: (m.DegradationAlert,),
    ROLLBACKS: (m.RollbackEvent,),
    DECISIONS: (m.Decision, m.Activation, m.RolloutStep, m.Hindsight, m.Benefit, m.Adoption, m.CommandResult),
    ALERTS: (m.Alert,),
    ACTIVE_VARIANTS: (m.ActiveVariant,),
    VARIANTS: (m.VariantCatalogue,),
    TASKS: (m.TaskSnapshot,),
    PROPOSALS: (m.Proposal,),
    RECEIPTS: (m.Receipt,),
    TAG_CONDITIONS: (m.TagCondition,),
    MIRRORS: (m.MirrorLabel, m.MirrorStore),
    OVERVIEW_EVENTS: (m.RollbackNote, m.AlertNote, m.ProposalNote, m.TaskNote),
    OVERVIEW: (m.Overview,),
    DEAD_LETTERS: (),
    BRIDGE_INBOX: (),
}
"""Messages by topic; dead letters, and what bridges fetch over HTTP, keep their original bytes."""

TOPIC_OF: Final[dict[type, str]] = {kind: topic for topic, kinds in MESSAGES.items() for kind in kinds}

POLICY_KEY: Final = b"!policy"
"""Record key of ``SetPolicy`` and its references; an identifier cannot contain ``!``."""
TICK_KEY: Final = b"!tick"
"""Record key of a ``Tick``, which applies to every task of its partition."""
FLEET_KEY: Final = b"!fleet"
"""Record key of ``HoldAll``, ``ResumeAll``, ``ReportTag`` and their references, in every partition."""
OVERVIEW_KEY: Final = b"overview"
"""Record key of the only page on ``crl.overview``."""
PARTITION_ROW: Final = b"!partition/"
"""Key prefix of partition rows in the changelog."""
