"""Facts about processing the log that do not come from a task row: a failed fold, a gap, a new policy."""

from __future__ import annotations

from typing import Literal

from crl_stream.core import messages as m
from crl_stream.core.ids import fact_id
from crl_stream.core.instant import to_text
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.stages.partition import PartitionRow
from crl_stream.stages.topology import MONITOR
from crl_stream.wire.records import Record


def fold_failure_alert(
    key: bytes, partition: int, record: Record, error: Exception, state: PartitionRow, *, topic: str = MONITOR.source
) -> m.Alert:
    """Build the alert about a record of ``topic`` that made the engine raise and is now a dead letter."""
    where, option, place = f"{partition}:{record.offset}", "", ("fold_failure", partition, record.offset)
    if topic != MONITOR.source:
        where, option = f"{topic} {where}", f" --topic {topic}"
        place = ("fold_failure", topic, partition, record.offset)  # type: ignore[assignment]
    return _engine_alert(
        key.decode("ascii", "replace") or f"partition {partition}",
        f"record {where} was dead-lettered; the engine raised {type(error).__name__}",
        f"see crl dead-letters show {partition}:{record.offset}{option}",
        where,
        place,
        record,
        state,
        # A position is a place in the log; records of other topics have none.
        m.Position(partition, record.offset) if topic == MONITOR.source else None,
    )


def row_failure_alert(key: bytes, partition: int, record: Record, error: Exception, state: PartitionRow) -> m.Alert:
    """Build the alert about a row for which a tick made the engine raise; ticks skip the row until its next record."""
    subject = key.decode("ascii", "replace")
    return _engine_alert(
        subject,
        f"the engine raised {type(error).__name__} at a tick; the task's holds and snapshots wait for its next outcome",
        "this is a bug in the engine, please report it",
        f"{partition}:{record.offset}",
        ("row_failure", partition, record.offset, subject),
        record,
        state,
        m.Position(partition, record.offset),
    )


def _engine_alert(
    subject: str,
    action: str,
    advice: str,
    cause_id: str,
    place: tuple[object, ...],
    record: Record,
    state: PartitionRow,
    position: m.Position | None,
) -> m.Alert:
    """Build an alert about an error raised at ``record``; ``place`` (kind and location) determines the alert's id."""
    kind, *where = place
    agent_name, _, task_type = subject.partition("/")
    return m.Alert(
        alert_id=fact_id("alert", record.timestamp, kind, state.incarnation, *where),
        timestamp=to_text(record.timestamp),
        kind="fold_failure",
        severity="critical",
        subject=subject,
        action=action,
        text=f"{subject}: {action}; {advice}",
        cause_id=cause_id,
        agent_name=agent_name if task_type else None,
        task_type=task_type or None,
        position=position,
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )


def data_gap_alert(partition: int, expected: int, first: int, timestamp: int, state: PartitionRow) -> m.Alert:
    """Build the alert about records of the log that the broker deleted before they were folded.

    ``expected`` is the offset at which the state ends, ``first`` the oldest offset left in the log, and ``timestamp``
    the append time of the record at ``first``, in milliseconds.
    """
    lost = first - expected
    subject = f"crl.invocations partition {partition}"
    action = f"offsets {expected} to {first - 1} are gone; the windows continue without them"
    return m.Alert(
        alert_id=fact_id("alert", timestamp, "data_gap", state.incarnation, partition, expected, first),
        timestamp=to_text(timestamp),
        kind="data_gap",
        severity="critical",
        subject=subject,
        action=action,
        text=f"{subject}: {lost} records lost to retention, limit 0; {action}",
        cause_id=f"{partition}:{expected}",
        number=float(lost),
        limit=0.0,
        position=m.Position(partition, first),
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )


def result_in_partition(
    command: m.FleetCommand | m.SetPolicy | m.ReportTag,
    partition: int,
    record: Record,
    state: PartitionRow,
    outcome: Literal["applied", "refused"],
    detail: str,
    tasks: int | None = None,
) -> m.CommandResult:
    """Build the result of a command that every partition gets; ``tasks`` is the number of tasks that it covers here."""
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


def policy_result(
    command: m.SetPolicy, partition: int, record: Record, state: PartitionRow, *, refused: bool
) -> m.CommandResult:
    """Build the result of ``SetPolicy`` in this partition; ``state`` is the partition row after the command."""
    detail = f"policy {state.policy_hash} is in force in partition {partition}"
    if refused:
        detail += f"; it was set earlier by {state.policy_actor or 'an unknown actor'}"
    return result_in_partition(command, partition, record, state, "refused" if refused else "applied", detail)


def tag_result(
    command: m.ReportTag, partition: int, record: Record, state: PartitionRow, *, refused: bool
) -> m.CommandResult:
    """Build the result of ``ReportTag`` in this partition."""
    said = "is failing" if command.failing else "is no longer failing"
    why = "the report is out of date" if command.failing else "it ends a report that is not in force"
    detail = f"{command.tag} {said} in partition {partition}" + (f": not applied, {why}" if refused else "")
    return result_in_partition(command, partition, record, state, "refused" if refused else "applied", detail)
