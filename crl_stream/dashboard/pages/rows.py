"""The table of tasks: fifty rows as HTML, and every task as a short list that ``app.js`` searches, sorts and draws.

A row is made once, here; the words in it are never made by the script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.dashboard.fleet import Fleet, active_of
from crl_stream.dashboard.pages import marks, phrases
from crl_stream.dashboard.pages.conditions import RECENT, newest_rollback, state_of
from crl_stream.dashboard.pages.rendering import render
from crl_stream.visible import visible

PER_PAGE: Final = 50
"""How many rows are in the page at once."""


MOST: Final = 5_000
"""How many tasks the table has; of a larger fleet, it has the most urgent ones."""


class Row(NamedTuple):
    """One task in the table; ``app.js`` reads the fields in this order."""

    agent: str
    task: str
    variant: str
    epoch: int
    outcomes: str
    judged: str
    codes: str
    baseline: int
    """The success rate that the window is compared with, in whole percent."""
    low: int
    """1 if the active variant is degraded, else 0."""
    rank: int
    icon: str
    css: str
    word: str
    more: str
    success: str
    against: str
    q: str
    moved: int
    runtimes: int
    time: int
    """When the task's snapshot was made, in milliseconds since the epoch."""
    drop: float
    """By how much success is below its baseline, for sorting."""
    marks: str
    command: str
    """The next command about the task."""


def row_of(fleet: Fleet, key: TaskKey, now: int) -> Row:
    """Return the row of one task at ``now``."""
    snapshot = fleet.tasks[key]
    active, state = active_of(snapshot), state_of(fleet, key, now)
    outcomes, judged = ("", "") if active is None else marks.cells_of(active.window)
    level = None if active is None or not active.window.outcomes else level_of(active)
    rate = 0.0 if active is None else active.window.success_rate
    points = [point.success_rate for point in fleet.points_of(key)]
    return Row(
        agent=visible(key.agent_name),
        task=visible(key.task_type),
        variant=visible(snapshot.active_variant or "none"),
        epoch=snapshot.epoch,
        outcomes=outcomes,
        judged=judged,
        codes=marks.codes_of(points),
        baseline=0 if level is None else round(level * 100),
        low=int(state.css == "bad"),
        rank=state.rank,
        icon=state.icon,
        css=state.css,
        word=visible(state.word),
        more=visible(state.more),
        success="" if level is None else phrases.percent(rate),
        against="" if level is None else f"of {phrases.percent(level)}",
        q="" if active is None else f"{active.q_value:.2f}",
        moved=snapshot.runtimes_current,
        runtimes=snapshot.runtimes,
        time=from_text(snapshot.timestamp),
        drop=0.0 if level is None else round(rate - level, 4),
        marks=state.marks,
        command=next_command(snapshot, key, newest_rollback(fleet, key), trouble=state.css == "bad"),
    )


def level_of(variant: m.VariantSnapshot) -> float:
    """Return the success rate that a variant's window is compared with: its baseline, else its lifetime."""
    return variant.success_rate if variant.baseline is None else variant.baseline.success_rate


def next_command(snapshot: m.TaskSnapshot, key: TaskKey, latest: m.RollbackEvent | None, *, trouble: bool) -> str:
    """Return the command to start with.

    The undo of the latest change if that was a rollback, the reasons why nothing is done about a trouble, else a closer
    look.
    """
    if latest is not None and latest.epoch == snapshot.epoch:
        return latest.undo_command
    return f"crl why-not {key}" if trouble else f"crl window {key}"


class Rows:
    """The rows of a fleet; each is made once for every snapshot of its task.

    A thousand rows take longer than everything else on the page.
    """

    def __init__(self) -> None:
        self._made: dict[TaskKey, _Made] = {}

    def of(self, fleet: Fleet, key: TaskKey, now: int) -> Row:
        """Return the row of one task at ``now``."""
        snapshot, last, made = fleet.tasks[key], newest_rollback(fleet, key), self._made.get(key)
        if made is None or made.snapshot is not snapshot or made.last is not last or not made.at <= now < made.until:
            made = _Made(snapshot, last, now, changes_at(snapshot, last, now), row_of(fleet, key, now))
            self._made[key] = made
        return made.row

    def all(self, fleet: Fleet, now: int) -> list[Row]:
        """Return the rows of the most urgent tasks, at most ``MOST``, the most urgent first, then by name."""
        if len(self._made) > len(fleet.tasks):
            self._made = {key: made for key, made in self._made.items() if key in fleet.tasks}
        rows = [self.of(fleet, key, now) for key in fleet.tasks]
        return sorted(rows, key=lambda row: (row.rank, row.agent, row.task))[:MOST]

    def change(self, fleet: Fleet, key: TaskKey, now: int) -> dict[str, object]:
        """Return what the stream sends about a task that has changed: its name and its row (None if it is gone)."""
        return {"key": str(key), "row": self.of(fleet, key, now) if key in fleet.tasks else None}


class _Made(NamedTuple):
    snapshot: m.TaskSnapshot
    last: m.RollbackEvent | None
    at: int
    until: float
    """When the row changes although nothing happens."""
    row: Row


def changes_at(snapshot: m.TaskSnapshot, last: m.RollbackEvent | None, now: int) -> float:
    """Return when a task's row changes although nothing happens: an order ends, or a rollback is no longer recent."""
    orders = (snapshot.held, snapshot.pinned, snapshot.fleet_held)
    ends = [from_text(order.until) for order in orders if order is not None and order.until]
    ends += [] if last is None else [from_text(last.timestamp) + RECENT]
    return min((end for end in ends if end > now), default=math.inf)


def table_of(rows: Sequence[Row], base: str, now: int) -> str:
    """Return the first page of the table's rows as HTML."""
    return render("rows.html", rows=rows[:PER_PAGE], base=base, now=now)


def island_of(rows: Sequence[Row]) -> str:
    """Return all rows as JSON that is safe inside a ``script`` element."""
    return safe_json(rows)


def safe_json(value: object) -> str:
    """Return JSON that cannot end the element that contains it."""
    text = msgspec.json.encode(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
