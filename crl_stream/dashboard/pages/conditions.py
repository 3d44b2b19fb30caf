"""What a task's state looks like: its rank, its icon, and the words of ``crl status``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.task_states import brief, is_trouble, remarks_of, wrongs

RECENT: Final = 86_400_000
"""For how long a rollback counts as recent, in milliseconds."""


class State(NamedTuple):
    """The state of a task as a tag."""

    rank: int
    """The order in which people look at tasks: 0 is the most urgent."""
    icon: str
    css: str
    """The colour's class; icon and words say the same."""
    word: str
    more: str
    """Further remarks, which do not fit into the tag."""
    marks: str
    """One letter for each filter of the table that shows the task; see ``FILTERS``."""

    @property
    def words(self) -> str:
        """All remarks, as ``crl status`` prints them."""
        return f"{self.word}; {self.more}" if self.more else self.word


FILTERS: Final = (
    ("", "All"),
    ("a", "Needs attention"),
    ("d", "Degraded"),
    ("r", "Rolled back, 24 h"),
    ("b", "Not all moved"),
    ("h", "Held"),
    ("p", "Pinned"),
    ("q", "Quarantine"),
    ("s", "Shadow or observe"),
    ("i", "Not judged"),
    ("n", "No outcome yet"),
)
"""The filters of the table of tasks: letter and label."""


def state_of(fleet: Fleet, key: TaskKey, now: int) -> State:
    """Return the state of a task at ``now``."""
    snapshot = fleet.tasks[key]
    task = brief(snapshot, now)
    word, *more = remarks_of(task)
    rank, icon, css = _look(task)
    last = newest_rollback(fleet, key)
    return State(rank, icon, css, word, "; ".join(more), _marks(task, snapshot, last, now))


def newest_rollback(fleet: Fleet, key: TaskKey) -> m.RollbackEvent | None:
    """Return the newest enforced rollback of a task that is known; None if there is none."""
    return next((event for event in fleet.rollbacks_of(key) if event.enforced), None)


def _look(task: Mapping[str, Any]) -> tuple[int, str, str]:
    given = dict(task)
    trouble = is_trouble(given)
    looks: list[tuple[bool, str, str]] = [
        (trouble and bool(task["no_target"]), "x-circle", "bad"),
        (trouble and bool(task["held"]), "pause", "bad"),
        (trouble, "warn", "bad"),
        (bool(task["common_cause"]), "warn", "warn"),
        (bool(wrongs(given)) and _failing_rollout(task), "warn", "warn"),
        (bool(task["held"]), "pause", "hold"),
        (bool(task["pinned"]), "pin", "hold"),
        (bool(task["quarantined"]), "undo", "warn"),
        (task["rollout"] is not None, "up", "info"),
        (not task["n_outcomes"], "moon", ""),
        (task["verdict"] not in {"HEALTHY", "DEGRADED"}, "dots", ""),
        (task["mode"] != "enforce", "shadow", "info"),
        (True, "check", "ok"),
    ]
    return next((rank, icon, css) for rank, (fits, icon, css) in enumerate(looks) if fits)


def _failing_rollout(task: Mapping[str, Any]) -> bool:
    return task["rollout"] is not None and task["rollout"]["variant_id"] in task["degraded"]


def _marks(task: Mapping[str, Any], snapshot: m.TaskSnapshot, last: m.RollbackEvent | None, now: int) -> str:
    given = dict(task)
    fits = {
        "a": bool(wrongs(given)),
        "d": is_trouble(given),
        "r": last is not None and now - from_text(last.timestamp) < RECENT,
        "b": snapshot.runtimes_current < snapshot.runtimes,
        "h": bool(task["held"]),
        "p": bool(task["pinned"]),
        "q": bool(task["quarantined"]),
        "s": task["mode"] != "enforce",
        "i": bool(task["n_outcomes"]) and task["verdict"] not in {"HEALTHY", "DEGRADED"},
        "n": not task["n_outcomes"],
    }
    return "".join(letter for letter, true in fits.items() if true)
