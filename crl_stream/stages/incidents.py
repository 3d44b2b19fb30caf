"""Facts about processing the log that do not come from a task row: a failing fold, a gap, a new policy."""

from __future__ import annotations

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
    """A record of ``topic`` made the engine raise; it is now a dead letter, and the partition goes on."""
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
        # A position is a place in the log; a record of another topic has none.
        m.Position(partition, record.offset) if topic == MONITOR.source else None,
    )


def row_failure_alert(key: bytes, partition: int, record: Record, error: Exception, state: PartitionRow) -> m.Alert:
    """A tick made the engine raise for one row, which stays unchanged until its next record."""
    subject = key.decode("ascii", "replace")
    return _engine_alert(
        subject,
        f"its holds and snapshot wait for its next outcome; at a tick the engine raised {type(error).__name__}",
        "this is a bug of the engine, report it",
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
    """The engine raised at ``record``; ``place`` gives the alert its id: the kind, then where it happened."""
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
    """The broker deleted records of the log before they were folded.

    ``expected`` is the offset at which the state ends, ``first`` the oldest offset left, and ``timestamp`` the append
    time of the latter in milliseconds.
    """
    lost = first - expected
    subject = f"crl.invocations partition {partition}"
    action = f"offsets {expected} to {first - 1} are gone; the windows go on without them"
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


def policy_result(
    command: m.SetPolicy, partition: int, record: Record, state: PartitionRow, *, refused: bool
) -> m.CommandResult:
    """A policy set came into force in this partition, or was refused because one is set; ``state`` is after it."""
    return m.CommandResult(
        result_id=fact_id("cmdr", record.timestamp, "SetPolicy", state.incarnation, partition, record.offset),
        timestamp=to_text(record.timestamp),
        agent_name=None,
        task_type=None,
        command_id=command.command_id,
        command="SetPolicy",
        actor=command.actor,
        reason=command.reason,
        outcome="refused" if refused else "applied",
        detail=f"policy {state.policy_hash} is in force in partition {partition}"
        + (f", set by {state.policy_actor or 'somebody'} before" if refused else ""),
        epoch=0,
        position=m.Position(partition, record.offset),
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )
