"""The names of all topics and the messages on each; no other code names a topic.

Partitions, retention, writers and readers are in ``topics/catalog.toml``; a test checks that the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crl_stream.core import messages as m

INVOCATIONS: Final = "crl.invocations"
COMMANDS: Final = "crl.commands"
DEGRADATIONS: Final = "crl.degradations"
ROLLBACKS: Final = "crl.rollbacks"
DECISIONS: Final = "crl.decisions"
ALERTS: Final = "crl.alerts"
ACTIVE_VARIANTS: Final = "crl.active-variants"
VARIANTS: Final = "crl.variants"
TASKS: Final = "crl.tasks"
PROPOSALS: Final = "crl.proposals"
RECEIPTS: Final = "crl.receipts"
TAG_CONDITIONS: Final = "crl.tags"
MIRRORS: Final = "crl.mirrors"
OVERVIEW_EVENTS: Final = "crl.overview-events"
OVERVIEW: Final = "crl.overview"
DEAD_LETTERS: Final = "crl.dead-letters"
BRIDGE_INBOX: Final = "crl.bridge-inbox"

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
    DECISIONS: (m.Decision, m.Activation, m.RolloutStep, m.Hindsight, m.Adoption, m.CommandResult),
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


@dataclass(frozen=True, slots=True)
class Topics:
    """Names on a broker: the catalog's names with the installation's prefix."""

    prefix: str = ""

    def __call__(self, topic: str) -> str:
        """Return the broker's name of a catalog topic."""
        return self.prefix + topic

    def group(self, app_id: str, role: str = "") -> str:
        """Return the consumer group of the monitor, or of the service named by ``role``."""
        return self(f"{app_id}-{role}" if role else app_id)

    def changelog(self, app_id: str, table: str = "tasks") -> str:
        """Return the changelog of a table, which only the owner of the state writes."""
        return self(f"{app_id}-{table}-changelog")
