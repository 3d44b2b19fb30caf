"""The system as a whole: what the overview counts, and the one page it keeps of it.

The events are short notes of records that lie on the topics of the tasks, brought together in one partition, so that
one agent sees the whole system in one order.  Each has an id or a version of its own: a note that comes twice changes
nothing.
"""

from __future__ import annotations

import msgspec

from crl_stream.core.messages.facts import AlertKind, Severity
from crl_stream.core.messages.parts import DecisionKind, Identifier, Ordinal, Position, Timestamp, VerdictKind


class RollbackNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="rollback"):
    """A rollback happened, or in shadow mode would have."""

    rollback_id: Identifier
    timestamp: Timestamp
    agent_name: Identifier
    task_type: Identifier
    from_variant: Identifier
    to_variant: Identifier
    reason: str
    epoch: Ordinal
    enforced: bool
    undo_command: str | None = None
    """Absent in shadow mode, and on the page once the task has changed again."""
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
    position: Position | None = None
    """Place in the log; orders alerts of one moment."""
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
    revision: Ordinal
    expires_at: Timestamp
    schema_version: int = 1


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that is worth a line on the page."""

    variant_id: Identifier
    q_value: float
    n_visits: int
    active: bool
    reason: str = ""
    """What the present verdict says; for a degraded variant."""
    verdict: VerdictKind | None = None
    """The present one of a variant whose alert is open: it may be HEALTHY again and not have recovered yet."""
    since: Timestamp | None = None
    """When the degradation alert began; absent when none is open, and in notes of older releases."""
    decision: DecisionKind | None = None
    """Level of the decision matrix; absent in notes of older releases."""
    not_applied: str | None = None
    """Why it is not active yet though its decision is ``auto_apply``."""


class TaskNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="task"):
    """What a task adds to the totals, as of one place in its log."""

    agent_name: Identifier
    task_type: Identifier
    timestamp: Timestamp
    incarnation: Ordinal
    as_of: Position
    active_variant: Identifier | None
    epoch: Ordinal
    """Of the active variant; 0 before there is one."""
    variants: Ordinal
    """Entries of the Q-table."""
    high_confidence: list[Standing]
    """Variants that reach the guide's auto-apply limits, active or not, best first; none that is degraded,
    quarantined or retired."""
    degraded: list[Standing]
    """Variants with an open degradation alert, and an active one without a success in its last 10 outcomes or more."""
    no_target: bool
    no_rollback: str | None = None
    """Why the active variant would not be rolled back now: a hold, or the mode; absent when it would be."""
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
    """What the present verdict says; for a degraded variant."""
    since: Timestamp | None = None
    """When its alert began, else when a note first said so; for a degraded variant."""
    verdict: VerdictKind | None = None
    """The present one of a variant whose alert is open."""
    decision: DecisionKind | None = None
    not_applied: str | None = None
    """Why it is not active yet though its decision is ``auto_apply``."""
    no_rollback: str | None = None
    """Why the active variant would not be rolled back now; absent when it would be."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system on one page (topic ``crl.overview``, key ``overview``).

    The word for its health depends on the hour at which one reads: ``core.overview.health`` gives it.
    """

    timestamp: Timestamp
    """Append time of the newest note that changed the page."""
    as_of: Position
    """Place of that note in ``crl.overview-events``."""
    incarnation: Ordinal
    """Grows when ``crl.overview-events`` was made anew; readers keep the highest (incarnation, as_of.offset)."""
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
    """Pending or deferred, and not expired at ``timestamp``."""
    proposals: list[ProposalNote]
    """Those, by falling confidence, 100 at most; a reader leaves out what has expired since."""
    n_high_confidence: int
    high_confidence: list[TaskStanding]
    """Best first, 100 at most."""
    n_degraded: int
    degraded: list[TaskStanding]
    """Newest first, 100 at most."""
    n_open_alerts: int
    open_alerts: list[AlertNote]
    """Critical alerts that are not over, newest first.  At most 100: those that ask for attention
    (``no_target``, ``stuck``, ``data_gap``, ``fleet_hold``) before others, newer before older."""
    engine_version: str
    schema_version: int = 1
