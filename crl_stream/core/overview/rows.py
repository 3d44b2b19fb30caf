"""The rows of the overview: what each task adds to the page, how many tasks an agent has, and the totals.

A batch of notes decodes and writes only the rows it touches.  Each row keeps the place of the last note that it took,
so that a note met again changes nothing.  Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from crl_stream.core.instant import from_text
from crl_stream.core.messages.overview import AlertNote, ProposalNote, RollbackNote
from crl_stream.core.messages.parts import DecisionKind, VerdictKind
from crl_stream.core.overview.ranking import Rank, Ranking
from crl_stream.core.packing import pack

TOTALS_KEY: Final = b"!overview"
ALERTS_KEY: Final = b"!alerts"
"""Alerts that are about no task."""
AGENT_PREFIX: Final = b"!agent/"

DAY: Final = 86_400_000
MEMORY: Final = 400 * DAY
"""How long it is remembered that something is closed: as long as a topic keeps what could be told again."""
INCIDENT: Final = 7 * DAY
"""How long an alert counts as open whose kind nobody closes."""

MOMENTS: Final = frozenset(("rollback", "rollback_rate", "weekly_review", "untested"))
"""Kinds of alerts that tell of a moment: there is nothing to be over."""
INCIDENTS: Final = frozenset(("data_gap", "fold_failure"))
"""Kinds that tell of a loss: it happened, and counts as open for a week."""
ABOUT_DEGRADED: Final = frozenset(("degradation", "held_degradation", "no_target"))
"""Kinds that are over when the task's own note says so, whether or not their end was told."""
ATTENTION: Final = frozenset(("no_target", "stuck", "data_gap", "fleet_hold"))
"""Kinds that make the system's word ATTENTION NEEDED while they are open."""


class Place(NamedTuple):
    """Where a note stands in ``crl.overview-events``, and when it was appended."""

    incarnation: int
    offset: int
    time: int


class Listed(msgspec.Struct, array_like=True, gc=False):
    """A variant of a task that is worth a line on the page."""

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
    """A proposal; its note is kept while it is open."""

    revision: int
    time: int
    """Of the last revision."""
    expires: int
    note: ProposalNote | None


class AlertEntry(msgspec.Struct, array_like=True):
    """The last that was said of one (kind, subject); the note is kept while the alert is open."""

    time: int
    offset: int
    """In the log; -1 when the alert has no place there."""
    note: AlertNote | None


class TaskEntry(msgspec.Struct, array_like=True):
    """What is known of a task.  The row ``ALERTS_KEY`` has the same form, with nothing in it but alerts."""

    incarnation: int = 0
    offset: int = -1
    """Of the last note."""
    log_incarnation: int = -1
    """-1 before the first ``TaskNote``."""
    log_offset: int = -1
    time: int = 0
    """From the task's own note."""
    epoch: int = 0
    active: str | None = None
    variants: int = 0
    no_target: bool = False
    high_confidence: list[Listed] = []
    degraded: list[Listed] = []
    proposals: dict[str, ProposalEntry] = {}
    alerts: dict[str, AlertEntry] = {}
    """By ``kind subject``."""
    no_rollback: str | None = None
    """From the task's own note."""


class AgentEntry(msgspec.Struct, array_like=True, gc=False):
    """How many tasks of an agent have a variant."""

    incarnation: int = 0
    offset: int = -1
    tasks: int = 0


class Totals(msgspec.Struct, array_like=True):
    """The sums over all rows, and what belongs to no task."""

    incarnation: int = 0
    offset: int = -1
    time: int = 0
    """Append time of the newest note: the hour that all windows are reckoned from."""
    page_incarnation: int = 0
    page_offset: int = -1
    """Of the last note that changed the page."""
    page_time: int = 0
    tasks: int = 0
    agents: int = 0
    entries: int = 0
    proposals: Ranking = msgspec.field(default_factory=Ranking)
    high_confidence: Ranking = msgspec.field(default_factory=Ranking)
    degraded: Ranking = msgspec.field(default_factory=Ranking)
    alerts: Ranking = msgspec.field(default_factory=Ranking)
    next_end: int = 0
    """No later than the next end that comes by itself, and after ``time``; 0 when there is none."""
    enforced: list[tuple[int, str]] = []
    """Time and id of the enforced rollbacks of 30 days, oldest first."""
    recent: list[RollbackNote] = []
    """The last ones, newest first."""
    rate_alert: str = ""
    """Id of the open alert about the rollback rate."""


class Share(NamedTuple):
    """What one row adds to the totals."""

    tasks: int
    entries: int
    has_variants: bool
    proposals: list[Rank]
    high_confidence: list[Rank]
    degraded: list[Rank]
    alerts: list[Rank]
    next_end: int


RANKED: Final = ("proposals", "high_confidence", "degraded", "alerts")
"""The lists of the page, by their name in ``Share``, in ``Totals`` and in the row of a task."""


def share_of(task: str, row: TaskEntry, now: int) -> Share:
    """What a row adds, without what has ended by itself at ``now``."""
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
        next_end=min(ends, default=0),
    )


def is_ended_by_task(note: AlertNote, time: int, offset: int, row: TaskEntry) -> bool:
    """Whether the task itself, at least as new as the alert, no longer says what the alert says."""
    if note.kind not in ABOUT_DEGRADED or row.log_offset < 0 or (row.time, row.log_offset) < (time, offset):
        return False
    variant_id = note.subject.partition(" ")[2]
    if row.active != variant_id or (note.kind == "no_target" and not row.no_target):
        return True
    return all(variant.variant_id != variant_id for variant in row.degraded)


def rollback_time(note: RollbackNote) -> tuple[int, str]:
    """What rollbacks are ordered by."""
    return from_text(note.timestamp), note.rollback_id


decode_totals: Final = msgspec.msgpack.Decoder(Totals).decode
decode_agent: Final = msgspec.msgpack.Decoder(AgentEntry).decode
decode_task: Final = msgspec.msgpack.Decoder(TaskEntry).decode


def encode_row(row: Totals | AgentEntry | TaskEntry) -> bytes:
    """A row as it stands in the changelog; equal rows have equal bytes."""
    return pack(row)


class _Placed(msgspec.Struct, array_like=True, gc=False):
    """How every row begins."""

    incarnation: int
    offset: int


_decode_place: Final = msgspec.msgpack.Decoder(_Placed).decode


def row_position(row: bytes) -> tuple[int, int]:
    """(incarnation, offset) of the last note that a row took; of two rows with one key the higher one is newer."""
    placed = _decode_place(row)
    return placed.incarnation, placed.offset
