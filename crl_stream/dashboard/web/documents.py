"""The pages as JSON, with the same figures: ``Accept: application/json``, or ``.json`` at the end of the address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text
from crl_stream.core.overview import Condition
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.task_states import brief, state_of
from crl_stream.explaining.fates import fates_of, status_of
from crl_stream.proposals.standing import status_at


def fleet_document(fleet: Fleet, now: int, standing: dict[str, Any], troubles: Sequence[str] = ()) -> dict[str, Any]:
    """Return the whole fleet; ``health`` and ``concerns`` are those of ``crl dashboard --json``."""
    page = fleet.overview
    condition = None if page is None else Condition(page, now)
    tasks = [brief(fleet.tasks[key], now) for key in sorted(fleet.tasks)]
    return standing | {
        "generated": to_text(now),
        "health": None if condition is None else "ATTENTION NEEDED" if troubles else condition.word,
        "concerns": [*troubles, *([] if condition is None else condition.concerns)],
        "rollbacks_30_days": None if condition is None else condition.rollbacks_month,
        "rollbacks_7_days": None if condition is None else condition.rollbacks_week,
        "pending_proposals": None if condition is None else condition.pending,
        "overview": page,
        "tasks": [task | {"state": state_of(task)} for task in tasks],
        "open_alerts": list(fleet.open_alerts),
        "facts": fleet.facts.newest(50),
    }


def task_document(fleet: Fleet, key: TaskKey, now: int, standing: dict[str, Any]) -> dict[str, Any]:
    """Return one task, which the fleet must know."""
    snapshot = fleet.tasks[key]
    task = brief(snapshot, now)
    return standing | {
        "generated": to_text(now),
        "state": state_of(task),
        "task": snapshot,
        "active": fleet.actives.get(key),
        "facts": list(fleet.facts_of(key)),
        "rollbacks": list(fleet.rollbacks_of(key)),
        "degradations": list(fleet.degradations_of(key)),
        "receipts": dict(fleet.receipts_of(key)),
        "points": [point._asdict() for point in fleet.points_of(key)],
    }


def rollback_document(fleet: Fleet, rollback_id: str, now: int, standing: dict[str, Any]) -> dict[str, Any]:
    """Return one rollback, which the fleet must know, and what became of it."""
    event = fleet.rollbacks[rollback_id]
    key = TaskKey(event.agent_name, event.task_type)
    fate = fates_of([event], fleet.facts_of(key))[rollback_id]
    return standing | {
        "generated": to_text(now),
        "rollback": event,
        "status": status_of(event, fate),
        "fate": fate,
        "task": fleet.tasks.get(key),
        "receipts": dict(fleet.receipts_of(key)),
    }


def review_document(fleet: Fleet, now: int, standing: dict[str, Any]) -> dict[str, Any]:
    """Return the proposals that wait for a person, most confident first."""
    waiting = [proposal for proposal in fleet.open_proposals if status_at(proposal, now) == proposal.status]
    return standing | {"generated": to_text(now), "proposals": waiting}
