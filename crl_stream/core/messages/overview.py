"""The whole system: the notes that the overview counts, and the page it keeps.

Notes are short copies of records from the task topics. They are all in one partition, so that a single reader
sees the whole system in one order. Each note has its own id or version, so a repeated note changes nothing.
"""

from __future__ import annotations

import msgspec

from crl_stream.core.messages.facts import AlertKind, Severity
from crl_stream.core.messages.parts import (
    DecisionKind,
    Identifier,
    LastTime,
    Ordinal,
    Position,
    Timestamp,
    Touches,
    UnreviewedRollback,
    VerdictKind,
)


class RollbackNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="rollback"):
    """A rollback that happened, or in shadow mode would have happened."""

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
    """The command that undoes the rollback; absent in shadow mode, and on the page after the task's next activation."""
    touches: Touches | None = None
    last_time: LastTime | None = None
    """The task's rollback before this one, as when this one was made."""
    schema_version: int = 1


class AlertNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="alert"):
    """An alert that was opened, repeated or resolved."""

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
    """The alert's position in the log, which orders alerts with the same time."""
    touches: Touches | None = None
    last_time: LastTime | None = None
    schema_version: int = 1


class ProposalNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="proposal"):
    """A proposal that was opened, revised or closed."""

    proposal_id: Identifier
    timestamp: Timestamp
    """Time of the proposal's last revision."""
    agent_name: Identifier
    task_type: Identifier
    proposal_type: str
    target_variant: Identifier
    status: str
    confidence: float
    revision: Ordinal
    expires_at: Timestamp
    made: Timestamp | None = None
    """When the proposal was first made; absent in notes of older releases."""
    touches: Touches | None = None
    last_time: LastTime | None = None
    undo_command: str | None = None
    """The command that undoes an approval, once it was applied."""
    schema_version: int = 1


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that gets a line on the page."""

    variant_id: Identifier
    q_value: float
    n_visits: int
    active: bool
    reason: str = ""
    """For a degraded variant, the sentence that explains the current verdict."""
    verdict: VerdictKind | None = None
    """Current verdict on a degraded variant; it may be HEALTHY before the variant has recovered."""
    since: Timestamp | None = None
    """When the variant became degraded; absent if it is not degraded, and in notes of older releases."""
    decision: DecisionKind | None = None
    """Level in the decision matrix; absent in notes of older releases."""
    not_applied: str | None = None
    """Why the variant is not active yet although its decision is ``auto_apply``."""


class TaskNote(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="task"):
    """What a task adds to the totals, as of one position in its log."""

    agent_name: Identifier
    task_type: Identifier
    timestamp: Timestamp
    incarnation: Ordinal
    as_of: Position
    active_variant: Identifier | None
    epoch: Ordinal
    """Epoch of the active variant; 0 until the task has one."""
    variants: Ordinal
    """Number of entries in the Q-table."""
    high_confidence: list[Standing]
    """Variants that meet the guide's auto-apply thresholds, active or not, best first.

    Degraded, quarantined and retired variants are left out."""
    degraded: list[Standing]
    """Degraded variants, and an active variant whose last 10 or more outcomes include no success."""
    no_target: bool
    no_rollback: str | None = None
    """What prevents a rollback of the active variant now (a hold or the mode); absent if nothing does."""
    unreviewed: list[UnreviewedRollback] = []
    """Rollbacks that wait for a person to confirm or undo them, oldest first."""
    touches: Touches | None = None
    last_time: LastTime | None = None
    """The task's last rollback."""
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
    """For a degraded variant, the sentence that explains the current verdict."""
    since: Timestamp | None = None
    """When the variant became degraded; if that is unknown, when a note first listed it as degraded."""
    verdict: VerdictKind | None = None
    """The current verdict, if the variant is degraded."""
    decision: DecisionKind | None = None
    not_applied: str | None = None
    """Why the variant is not active yet although its decision is ``auto_apply``."""
    no_rollback: str | None = None
    """What prevents a rollback of the active variant now (a hold or the mode); absent if nothing does."""
    touches: Touches | None = None
    """What a change of the task reaches, as of its last note; only for a degraded variant."""
    last_time: LastTime | None = None
    """The task's last rollback; only for a degraded variant."""


class WaitingRollback(msgspec.Struct, frozen=True, kw_only=True):
    """A rollback that waits for a person to confirm or undo it, with its task."""

    agent_name: Identifier
    task_type: Identifier
    rollback_id: Identifier
    from_variant: Identifier
    since: Timestamp


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole system on one page (topic ``crl.overview``, key ``overview``).

    The health of the system depends on when the page is read; ``core.overview`` computes it.
    """

    timestamp: Timestamp
    """Append time of the newest note that changed the page."""
    as_of: Position
    """Position in ``crl.overview-events`` of the newest note that changed the page."""
    incarnation: Ordinal
    """Grows when ``crl.overview-events`` is re-created; readers keep the highest (incarnation, as_of.offset)."""
    tasks: int
    agents: int
    """Number of agents with at least one variant."""
    q_table_entries: int
    """Number of variants in all tasks."""
    rollback_times: list[Timestamp]
    """Times of the enforced rollbacks in the 30 days before ``timestamp``, oldest first; at most the newest 1,000."""
    rollbacks: list[RollbackNote]
    """The last 10 rollbacks, newest first."""
    pending_proposals: int
    """Number of proposals that are pending or deferred, and not expired at ``timestamp``."""
    proposals: list[ProposalNote]
    """Pending and deferred proposals, most confident first, at most 100. Readers leave out those that have expired."""
    n_high_confidence: int
    high_confidence: list[TaskStanding]
    """Variants that meet the guide's auto-apply thresholds, best first, at most 100."""
    n_degraded: int
    degraded: list[TaskStanding]
    """Degraded variants, most recently degraded first, at most 100."""
    n_open_alerts: int
    open_alerts: list[AlertNote]
    """Open critical alerts, newest first.

    At most 100: those that need attention (``no_target``, ``stuck``, ``data_gap``, ``fleet_hold``, ``common_cause``)
    take precedence over others, and newer ones over older ones."""
    engine_version: str
    n_unreviewed: int = 0
    unreviewed: list[WaitingRollback] = []
    """Rollbacks that wait for a person to confirm or undo them, oldest first, at most 100."""
    schema_version: int = 1
