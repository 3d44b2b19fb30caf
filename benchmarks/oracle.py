"""Computes what a contestant's snapshots must contain: windows and counts, reimplemented as simply as possible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

WINDOW = 20
EARLY = (1, 2, 5, 10)
EVERY = 10

Summary = tuple[tuple[str, int, int, int], ...]
"""The state of a task: for each variant the lifetime count, and the outcomes and successes in its window."""


class Outcome(NamedTuple):
    """One outcome in the input; ``time`` is the broker's timestamp, in milliseconds."""

    variant: str
    success: bool
    time: int


class Oracle:
    """Remembers every outcome of every task, in order."""

    def __init__(self) -> None:
        self._outcomes: dict[str, list[Outcome]] = defaultdict(list)

    def take(self, entries: Iterable[tuple[str, str, bool]], time: int) -> None:
        """Add outcomes, each with its task and variant, that the broker appended at the same time."""
        for task, variant, success in entries:
            self._outcomes[task].append(Outcome(variant, success, time))

    def snapshots_due(self, seconds: float) -> int:
        """Return how many snapshots the equivalent job publishes if they are at least ``seconds`` apart."""
        count = 0
        for outcomes in self._outcomes.values():
            shown_n = shown_time = 0
            for n, outcome in enumerate(outcomes, start=1):
                if _is_due(n, outcome.time, shown_n, shown_time, seconds):
                    shown_n, shown_time, count = n, outcome.time, count + 1
        return count

    def complaint(
        self,
        found: Mapping[str, Iterable[tuple[int, Summary]]],
        *,
        seconds: float = 1.0,
        complete: bool = True,
        extra: bool = False,
    ) -> str | None:
        """Return a description of what is wrong with the snapshots by task, or None if nothing is.

        Every snapshot must be right for its number of outcomes, and none that was due may be missing. If ``complete``
        is false, some outcomes were not folded, and nothing is checked after a task's last snapshot. ``extra`` allows
        additional snapshots.
        """
        for task, outcomes in self._outcomes.items():
            said = dict(found.get(task, ()))
            if complaint := _complain(outcomes, said, seconds=seconds, complete=complete, extra=extra):
                return f"{task}: {complaint}"
        if unknown := found.keys() - self._outcomes.keys():
            return f"there are snapshots of {min(unknown)}, which has no outcomes"
        return None


def _is_due(n: int, time: int, shown_n: int, shown_time: int, seconds: float) -> bool:
    return n in EARLY or (n - shown_n >= EVERY and time - shown_time >= seconds * 1_000)


def _complain(
    outcomes: list[Outcome], said: dict[int, Summary], *, seconds: float, complete: bool, extra: bool
) -> str | None:
    seen: dict[str, list[bool]] = defaultdict(list)
    shown_n = shown_time = 0
    until = len(outcomes) if complete else max(said, default=0)
    for n, outcome in enumerate(outcomes[:until], start=1):
        seen[outcome.variant].append(outcome.success)
        due = _is_due(n, outcome.time, shown_n, shown_time, seconds)
        if n not in said:
            if due:
                return f"the snapshot of outcome {n} is missing"
            continue
        if not due and not extra:
            return f"the snapshot of outcome {n} was not due"
        shown_n, shown_time = n, outcome.time
        true = tuple(
            (name, len(all_), min(len(all_), WINDOW), sum(all_[-WINDOW:])) for name, all_ in sorted(seen.items())
        )
        if said[n] != true:
            return f"the snapshot of outcome {n} says {said[n]}, but should say {true}"
    if more := [n for n in said if n > len(outcomes)]:
        return f"there is a snapshot of outcome {min(more)}, but only {len(outcomes)} were sent"
    return None
