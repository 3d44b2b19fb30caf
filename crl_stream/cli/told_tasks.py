"""Reads the tasks from the topics when no worker answers.

The number of records read is limited: a fleet has one snapshot per task, so for a large fleet the overview page is read
instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from crl_stream.cli.clock import now_ms
from crl_stream.core import messages as m
from crl_stream.core.drills import drill_of, is_drill
from crl_stream.core.instant import from_text
from crl_stream.core.reach import last_time_words, touches_words
from crl_stream.dashboard.task_states import brief
from crl_stream.kafka.fleet_health import finding
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import Access
from crl_stream.proposals.page import stands
from crl_stream.settings import Settings
from crl_stream.stages.inspection import drill_document
from crl_stream.wire.topics import TASKS

MOST_TOLD: Final = 10_000
"""If ``crl.tasks`` has more records than this, they are read only if every task is requested."""
RESUME_ALL: Final = "`crl resume --all` releases it"


async def tasks_as_told(
    settings: Settings, overview: m.Overview | None, access: Access | None = None, *, every: bool = False
) -> dict[str, Any]:
    """Return the tasks from the topics, in the form of ``/api/tasks``, read through ``access`` or a new connection.

    They come from the snapshots on ``crl.tasks``. If there are too many snapshots and ``every`` is not set, they
    come from the overview page, which lists only the degraded tasks.
    """
    newest: dict[tuple[str, str], m.TaskSnapshot] = {}
    async with TopicReader(access or settings.kafka) as reader:
        if not every and await reader.extent(TASKS) > MOST_TOLD:
            return _tasks_of_overview(overview)
        for received in await reader.read(TASKS):
            task = received.message
            if isinstance(task, m.TaskSnapshot):
                key = task.agent_name, task.task_type
                known = newest.get(key)
                if known is None or (known.incarnation, known.as_of.offset) <= (task.incarnation, task.as_of.offset):
                    newest[key] = task
    now = now_ms()
    fleet = [newest[key] for key in sorted(newest) if not is_drill(key[0])]
    drills = [_last_drill(task, now) for key, task in newest.items() if is_drill(key[0])]
    return {
        "tasks": [brief(task, now) for task in fleet],
        "drills": [drill for drill in drills if drill is not None],
        "source": "the snapshots on crl.tasks",
    }


def held_as_told(overview: m.Overview | None, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a note about the fleet's hold, as far as the topics show it."""
    alerts = [] if overview is None else [alert for alert in overview.open_alerts if alert.kind == "fleet_hold"]
    if not alerts and not any(task.get("fleet_held") for task in told.get("tasks", ())):
        return []
    since = from_text(alerts[0].timestamp) if alerts else None
    if alerts:
        held = alerts[0].text.partition(": ")[2].partition("; crl resume")[0]
    elif any(task.get("fleet_stops", "all") == "all" for task in told.get("tasks", ()) if task.get("fleet_held")):
        held = "held: no rollback happens"
    else:
        held = "promotions stopped: rollbacks still happen"
    text = f"The fleet is {held}." if held.startswith("held") else f"The fleet: {held}."
    return [finding("fleet_held", "fleet", text, RESUME_ALL, since, trouble=False)]


def _tasks_of_overview(overview: m.Overview | None) -> dict[str, Any]:
    told: dict[str, Any] = {"tasks": [], "partial": True, "listed": "attention", "source": "the page on crl.overview"}
    if overview is None:
        return told | {"summary": {}}
    failing = [variant for variant in overview.degraded if variant.active]
    told["tasks"] = [_brief_of_standing(variant) for variant in failing]
    told["summary"] = {"tasks": overview.tasks, "variants": overview.q_table_entries, "trouble": len(failing)}
    return told


def _brief_of_standing(variant: m.TaskStanding) -> dict[str, Any]:
    """Return what the overview page says about a task whose active variant is degraded."""
    return {
        "agent_name": variant.agent_name,
        "task_type": variant.task_type,
        "active_variant": variant.variant_id,
        "epoch": None,
        "q_value": variant.q_value,
        "verdict": variant.verdict,
        "reason": variant.reason,
        "degraded_since": variant.since,
        "no_rollback": variant.no_rollback,
        "n_outcomes": variant.n_visits,
        "variants": None,
        "degraded": [variant.variant_id],
        "quarantined": [],
        "pinned": False,
        "held": False,
        "no_target": False,
        "touches": touches_words(variant.touches),
        "last_time": last_time_words(variant.last_time),
        "common_cause": None,
    }


def _last_drill(task: m.TaskSnapshot, now: int) -> dict[str, Any] | None:
    """Return the last drill on a drill task, in the form of ``/api/summary``."""
    pin = task.pinned if task.pinned is not None and stands(task.pinned, now) else None
    since = 0 if task.active_since is None else from_text(task.active_since)
    found = drill_of(task.active_variant, since, "" if pin is None else pin.actor, None if pin is None else pin.reason)
    name = f"{task.agent_name}/{task.task_type}"
    return None if found is None else drill_document(task.as_of.partition, name, found)
