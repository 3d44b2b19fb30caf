"""What every page has: the top bar, the banners, the dialogs of its orders, the foot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.reach import together, touched, touches_words
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages import orders as o
from crl_stream.dashboard.pages.phrases import age, plural
from crl_stream.dashboard.pages.rendering import render
from crl_stream.dashboard.pages.rows import safe_json
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.dashboard.task_states import brief, is_trouble
from crl_stream.kafka.fleet_orders import PUT_BACK
from crl_stream.proposals.page import stands
from crl_stream.proposals.standing import status_at

LATE: Final = 10_000
LOST: Final = 30_000
"""Milliseconds of silence after which a page says Late, and Not live; ``app.js`` has the same limits."""


ONSET: Final = 3_600_000
"""How long before an incident was found its tasks are looked at, in milliseconds."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that fell together because of what they share."""

    tag: str
    tasks: list[TaskKey]
    since: str
    until: str
    touches: str
    """What these tasks touch together, as a sentence."""
    fell: list[int]
    """When variants of these tasks became degraded, in milliseconds, oldest first; as far as it is known."""


class Scene(msgspec.Struct, kw_only=True):
    """What a page is made from."""

    fleet: Fleet
    viewer: Viewer
    now: int
    troubles: Sequence[str] = ()
    """One line for each thing that is not working."""
    orders: list[o.Order] = []
    """The orders whose dialogs the page needs."""

    def order(self, order: o.Order) -> o.Order:
        """Add the dialog of an order to the page, and return the order."""
        self.orders.append(order)
        return order


def page(scene: Scene, template: str, *, title: str, current: str, **values: Any) -> str:
    """Render a whole page."""
    held = fleet_hold(scene.fleet, scene.now)
    scene.order(o.stop_all(scene.fleet, held))
    if held is not None:
        scene.order(o.resume_all(scene.fleet, held))
    return render(
        template,
        scene=scene,
        title=title,
        current=current,
        base=scene.viewer.base,
        now=scene.now,
        now_text=to_text(scene.now),
        heard=scene.fleet.heard_at,
        heard_text=to_text(scene.fleet.heard_at) if scene.fleet.heard_at else "",
        heard_age=age(scene.now - scene.fleet.heard_at),
        pending=len(open_proposals(scene.fleet, scene.now)),
        held=held,
        put_back=PUT_BACK,
        failing=failing(scene.fleet, scene.now) if held is not None else 0,
        incidents=incidents(scene.fleet, scene.now),
        task_link=lambda key: task_link(scene.viewer.base, key),
        body_of=lambda order: safe_json(order.body),
        tasks_in_words=plural(len(scene.fleet.tasks), "task"),
        **values,
    )


def task_link(base: str, key: TaskKey) -> str:
    """Return the address of a task's page; names need no quoting, since they are identifiers."""
    return f"{base}/tasks/{key.agent_name}/{key.task_type}"


def fleet_hold(fleet: Fleet, now: int) -> m.Order | None:
    """Return the fleet's hold that is in force, as the newest records of the tasks tell it.

    If a command did not arrive in every partition, tasks can have different holds: then one that stops rollbacks too,
    and of several the newest.
    """
    holds = (snapshot.fleet_held for snapshot in fleet.tasks.values())
    standing = [held for held in holds if held is not None and stands(held, now)]
    return max(standing, key=lambda held: (held.stops == "all", held.since), default=None)


def failing(fleet: Fleet, now: int) -> int:
    """Return the number of tasks whose active variant is degraded or never succeeds."""
    return sum(is_trouble(brief(snapshot, now)) for snapshot in fleet.tasks.values())


def incidents(fleet: Fleet, now: int) -> list[Incident]:
    """Return what several tasks share that is failing, the largest first."""
    found: dict[str, list[m.TaskSnapshot]] = {}
    for snapshot in fleet.tasks.values():
        cause = snapshot.common_cause
        if cause is not None and from_text(cause.until) > now:
            found.setdefault(cause.tag, []).append(snapshot)
    return sorted(
        (_incident(fleet, tag, tasks) for tag, tasks in found.items()), key=lambda one: (-len(one.tasks), one.tag)
    )


def _incident(fleet: Fleet, tag: str, tasks: Sequence[m.TaskSnapshot]) -> Incident:
    causes = [task.common_cause for task in tasks if task.common_cause is not None]
    keys, since = {TaskKey(task.agent_name, task.task_type) for task in tasks}, min(cause.since for cause in causes)
    fell = [
        when
        for event in fleet.degradations.values()
        if event.state == "degraded"
        and (event.agent_name, event.task_type) in keys
        and (when := from_text(event.timestamp)) > from_text(since) - ONSET
    ]
    return Incident(
        tag=tag,
        tasks=sorted(keys),
        since=since,
        touches=_touched(tasks),
        fell=sorted(fell),
        until=max(cause.until for cause in causes),
    )


def _touched(tasks: Sequence[m.TaskSnapshot]) -> str:
    found = together(task.touches for task in tasks)
    if found.runtimes is None and found.outcomes_an_hour is None:
        return f"It touches {plural(len(tasks), 'task')}; how many runtimes and outcomes is not known."
    return touched(touches_words(found))


def open_proposals(fleet: Fleet, now: int) -> list[m.Proposal]:
    """Return the proposals that wait for a person and have not expired, most confident first."""
    return [p for p in fleet.open_proposals if status_at(p, now) == p.status]


def linked(text: str, keys: Iterable[TaskKey] | Fleet) -> tuple[TaskKey | None, str]:
    """Return the task that a sentence begins with, and the rest of the sentence; None if it begins with no task."""
    known = keys.tasks if isinstance(keys, Fleet) else set(keys)
    name, space, rest = text.partition(" ")
    bare = name.rstrip(":")
    try:
        key = TaskKey.parse(bare)
    except ValueError:
        return None, text
    return (key, name[len(bare) :] + space + rest) if key in known else (None, text)
