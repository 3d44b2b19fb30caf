"""Orders for the whole fleet: the hold that a partition remembers, and every task of it published with it.

A hold stands in the partition row, so it is in force for every task at once, and for those that are born later.  Rows
are published when it begins or ends, at once or, where they are many, group after group; a row that cannot be read then
is published with its next record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.ids import fact_id
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.monitor.row import RowMarks, StandingOrder, TaskRow, row_marks
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.stages.partition import PartitionRow
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Record
from crl_stream.wire.topics import FLEET_KEY

SHOWN_AT_ONCE: Final = 1_000
"""Tasks of a partition that are published with the order itself; more of them follow in groups, by ticks."""
SUBJECT: Final = "fleet"
"""What the alert is about; no task can be called that."""
_HOUR: Final = 3_600_000


def has_expired(hold: StandingOrder, now: int) -> bool:
    """Whether a hold of the fleet is over by ``now`` (milliseconds): a fleet has no outcomes to count to its end."""
    return hold.until is not None and now >= hold.until


def untold(
    rows: Mapping[bytes, bytes],
    folded: Mapping[bytes, bytes],
    live: Mapping[bytes, TaskRow],
    offset: int,
    incarnation: int,
) -> list[bytes]:
    """Keys, in their order, of the tasks that the record at ``offset`` has not reached before and that can be read.

    Each is taken from the row under way, from what a batch has made of it, or from its stored row.  When a record is
    met again after a crash, rows may be ahead of it: they are not told again.
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
    """Why ``command`` is not applied at ``now``; None when it is."""
    if command.expires_at is not None and now > from_text(command.expires_at):
        return f"it expired at {command.expires_at}; give it again if it is still wanted"
    if isinstance(command, m.ResumeAll) and state.fleet is None:
        return "the fleet is not held"
    return None


def hold_of(command: m.HoldAll, now: int, default_hours: float) -> StandingOrder:
    """The hold that ``command`` asks for, from ``now`` on."""
    hours = default_hours if command.hours is None else command.hours
    return StandingOrder(command.actor, command.reason, now, until=now + round(hours * _HOUR))


def result(
    command: m.FleetCommand,
    partition: int,
    record: Record,
    state: PartitionRow,
    outcome: Literal["applied", "refused"],
    detail: str,
    tasks: int,
) -> m.CommandResult:
    """What became of the command in this partition, and for how many tasks."""
    kind = type(command).__name__
    return m.CommandResult(
        result_id=fact_id("cmdr", record.timestamp, kind, state.incarnation, partition, record.offset),
        timestamp=to_text(record.timestamp),
        agent_name=None,
        task_type=None,
        command_id=command.command_id,
        command=kind,
        actor=command.actor,
        reason=command.reason,
        outcome=outcome,
        detail=detail,
        epoch=0,
        position=m.Position(partition, record.offset),
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
        tasks=tasks,
    )


def is_home(partition: int, partitions: int) -> bool:
    """Whether this partition tells people: one does, since a fleet is held once and not once a partition."""
    return partition == partition_of(FLEET_KEY, partitions)


def alert(
    partition: int, record: Record, state: PartitionRow, action: str, cause_id: str, *, resolved: bool
) -> m.Alert:
    """The hold of the fleet begins, changes hands, or is over."""
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
        position=m.Position(partition, record.offset),
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )


def words_of(fleet: StandingOrder) -> str:
    """Who holds the fleet, why and until when."""
    why = fleet.reason or "no reason given"
    return (
        f"held by {fleet.actor} until {to_text(fleet.until or 0)}: {why}. Nothing automatic happens in any task, "
        "no rollback either; alerts go on"
    )
