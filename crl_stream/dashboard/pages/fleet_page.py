"""The page of the whole fleet: the guide's five sections, what changed, and the table of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.overview import Condition
from crl_stream.core.overview.condition import PENDING_BELOW, ROLLBACKS_BELOW
from crl_stream.core.overview.ledger import RATE_LIMIT
from crl_stream.core.overview.rows import ATTENTION
from crl_stream.core.reach import last_time_words, sentence, touches_words, with_reach
from crl_stream.dashboard import entries
from crl_stream.dashboard.fleet import Fleet, fact_id_of, task_of
from crl_stream.dashboard.pages import marks, orders
from crl_stream.dashboard.pages.conditions import FILTERS
from crl_stream.dashboard.pages.frame import Scene, linked, page
from crl_stream.dashboard.pages.happenings import ORDERED, Happening, happening_of
from crl_stream.dashboard.pages.phrases import plural
from crl_stream.dashboard.pages.rows import Rows, island_of, table_of
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.explaining.fates import fates_of, status_of
from crl_stream.proposals.page import stands

CHANGES: Final = 8
"""How many changes the page lists."""
REASONS: Final = 8
"""How many reasons for the health are listed at once; the others are folded away."""
LISTED: Final = 6
"""How many proposals and variants a side list shows."""
_SIGNS: Final = {"HEALTHY": ("check", "ok"), "STABLE": ("eye", "warn"), "ATTENTION NEEDED": ("warn", "bad")}


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """One degraded variant in the list of degradation alerts."""

    standing: m.TaskStanding
    key: TaskKey
    strip: tuple[str, str] | None
    """The variant's outcomes and which are judged; None if the fleet has no snapshot of it."""
    status: str
    now: str
    """The current verdict, if it is better than DEGRADED."""
    touches: str
    command: str
    order: orders.Order | None
    icon: str
    alerts: list[str]
    """What other open alerts say about the task."""


class RecentRollback(msgspec.Struct, frozen=True, kw_only=True):
    """One of the last rollbacks."""

    note: m.RollbackNote
    key: TaskKey
    status: str
    """What became of it, as in ``crl rollbacks``."""
    icon: str
    css: str
    moved: tuple[int, int] | None
    """How many of the expected runtimes have followed it."""
    order: orders.Order | None


def fleet_page(
    fleet: Fleet,
    viewer: Viewer,
    now: int,
    *,
    troubles: Sequence[str] = (),
    parts: bool = False,
    made: Rows | None = None,
) -> str:
    """Return the page of the fleet at ``now``, in milliseconds since the epoch.

    ``troubles`` has one line for each thing that is not working, as ``crl dashboard`` prints it. With ``parts``, the
    table of tasks is left out: the script asks for the rest of the page when something has changed. ``made`` keeps the
    rows of the table for the next page.
    """
    scene = Scene(fleet=fleet, viewer=viewer, now=now, troubles=troubles, orders=[])
    overview = fleet.overview
    if overview is None and not fleet.tasks:
        return page(scene, "empty.html", title="No outcomes yet", current="fleet", troubles=troubles)
    rows = [] if parts else (made or Rows()).all(fleet, now)
    shown = Condition(overview, now) if overview is not None else None
    values: dict[str, Any] = {
        "entries": entries,
        "parts": parts,
        "table": table_of(rows, viewer.base, now),
        "island": island_of(rows),
        "filters": [(mark, label, sum(mark in row.marks for row in rows)) for mark, label in FILTERS],
        "left_out": len(fleet.tasks) - len(rows),
        "changes": changes_of(fleet)[:CHANGES],
        "overview": overview,
        "condition": shown,
        "troubles": troubles,
    }
    if overview is not None and shown is not None:
        values |= _sections(scene, overview, shown)
    return page(scene, "fleet.html", title="Fleet", current="fleet", **values)


def _sections(scene: Scene, overview: m.Overview, condition: Condition) -> dict[str, Any]:
    word = entries.health_word(condition, scene.troubles)
    others = entries.others_open(condition.alerts)
    degraded = [_degraded(scene, standing, others) for standing in overview.degraded]
    listed = {one.key for one in degraded if one.standing.active}
    shared = by_cause(scene.fleet, [alert for alert in condition.alerts if alert.kind in ATTENTION])
    repeated = {with_reach(alert.text, alert) for _, *rest in shared for alert in rest}
    reasons = [*scene.troubles, *condition.concerns]
    told = [text for text in reasons if text not in repeated][:REASONS]
    more = [text for text in reasons if text not in told]
    idle = [standing for standing in overview.high_confidence if not standing.active]
    return {
        "word": word,
        "sign": _SIGNS[word],
        "concerns": [linked(text, scene.fleet) for text in told],
        "more_concerns": [linked(text, scene.fleet) for text in more],
        "figures": _figures(overview, condition),
        "in_use": [one for one in degraded if one.standing.active],
        "not_in_use": [one for one in degraded if not one.standing.active],
        "others": [
            (
                first,
                linked(with_reach(first.text, first), scene.fleet),
                [with_reach(alert.text, alert) for alert in rest],
            )
            for first, *rest in by_cause(scene.fleet, [alert for alert in others if task_of(alert) not in listed])
        ],
        "rollbacks": _rollbacks(scene, overview.rollbacks),
        "proposals": condition.proposals[:LISTED],
        "confident": [(one, entries.readiness(one)) for one in idle],
        "confident_active": sum(standing.active for standing in overview.high_confidence),
        "confident_more": overview.n_high_confidence - len(overview.high_confidence),
    }


def by_cause(fleet: Fleet, alerts: Sequence[m.AlertNote]) -> list[list[m.AlertNote]]:
    """Return the alerts grouped by their cause, in the order in which the causes first appear.

    Tasks that fall together because of a provider or model have that in common as their cause.
    """
    found: dict[str, list[m.AlertNote]] = {}
    for alert in alerts:
        key = task_of(alert)
        snapshot = None if key is None else fleet.tasks.get(key)
        shared = None if snapshot is None or alert.kind != "common_cause" else snapshot.common_cause
        found.setdefault(alert.cause_id if shared is None else shared.tag, []).append(alert)
    return list(found.values())


def _figures(overview: m.Overview, condition: Condition) -> list[tuple[str, int, str, str]]:
    """Return each total with a remark and the remark's colour."""
    remarks = [
        (f"{plural(overview.tasks, 'task')} of all agents", ""),
        ("with at least one variant", ""),
        (
            f"{condition.rollbacks_week} in last 7 days",
            "bad"
            if condition.rollbacks_week > RATE_LIMIT
            else "warn"
            if condition.rollbacks_month >= ROLLBACKS_BELOW
            else "",
        ),
        (f"fewer than {PENDING_BELOW} is healthy", "warn" if condition.pending >= PENDING_BELOW else ""),
    ]
    totals = entries.health_figures(overview, condition)
    return [(name, total, *remark) for (name, total), remark in zip(totals, remarks, strict=True)]


def _degraded(scene: Scene, standing: m.TaskStanding, others: Sequence[m.AlertNote]) -> Degraded:
    fleet, key = scene.fleet, TaskKey(standing.agent_name, standing.task_type)
    snapshot = fleet.tasks.get(key)
    variants = () if snapshot is None else snapshot.variants
    variant = next((one for one in variants if one.variant_id == standing.variant_id), None)
    order, command, sign = None, f"crl why-not {key}", "warn"
    held = None if snapshot is None else snapshot.held
    if standing.active and held is not None and held.scope == "task" and stands(held, scene.now):
        order = scene.order(orders.resume(key, held, f"resume-{len(scene.orders)}", touches(fleet, key)))
        command, sign = order.command, "pause"
    elif standing.active and snapshot is not None and snapshot.no_target:
        command, sign = f"crl register {key} VARIANT", "x-circle"
    return Degraded(
        standing=standing,
        key=key,
        strip=None if variant is None else marks.cells_of(variant.window),
        status=entries.protection(standing),
        now=dict(entries.degradation_fields(standing)).get("Now", ""),
        touches=touches(fleet, key),
        command=command,
        order=order,
        icon=sign,
        alerts=[with_reach(alert.text, alert) for alert in others if task_of(alert) == key] if standing.active else [],
    )


def touches(fleet: Fleet, key: TaskKey) -> str:
    """Return what a change of a task reaches: ``1 task, 4 runtimes, about 120 outcomes an hour``."""
    snapshot = fleet.tasks.get(key)
    return "" if snapshot is None else touches_words(snapshot.touches)


def _rollbacks(scene: Scene, notes: Sequence[m.RollbackNote]) -> list[RecentRollback]:
    fleet = scene.fleet
    events = [fleet.rollbacks[note.rollback_id] for note in notes if note.rollback_id in fleet.rollbacks]
    fates = fates_of(events, facts_about(fleet, events))
    found = []
    for note in notes:
        event, key = fleet.rollbacks.get(note.rollback_id), TaskKey(note.agent_name, note.task_type)
        status = "" if event is None else status_of(event, fates[note.rollback_id])
        order = None
        if event is not None and note.undo_command is not None:
            order = scene.order(orders.undo(event, last_time(event), f"undo-{note.rollback_id}", touches(fleet, key)))
        look = look_of(status)
        found.append(
            RecentRollback(
                note=note, key=key, status=status, icon=look[0], css=look[1], moved=moved(fleet, note), order=order
            )
        )
    return found


def last_time(event: m.RollbackEvent) -> str:
    """Return the task's rollback before this one as a sentence; empty if there was none."""
    return sentence(last_time_words(event.last_time))


def facts_about(fleet: Fleet, events: Sequence[m.RollbackEvent]) -> Iterator[Any]:
    """Return the known facts of the tasks in which these rollbacks happened."""
    for key in dict.fromkeys(TaskKey(event.agent_name, event.task_type) for event in events):
        yield from fleet.facts_of(key)


def look_of(status: str) -> tuple[str, str]:
    """Return the icon and colour for what became of a rollback."""
    looks = {
        "confirmed": ("check", "ok"),
        "undone": ("undo", "hold"),
        "taken": ("undo", "hold"),
        "not": ("person", "warn"),
    }
    return looks.get(status.split(" ", 1)[0], ("shadow", "info"))


def moved(fleet: Fleet, note: m.RollbackNote | m.RollbackEvent) -> tuple[int, int] | None:
    """Return how many of the expected runtimes have followed a rollback; None if that is not known."""
    key = TaskKey(note.agent_name, note.task_type)
    snapshot = fleet.tasks.get(key)
    # The fact is published once; a runtime that was stuck may move later, which only the snapshot says.
    if snapshot is not None and snapshot.epoch == note.epoch and snapshot.adoption is not None and note.enforced:
        return snapshot.adoption.moved, snapshot.adoption.expected
    for fact in fleet.facts_of(key):
        if isinstance(fact, m.Adoption) and fact.cause_id == note.rollback_id:
            late = {*fact.stuck, *fact.waiting}
            since = [one for one in fleet.receipts_of(key).values() if one.epoch == fact.epoch]
            return fact.moved + sum(one.runtime_id in late for one in since), fact.expected
    return None


def changes_of(fleet: Fleet) -> list[Happening]:
    """Return what changed lately in the fleet, newest first: activations that were made, and commands."""
    once: dict[str, Any] = {}
    for fact in fleet.facts.values():
        if _is_change(fact):  # a command for the fleet has a result in each partition
            once.setdefault(fact.command_id if isinstance(fact, m.CommandResult) else fact_id_of(fact), fact)
    found = [happening_of(fact) for fact in once.values()]
    return sorted(found, key=lambda one: -from_text(one.timestamp))


def _is_change(fact: Any) -> bool:
    if isinstance(fact, m.Activation):
        return fact.enforced and fact.cause != "first_seen" and fact.cause not in ORDERED
    return isinstance(fact, m.CommandResult) and fact.outcome == "applied" and fact.command != "ReportTag"
