"""The last drill on each partition, as ``crl status`` shows it, from the rows or snapshots of the drill tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from crl_stream.core.instant import from_text

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
NAMED: Final = 8
"""Maximum number of partitions that the line about drills names."""


class LastDrills(NamedTuple):
    """The newest drill of each partition that was ever tested, newest first."""

    drills: list[dict[str, Any]]
    """The drills in the form of ``/api/summary``, with ``age_seconds``."""
    never: list[int] | None
    """Partitions without a drill; None if not every partition is known."""

    @property
    def line(self) -> str:
        """The line of ``crl status``: ``drill: passed 2 h ago on partition 3; never on partition 0, 1, 2``."""
        if not self.drills:
            return "" if self.never is None else "drill: never; `crl drill` tests whether a bad variant is rolled back"
        first, last = self.drills[0], self.drills[-1]
        words = [f"{first['result']} {_ago(first['age_seconds'])} on partition {first['partition']}"]
        if len(self.drills) > 1:
            words.append(f"oldest of {len(self.drills)} partitions: {_ago(last['age_seconds'])}")
        if self.never:
            words.append(f"never on partition {_named(self.never)}")
        return f"drill: {'; '.join(words)}"

    def findings(self) -> list[dict[str, Any]]:
        """Return findings about the partitions whose last drill has not passed; each cause gives one finding."""
        alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for drill in self.drills:
            if drill["result"] not in {"passed", "running"}:
                alike.setdefault((drill["result"], _cause(drill)), []).append(drill)
        return [_finding(drills) for drills in alike.values()]

    def as_json(self) -> dict[str, Any]:
        """Return a JSON object: the drills, the newest of them, and the partitions that were never tested."""
        return {
            "drills": self.drills,
            "last_drill": self.drills[0] if self.drills else None,
            "partitions_without_drill": self.never,
        }


def last_drills(page: Mapping[str, Any], partitions: int, now: int) -> LastDrills:
    """Return the last drills that ``page``, a view with tasks, shows; ``now`` is in milliseconds since the epoch.

    Every partition has two drill tasks, one of which notifies people; the newer drill counts.
    """
    found: Iterable[Mapping[str, Any]] | None = page.get("drills")
    newest: dict[int, dict[str, Any]] = {}
    for drill in found or ():
        before = newest.get(drill["partition"])
        if before is None or before["timestamp"] <= drill["timestamp"]:
            age = max(0, now - from_text(drill["timestamp"])) // 1_000
            newest[drill["partition"]] = {**drill, "age_seconds": age}
    is_whole = found is not None and not page.get("silent")
    never = [partition for partition in range(partitions) if partition not in newest] if is_whole else None
    return LastDrills(sorted(newest.values(), key=lambda drill: int(drill["age_seconds"])), never)


def _cause(drill: Mapping[str, Any]) -> str:
    return str(drill["detail"]).rstrip(".")


def _finding(drills: list[dict[str, Any]]) -> dict[str, Any]:
    newest, partitions = drills[0], sorted(drill["partition"] for drill in drills)
    is_blocked = newest["result"] == "blocked"
    what = (
        "found rollbacks switched off" if is_blocked else "failed" if newest["result"] == "failed" else "has no result"
    )
    named, again = f"partition {partitions[0]}", f"--partition {partitions[0]}"
    if len(partitions) > 1:
        named, again = f"partitions {_named(partitions)}", "--all-partitions"
    return {
        "name": "drill",
        "subject": newest["task"],
        "since": newest["timestamp"],
        "text": f"The last drill on {named} {what}: {_cause(newest)}.",
        "action": f"when that is settled, run `crl drill {again}`",
        "trouble": not is_blocked,
    }


def _named(partitions: list[int]) -> str:
    more = f" and {len(partitions) - NAMED} more" if len(partitions) > NAMED else ""
    return ", ".join(map(str, partitions[:NAMED])) + more


def _ago(seconds: int) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
