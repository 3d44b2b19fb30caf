"""Rows in the form that people and other workers see; code outside the pure layers does not know the row format."""

from __future__ import annotations

from typing import Any

import msgspec

from crl_stream.core.drills import Drill, drill_of
from crl_stream.core.instant import to_text
from crl_stream.core.messages import TaskSnapshot
from crl_stream.core.monitor.decision_matrix import no_rollback
from crl_stream.core.monitor.grounds import sentence
from crl_stream.core.monitor.pace import touches
from crl_stream.core.monitor.past import last_time
from crl_stream.core.monitor.rollout import WHOLE
from crl_stream.core.monitor.row import StandingOrder, TaskRow, decode_row
from crl_stream.core.monitor.rules import Rules, rules_of
from crl_stream.core.monitor.snapshot import task_snapshot
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.monitor.step import Context
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.monitor.why_not.asked import why_not
from crl_stream.core.monitor.why_not.conditions import Question
from crl_stream.core.policy import GUIDE, PolicySet
from crl_stream.core.reach import last_time_words, touches_words
from crl_stream.stages.fleet import has_expired
from crl_stream.stages.fleet_summary import ON_ADOPTION, ON_CARD, adoption_of
from crl_stream.stages.partition import decode_partition


def snapshot(partition: int, partition_row: bytes | None, row: bytes, now: int) -> TaskSnapshot:
    """Return the public snapshot of a task, as of the last record that touched its row.

    ``now`` is in milliseconds since the epoch.  A pin or hold that has expired by then is left out, although the row
    itself changes only with its next record.  If ``now`` is 0, nothing is left out.
    """
    state = decode_partition(partition_row)
    task = _standing(row, now)
    at = Context(
        partition, task.offset, task.time, state.incarnation, state.policy_hash, standing_fleet(state.fleet, now)
    )
    return task_snapshot(task, at, state.policies.for_task(task.key))


def questions(
    partition: int, partition_row: bytes | None, row: bytes, now: int, variant_id: str | None = None
) -> list[Question]:
    """Return why nothing happens to a task, or to one variant of it, as if it were judged at ``now`` (milliseconds)."""
    state, task = decode_partition(partition_row), decode_row(row)
    fleet = standing_fleet(state.fleet, now)
    at = Context(partition, task.offset, now, state.incarnation, state.policy_hash, fleet, state.tags)
    return why_not(row, at, state.policies.for_task(task.key), variant_id)


def standing_fleet(fleet: StandingOrder | None, now: int) -> StandingOrder | None:
    """Return the hold on the fleet; None if it has ended by ``now`` (milliseconds)."""
    return None if fleet is None or has_expired(fleet, now) else fleet


def fleet_hold(fleet: StandingOrder | None, now: int) -> dict[str, Any] | None:
    """Return the hold on the fleet in the form that people see; None if it has ended by ``now`` (milliseconds)."""
    order = standing_fleet(fleet, now)
    if order is None:
        return None
    until = None if order.until is None else to_text(order.until)
    return {
        "actor": order.actor,
        "reason": order.reason,
        "since": to_text(order.since),
        "until": until,
        "stops": order.stops,
    }


def summary(
    partition: int, row: bytes, now: int, policies: PolicySet = GUIDE, fleet: StandingOrder | None = None
) -> dict[str, Any]:
    """Summarise a task, cheaply enough to do this for every row of a worker; for ``now`` see ``snapshot``.

    ``verdict`` and ``reason`` are the active variant's under ``policies``; both are None if no variant is active.
    ``degraded_since`` is when its current degradation began.  ``no_rollback`` says why it would not be rolled back now.
    ``fleet`` is the current hold on the whole fleet.
    """
    task = _standing(row, now)
    active = task.variants.get(task.active) if task.active is not None else None
    policy = policies.for_task(task.key)
    rules = rules_of(policy)
    verdict = None if active is None else judge(active, rules)
    return {
        "agent_name": task.agent_name,
        "task_type": task.task_type,
        "active_variant": task.active,
        "epoch": task.epoch,
        "q_value": None if active is None else active.q,
        "judged": 0 if active is None else active.judged.n,
        "successes": 0 if active is None else active.judged.successes,
        "n_outcomes": task.n,
        "variants": len(task.variants),
        "verdict": None if verdict is None else verdict.kind,
        "reason": None if active is None or verdict is None else sentence(active, verdict, rules),
        "degraded_since": to_text(active.degraded_since)
        if active is not None and active.degraded and active.degraded_since
        else None,
        "degraded": sorted(v.variant_id for v in task.variants.values() if v.degraded),
        "quarantined": sorted(v.variant_id for v in task.variants.values() if v.quarantined),
        "pinned": task.pinned is not None,
        "held": task.held is not None or stops_all(fleet),
        "fleet_held": fleet is not None,
        "fleet_stops": None if fleet is None else fleet.stops,
        "held_by": _holder(task, fleet),
        "rollout": None
        if task.rollout is None
        else {
            "variant_id": task.rollout.variant_id,
            "share": task.rollout.shares[task.rollout.stage] / WHOLE,
            "paused": task.rollout.paused is not None,
        },
        "mode": policy.operations.mode,
        "no_rollback": None if active is None else no_rollback(task, policy, fleet),
        "no_target": task.no_target_n >= 0,
        "touches": touches_words(touches(task)),
        "last_time": last_time_words(last_time(task, "rollback")),
        "scorecard": scorecard(task, rules),
        "adoption": adoption(task),
        "common_cause": None if task.incident is None else task.incident.tag,
        "timestamp": to_text(task.time),
        "as_of": {"partition": partition, "offset": task.offset},
    }


def _holder(task: TaskRow, fleet: StandingOrder | None) -> str | None:
    if task.held is not None:
        return task.held.actor
    return fleet.actor if fleet is not None and stops_all(fleet) else None


def scorecard(task: TaskRow, rules: Rules) -> dict[str, int] | None:
    """Return how often rollbacks reported in shadow mode were right; None if there were none, or in another mode."""
    card = task.card
    if card is None or rules.mode != "shadow" or card.judging != rules.judging:
        return None
    return {name: getattr(card, name) for name in ON_CARD}


def adoption(task: TaskRow) -> dict[str, int] | None:
    """Return how the runtimes followed the task's latest change; None if none was expected to."""
    found = dict(zip(ON_ADOPTION, adoption_of(task), strict=True))
    return found if found["expected"] else None


def drill_standing(partition: int, row: bytes, now: int) -> dict[str, Any] | None:
    """Return the last drill on a drill task, for ``/api/summary``; None if the row cannot be read or shows none."""
    try:
        task = _standing(row, now)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    pin = task.pinned
    drill = drill_of(task.active, task.since, "" if pin is None else pin.actor, None if pin is None else pin.reason)
    return None if drill is None else drill_document(partition, str(task.key), drill)


def drill_document(partition: int, task: str, drill: Drill) -> dict[str, Any]:
    """Return a drill as a JSON object."""
    return {
        "partition": partition,
        "task": task,
        "result": drill.result,
        "timestamp": to_text(drill.time),
        "actor": drill.actor,
        "detail": drill.detail,
    }


def _standing(row: bytes, now: int) -> TaskRow:
    """Return the row without pins, holds and incidents that are no longer in force."""
    task = decode_row(row)
    for name in ("pinned", "held"):
        order = getattr(task, name)
        # A hold with both an end time and an outcome count lasts until both are reached.
        ends = order is not None and order.until is not None and now >= order.until
        if ends and (order.until_n is None or task.n >= order.until_n):
            setattr(task, name, None)
    if task.incident is not None and now >= task.incident.until:
        task.incident = None
    return task
