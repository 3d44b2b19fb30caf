"""How many outcomes a task gets in an hour, by append time.

The row keeps when the hour began that its last snapshot belongs to, and the counts of two hours. That is enough to know
the last 60 minutes closely, whatever the time, and costs nothing on the hot path.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages import Touches
from crl_stream.core.monitor.row import Pace, TaskRow

HOUR: Final = 3_600_000
_LEAST: Final = 60_000
"""Milliseconds that a task must have existed before its rate is known."""


def keep_pace(row: TaskRow) -> None:
    """Count the outcomes of the hour that has ended; call this before a snapshot is marked as published."""
    hour = row.time // HOUR
    if row.pace is None:
        if row.n:
            row.pace = Pace(row.time, row.shown_n, hour, row.shown_n)
    elif hour != row.pace.hour:
        row.pace = _moved(row, row.pace, hour)


def _moved(row: TaskRow, pace: Pace, hour: int) -> Pace:
    """Return the counts for another hour; the outcomes since the last snapshot belong to it."""
    before = row.shown_n - pace.start if hour == pace.hour + 1 else 0
    return Pace(pace.since, pace.born, hour, row.shown_n, before)


def an_hour(row: TaskRow) -> int | None:
    """Return the number of outcomes in the last hour; for a younger task its rate so far, None in its first minute."""
    if row.pace is None:
        return None
    pace, hour = row.pace, row.time // HOUR
    age = row.time - pace.since
    if age < _LEAST:
        return None
    if age < HOUR:
        return round((row.n - pace.born) * HOUR / age)
    if hour != pace.hour:
        pace = _moved(row, pace, hour)
    return round(pace.before * (HOUR - row.time % HOUR) / HOUR) + row.n - pace.start


def touches(row: TaskRow) -> Touches:
    """Return what a change of the task reaches; the runtimes are not known if no outcome names one."""
    return Touches(tasks=1, runtimes=len(row.runtimes) or None, outcomes_an_hour=an_hour(row))
