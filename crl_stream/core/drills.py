"""Drills: tests of the protection on reserved tasks, which never count as part of the fleet.

``crl drill`` lets a variant fail on a task of the agent ``crl-drill`` and watches the rollback.  The monitor treats
these tasks like any other, or the drill would prove nothing.  Everything that adds up tasks, proposes changes or alerts
people leaves them out (``is_drill``, ``is_silent_drill``).

A drill records its result as the reason of a pin on its task, so the result is part of the task's row.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from crl_stream.core.instant import from_text, to_text

DRILL_AGENT: Final = "crl-drill"
"""The ``agent_name`` of all drill tasks and the ``runtime_id`` of every drill; runtimes must not use this name."""
STEADY: Final = "drill-steady"
"""The variant that always succeeds."""
FAILING: Final = "drill-failing"
"""The variant that is activated, fails, and must be rolled back."""
SILENT: Final = "silent-"
NOTIFYING: Final = "notify-"
"""Prefix of a drill's ``task_type``: notifiers ignore drills with this prefix, and deliver messages about the rest."""

DrillResult = Literal["running", "passed", "blocked", "failed", "unfinished"]
"""``blocked``: a mode or a hold prevents rollbacks.  ``unfinished``: a drill began but recorded no result."""
LONGEST_DETAIL: Final = 500
"""Maximum length of the detail in a recorded result, in characters."""
_RECORD: Final = re.compile(r"drill (running|passed|blocked|failed) (\S+): (.*)", re.DOTALL)


class Drill(NamedTuple):
    """The last drill on one task, as its row records it."""

    result: DrillResult
    time: int
    """When the drill began, in milliseconds since the epoch."""
    actor: str
    """Who ran the drill; empty if unknown."""
    detail: str


def is_drill(agent_name: str | None) -> bool:
    """Return whether a task of this agent, or a message about one, belongs to a drill."""
    return agent_name == DRILL_AGENT


def is_silent_drill(agent_name: str | None, task_type: str | None) -> bool:
    """Return whether a message belongs to a drill that must not reach people: any drill without ``--notify``."""
    return is_drill(agent_name) and not (task_type or "").startswith(NOTIFYING)


def record_of(drill: Drill) -> str:
    """Return the reason of the pin that records a drill; ``drill_of`` is the inverse.

    >>> record_of(Drill("passed", 0, "ada", "rolled back"))
    'drill passed 1970-01-01T00:00:00.000Z: rolled back'
    """
    return f"drill {drill.result} {to_text(drill.time)}: {drill.detail[:LONGEST_DETAIL]}"


def drill_of(active: str | None, since: int, actor: str, reason: str | None) -> Drill | None:
    """Return the last drill that the row of a task shows; None if there was none.

    Args:
        active: The active variant; None if the task has none.
        since: When it became active, in milliseconds since the epoch; it dates a drill without a recorded result.
        actor: Who sent the pin in force.
        reason: The reason of that pin; None if the task is not pinned.
    """
    found = None if reason is None else _RECORD.fullmatch(reason)
    if found is not None:
        try:
            return Drill(found[1], from_text(found[2]), actor, found[3])  # type: ignore[arg-type]
        except ValueError:
            pass  # an operator's own reason that happens to look like a drill's result
    if active is None:
        return None
    return Drill("unfinished", since, "", "it began but recorded no result")
