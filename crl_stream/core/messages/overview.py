"""The system as a whole: what the overview counts, and the one page it keeps of it.

The events are short notes of records that lie on the topics of the tasks, brought together in one partition, so that
one agent sees the whole system in one order.  Each has an id or a version of its own: a note that comes twice changes
nothing.
"""

from __future__ import annotations

import msgspec

from crl_stream.core.messages.facts import AlertKind, Severity
from crl_stream.core.messages.parts import Identifier, Position, Timestamp


class RollbackNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="rollback"):
    """A rollback happened, or in shadow mode would have."""

    rollback_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    from_variant: Identifier
    to_variant: Identifier
    reason: str
    epoch: int
    enforced: bool
    schema_version: int = 1


class AlertNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="alert"):
    """An alert opened, was repeated or is over."""

    alert_id: Identifier
    timestamp: Timestamp
    kind: AlertKind
    severity: Severity
    subject: str
    text: str
    cause_id: str
    agent_name: Identifier | None = None
    task_type: Identifier | None = None
    undo_command: str | None = None
    resolved: bool = False
    schema_version: int = 1


class ProposalNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="proposal"):
    """A proposal was opened, revised or closed."""

    proposal_id: Identifier
    timestamp: Timestamp
    """Of its last revision."""
    agent_name: Identifier
    task_type: Identifier
    proposal_type: str
    target_variant: Identifier
    status: str
    confidence: float
    revision: int
    expires_at: Timestamp
    schema_version: int = 1


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that is worth a line on the page."""

    variant_id: Identifier
    q_value: float
    n_visits: int
    active: bool
    reason: str = ""
    """Of a degraded one: the verdict's sentence."""


class TaskNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="task"):
    """What a task adds to the totals, as of one place in its log."""

    agent_name: Identifier
    task_type: Identifier
    timestamp: Timestamp
    incarnation: int
    as_of: Position
    active_variant: Identifier | None
    variants: int
    """Entries of the Q-table."""
    high_confidence: list[Standing]
    """Variants that reach the guide's auto-apply limits, active or not, best first."""
    degraded: list[Standing]
    """Variants with an open degradation alert."""
    no_target: bool
    schema_version: int = 1


class TaskStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A variant on the page, with its task."""

    agent_name: Identifier
    task_type: Identifier
    variant_id: Identifier
    q_value: float
    n_visits: int
    active: bool
    reason: str = ""
    since: Timestamp | None = None
    """Of a degraded one: when the overview first heard of it."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system on one page (topic ``crl.overview``, key ``overview``).

    Health words depend on the hour at which one reads: ``core.overview.health`` gives them.
    """

    timestamp: Timestamp
    """Of the newest note."""
    as_of: Position
    """In ``crl.overview-events``."""
    tasks: int
    agents: int
    """Agents with at least one variant."""
    q_table_entries: int
    """Variants of all tasks."""
    rollback_times: list[Timestamp]
    """Enforced rollbacks of the last 30 days before ``timestamp``, oldest first, the newest 1,000 at most."""
    rollbacks: list[RollbackNote]
    """The last 10, newest first."""
    pending_proposals: int
    proposals: list[ProposalNote]
    """Pending or deferred, by falling confidence, 100 at most."""
    n_high_confidence: int
    high_confidence: list[TaskStanding]
    """Best first, 100 at most."""
    n_degraded: int
    degraded: list[TaskStanding]
    """Newest first, 100 at most."""
    open_alerts: list[AlertNote]
    """Critical alerts that are not over, newest first, 100 at most."""
    engine_version: str
    schema_version: int = 1
