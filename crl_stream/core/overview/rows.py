"""The rows of the overview: what each task adds to the page, how many tasks each agent has, and the totals.

A batch of notes decodes and writes only the rows that it touches.  Each row keeps the offset of the last note applied
to it, so a repeated note changes nothing.  Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from crl_stream.core.instant import from_text
from crl_stream.core.messages.overview import AlertNote, ProposalNote, RollbackNote
from crl_stream.core.messages.parts import DecisionKind, LastTime, Touches, UnreviewedRollback, VerdictKind
from crl_stream.core.overview.ranking import Rank, Ranking
from crl_stream.core.packing import pack

TOTALS_KEY: Final = b"!overview"
ALERTS_KEY: Final = b"!alerts"
"""Key of the row for alerts that are not about a task."""
AGENT_PREFIX: Final = b"!agent/"

DAY: Final = 86_400_000
MEMORY: Final = 400 * DAY
"""How long closed entries are remembered: as long as a topic keeps the records that could repeat them."""
INCIDENT: Final = 7 * DAY
"""How long an alert counts as open if alerts of its kind are never closed."""

MOMENTS: Final = frozenset(
    (
        *("rollback", "rollback_taken_back", "rollout_aborted", "rollback_rate", "untested"),
        *("weekly_review", "daily_review"),
    )
)
"""Kinds of alerts about a single event, which cannot stay open."""
INCIDENTS: Final = frozenset(("data_gap", "fold_failure"))
"""Kinds of alerts about a loss that cannot be undone, which count as open for a week."""
ABOUT_DEGRADED: Final = frozenset(("degradation", "held_degradation", "no_target", "one_runtime"))
"""Kinds of alerts that end when the task's own note contradicts them, even if their end was not published."""
ATTENTION: Final = frozenset(
    (
        *("no_target", "rollback_stuck", "data_gap", "fleet_hold", "one_runtime", "common_cause"),
        *("mirror_conflict", "mirror_unreachable"),
    )
)
"""Kinds of alerts that make the system's health ATTENTION NEEDED while they are open."""


class Place(NamedTuple):
    """A note's position in ``crl.overview-events``, and when it was appended."""

    incarnation: int
    offset: int
    time: int


class Listed(msgspec.Struct, array_like=True, gc=False):
    """A variant of a task that gets a line on the page."""

    variant_id: str
    q: float
    n: int
    active: bool
    reason: str = ""
    since: int = 0
    verdict: VerdictKind | None = None
    decision: DecisionKind | None = None
    not_applied: str | None = None


class ProposalEntry(msgspec.Struct, array_like=True):
    """A proposal; its note is kept while the proposal is open."""

    revision: int
    time: int
    """Time of the proposal's last revision."""
    expires: int
    note: ProposalNote | None


class AlertEntry(msgspec.Struct, array_like=True):
    """The latest state of the alert about one (kind, subject); the note is kept while the alert is open."""

    time: int
    offset: int
    """The alert's offset in the log; -1 if it has no position there."""
    note: AlertNote | None


class TaskEntry(msgspec.Struct, array_like=True):
    """What is known about a task.  The row ``ALERTS_KEY`` has the same form, but contains only alerts."""

    incarnation: int = 0
    offset: int = -1
    """Offset of the last note that was applied to this row."""
    log_incarnation: int = -1
    """Incarnation of the log in the task's own note; -1 before the first ``TaskNote``."""
    log_offset: int = -1
    time: int = 0
    """When the task's own note was made."""
    epoch: int = 0
    active: str | None = None
    variants: int = 0
    no_target: bool = False
    high_confidence: list[Listed] = []
    degraded: list[Listed] = []
    proposals: dict[str, ProposalEntry] = {}
    alerts: dict[str, AlertEntry] = {}
    """The task's alerts, by their kind and subject."""
    no_rollback: str | None = None
    """What prevents a rollback of the active variant, from the task's own note; None if nothing does."""
    unreviewed: list[UnreviewedRollback] = []
    """The task's rollbacks that wait for a person, from its own note."""
    touches: Touches | None = None
    """What a change of the task reaches, from its own note."""
    last_time: LastTime | None = None
    """The task's last rollback, from its own note."""


class AgentEntry(msgspec.Struct, array_like=True, gc=False):
    """How many tasks of an agent have variants."""

    incarnation: int = 0
    offset: int = -1
    tasks: int = 0


class Totals(msgspec.Struct, array_like=True):
    """The sums over all rows, and everything that is not about a task."""

    incarnation: int = 0
    offset: int = -1
    time: int = 0
    """Append time of the newest note; all periods are counted back from it."""
    page_incarnation: int = 0
    page_offset: int = -1
    """Offset of the last note that changed the page."""
    page_time: int = 0
    tasks: int = 0
    agents: int = 0
    entries: int = 0
    proposals: Ranking = msgspec.field(default_factory=Ranking)
    high_confidence: Ranking = msgspec.field(default_factory=Ranking)
    degraded: Ranking = msgspec.field(default_factory=Ranking)
    alerts: Ranking = msgspec.field(default_factory=Ranking)
    next_end: int = 0
    """The earliest time, after ``time``, at which a pin, hold or deferral may expire; 0 if none will."""
    enforced: list[tuple[int, str]] = []
    """Time and id of the enforced rollbacks in the last 30 days, oldest first."""
    recent: list[RollbackNote] = []
    """The last rollbacks of the whole system, newest first."""
    rate_alert: str = ""
    """Id of the open alert about the rollback rate."""
    unreviewed: Ranking = msgspec.field(default_factory=Ranking)


class Share(NamedTuple):
    """What one row adds to the totals."""

    tasks: int
    entries: int
    has_variants: bool
    proposals: list[Rank]
    high_confidence: list[Rank]
    degraded: list[Rank]
    alerts: list[Rank]
    unreviewed: list[Rank]
    next_end: int


RANKED: Final = ("proposals", "high_confidence", "degraded", "alerts", "unreviewed")
"""The lists on the page, by their field name in ``Share``, in ``Totals`` and in the row of a task."""


def share_of(task: str, row: TaskEntry, now: int) -> Share:
    """Return what a row adds to the totals, without entries that time alone has ended by ``now``."""
    proposals: list[Rank] = []
    alerts: list[Rank] = []
    ends: list[int] = []
    for proposal_id, entry in row.proposals.items():
        if entry.note is not None and entry.expires > now:
            proposals.append((-entry.note.confidence, float(entry.time), task, proposal_id))
            ends.append(entry.expires)
    for name, alert in row.alerts.items():
        if alert.note is None:
            continue
        if alert.note.kind in INCIDENTS:
            if alert.time + INCIDENT <= now:
                continue
            ends.append(alert.time + INCIDENT)
        alerts.append((0.0 if alert.note.kind in ATTENTION else 1.0, -float(alert.time), task, name))
    known = row.log_offset >= 0
    return Share(
        tasks=int(known),
        entries=row.variants,
        has_variants=row.variants > 0,
        proposals=proposals,
        high_confidence=[(-v.q, -float(v.n), task, v.variant_id) for v in row.high_confidence],
        degraded=[(-float(v.since), 0.0, task, v.variant_id) for v in row.degraded],
        alerts=alerts,
        unreviewed=[(float(from_text(one.since)), 0.0, task, one.rollback_id) for one in row.unreviewed],
        next_end=min(ends, default=0),
    )


def is_ended_by_task(note: AlertNote, time: int, offset: int, row: TaskEntry) -> bool:
    """Return whether the task's own note, at least as new as the alert, shows that the alert no longer holds."""
    if note.kind not in ABOUT_DEGRADED or row.log_offset < 0 or (row.time, row.log_offset) < (time, offset):
        return False
    variant_id = note.subject.partition(" ")[2]
    if row.active != variant_id or (note.kind == "no_target" and not row.no_target):
        return True
    return all(variant.variant_id != variant_id for variant in row.degraded)


def rollback_time(note: RollbackNote) -> tuple[int, str]:
    """Return the key by which rollbacks are sorted."""
    return from_text(note.timestamp), note.rollback_id


decode_totals: Final = msgspec.msgpack.Decoder(Totals).decode
decode_agent: Final = msgspec.msgpack.Decoder(AgentEntry).decode
decode_task: Final = msgspec.msgpack.Decoder(TaskEntry).decode


def encode_row(row: Totals | AgentEntry | TaskEntry) -> bytes:
    """Return a row as stored in the changelog; equal rows have equal bytes."""
    return pack(row)


class _Placed(msgspec.Struct, array_like=True, gc=False):
    """The fields that every row begins with."""

    incarnation: int
    offset: int


_decode_place: Final = msgspec.msgpack.Decoder(_Placed).decode


def row_position(row: bytes) -> tuple[int, int]:
    """Return (incarnation, offset) of the last note applied to a row.

    Of two rows with the same key, the one with the higher position is newer.
    """
    placed = _decode_place(row)
    return placed.incarnation, placed.offset
