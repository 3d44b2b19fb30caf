"""Commands for the whole fleet: each partition records the hold and publishes all of its tasks with it.

The hold is kept in the partition row, so it is in force for every task at once, including tasks created later.  Tasks
are published when the hold begins or ends: at once, or group by group if there are many.  If a row cannot be read at
that time, its task is published with its next record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.ids import fact_id
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages.parts import STOPS, Stops
from crl_stream.core.monitor.row import RowMarks, StandingOrder, TaskRow, row_marks
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.stages.partition import PartitionRow
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Record
from crl_stream.wire.topics import FLEET_KEY

SHOWN_AT_ONCE: Final = 1_000
"""Maximum number of a partition's tasks that a command publishes itself; beyond that, ticks publish them in groups."""
SUBJECT: Final = "fleet"
"""Subject of the alert; no task can have this name."""
AS_BEFORE: Final = "as before: "
"""With this begins the reason of a hold for which none was given, if the hold that it replaces had one."""
_HOUR: Final = 3_600_000


def has_expired(hold: StandingOrder, now: int) -> bool:
    """Return whether a hold on the fleet has expired by ``now`` (milliseconds); outcomes never end such a hold."""
    return hold.until is not None and now >= hold.until


def untold(
    rows: Mapping[bytes, bytes],
    folded: Mapping[bytes, bytes],
    live: Mapping[bytes, TaskRow],
    offset: int,
    incarnation: int,
) -> list[bytes]:
    """Return the sorted keys of the readable tasks to which the record at ``offset`` has not been applied yet.

    Each row comes from memory if it is open, otherwise from the batch's results or from the stored rows.  If a record
    is refolded after a crash, some rows may be ahead of it; these rows are left out.
    """
    found = []
    for key in {*rows, *folded, *live}:
        if key.startswith(b"!"):
            continue
        row: TaskRow | RowMarks | None = live.get(key)
        if row is None:
            try:
                row = row_marks(folded[key] if key in folded else rows[key])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
        if offset > row.offset or row.incarnation < incarnation:
            found.append(key)
    return sorted(found)


def refusal(state: PartitionRow, command: m.FleetCommand, now: int) -> str | None:
    """Return why ``command`` is not applied at ``now`` (milliseconds); None if it is applied."""
    if command.expires_at is not None and now > from_text(command.expires_at):
        return f"the command expired at {command.expires_at}; send it again if it is still needed"
    if isinstance(command, m.ResumeAll) and state.fleet is None:
        return "the fleet is not held"
    return None


def hold_of(command: m.HoldAll, now: int, default_hours: float, before: StandingOrder | None = None) -> StandingOrder:
    """Return the hold that ``command`` requests, starting at ``now`` (milliseconds).

    Without a reason, that of the hold ``before`` it, which it replaces, is kept and called so.
    """
    hours = default_hours if command.hours is None else command.hours
    stops: Stops = "promotions" if command.stops == "promotions" else "all"
    reason = command.reason
    if not reason and before is not None and before.reason and not has_expired(before, now):
        reason = f"{AS_BEFORE}{before.reason.removeprefix(AS_BEFORE)}"
    return StandingOrder(command.actor, reason, now, until=now + round(hours * _HOUR), stops=stops)


def not_known(command: m.HoldAll) -> str:
    """Return that everything stops because this version does not know what the command wants to stop; else empty."""
    if command.stops in STOPS:
        return ""
    return f"; this version does not know how to stop only {command.stops!r}, so everything stops"


def frees_rollbacks(hold: StandingOrder, before: StandingOrder | None) -> bool:
    """Return whether a hold replaces one that stopped rollbacks too, so that rollbacks happen again."""
    weaker = before is not None and stops_all(before) and not stops_all(hold)
    return weaker and before is not None and not has_expired(before, hold.since)


def is_home(partition: int, partitions: int) -> bool:
    """Return whether this partition raises the alert: only one does, so that people are alerted only once."""
    return partition == partition_of(FLEET_KEY, partitions)


def alert(
    partition: int, record: Record, state: PartitionRow, action: str, cause_id: str, *, resolved: bool
) -> m.Alert:
    """Build the alert about a hold on the fleet that begins, passes to another person, or ends."""
    return m.Alert(
        alert_id=fact_id("alert", record.timestamp, "fleet_hold", state.incarnation, partition, record.offset),
        timestamp=to_text(record.timestamp),
        kind="fleet_hold",
        severity="info" if resolved else "critical",
        subject=SUBJECT,
        action=action,
        text=f"{SUBJECT}: {action}" + ("" if resolved else "; crl resume --all releases it"),
        cause_id=cause_id,
        undo_command=None if resolved else "crl resume --all",
        resolved=resolved,
        touches=None if resolved else m.Touches(tasks=None),
        position=m.Position(partition, record.offset),
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )


def words_of(fleet: StandingOrder) -> str:
    """Return who holds the fleet, why, and when the hold ends."""
    why = fleet.reason or "no reason given"
    if not stops_all(fleet):
        return (
            f"promotions stopped by {fleet.actor} until {to_text(fleet.until or 0)}: {why}. Nothing new becomes active "
            "automatically; a variant that is degraded is still rolled back"
        )
    return (
        f"held by {fleet.actor} until {to_text(fleet.until or 0)}: {why}. No task changes automatically, "
        "so nothing is rolled back; alerts continue"
    )
