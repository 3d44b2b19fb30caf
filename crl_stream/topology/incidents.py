"""Facts of the shell's side of the log, which no task row causes: a failing fold, a gap, a new policy."""

from __future__ import annotations

import hashlib

from crl_stream.core import messages as m
from crl_stream.core.instant import day, to_text
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.topology.partition import PartitionRow
from crl_stream.wire.records import Record
from crl_stream.wire.topics import INVOCATIONS


def identify(prefix: str, kind: str, timestamp: int, *place: object) -> str:
    """The id of a fact: the day for people, then a hash of kind and place."""
    text = " ".join(str(part) for part in (kind, *place))
    return f"{prefix}-{day(timestamp)}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def fold_failure_alert(
    key: bytes, partition: int, record: Record, error: Exception, state: PartitionRow, *, topic: str = INVOCATIONS
) -> m.Alert:
    """A record of ``topic`` made the engine raise; it lies in the dead-letter topic and the partition goes on."""
    subject = key.decode("ascii", "replace") or f"partition {partition}"
    where, option, place = f"{partition}:{record.offset}", "", (partition, record.offset)
    if topic != INVOCATIONS:
        where, option, place = f"{topic} {where}", f" --topic {topic}", (topic, *place)  # type: ignore[assignment]
    action = f"record {where} was dead-lettered; the engine raised {type(error).__name__}"
    agent_name, _, task_type = subject.partition("/")
    return m.Alert(
        alert_id=identify("alert", "fold_failure", record.timestamp, state.incarnation, *place),
        timestamp=to_text(record.timestamp),
        kind="fold_failure",
        severity="critical",
        subject=subject,
        action=action,
        text=f"{subject}: {action}; see crl dead-letters show {partition}:{record.offset}{option}",
        cause_id=where,
        agent_name=agent_name if task_type else None,
        task_type=task_type or None,
        # A position is a place in the log; the record has none when it comes from another topic.
        position=m.Position(partition, record.offset) if topic == INVOCATIONS else None,
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )


def row_failure_alert(key: bytes, partition: int, record: Record, error: Exception, state: PartitionRow) -> m.Alert:
    """A tick made the engine raise for one row, which stays as it was until its next record."""
    subject = key.decode("ascii", "replace")
    agent_name, _, task_type = subject.partition("/")
    action = f"its holds and snapshot wait for its next outcome; at a tick the engine raised {type(error).__name__}"
    return m.Alert(
        alert_id=identify(
            "alert", "row_failure", record.timestamp, state.incarnation, partition, record.offset, subject
        ),
        timestamp=to_text(record.timestamp),
        kind="fold_failure",
        severity="critical",
        subject=subject,
        action=action,
        text=f"{subject}: {action}; this is a bug of the engine, report it",
        cause_id=f"{partition}:{record.offset}",
        agent_name=agent_name,
        task_type=task_type,
        position=m.Position(partition, record.offset),
        policy_hash=state.policy_hash,
        engine_version=ENGINE_VERSION,
    )


def data_gap_alert(partition: int, expected: int, first: int, timestamp: int, state: PartitionRow) -> m.Alert:
    """The broker has deleted records of the log before they were folded.

    ``expected`` is the offset the state ends at, ``first`` the oldest one left, ``timestamp`` its append time
    in milliseconds.
    """
    lost = first - expected
    subject = f"crl.invocations partition {partition}"
    action = f"offsets {expected} to {first - 1} are gone; the windows go on without them"
    return m.Alert(
        alert_id=identify("alert", "data_gap", timestamp, state.incarnation, partition, expected, first),
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
    """A policy set came into force in this partition, or was refused as there is one; ``state`` is after it."""
    return m.CommandResult(
        result_id=identify("cmdr", "SetPolicy", record.timestamp, state.incarnation, partition, record.offset),
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
