"""Windows and counts, written once more and as simply as can be: what the snapshots of a contestant must say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

WINDOW = 20
EARLY = (1, 2, 5, 10)
EVERY = 10

Summary = tuple[tuple[str, int, int, int], ...]
"""Of a task: each variant with its lifetime count, outcomes in its window, successes among these."""


class Oracle:
    """Remembers every outcome of every task, in order."""

    def __init__(self) -> None:
        self._outcomes: dict[str, list[tuple[str, bool]]] = defaultdict(list)

    def take(self, task: str, variant: str, *, success: bool) -> None:
        """One more outcome of a task."""
        self._outcomes[task].append((variant, success))

    @property
    def snapshots_due(self) -> int:
        """How many snapshots the equivalent job publishes."""
        return sum(len(_due(len(outcomes))) for outcomes in self._outcomes.values())

    def complaint(
        self, found: Mapping[str, Iterable[tuple[int, Summary]]], *, complete: bool, exact: bool
    ) -> str | None:
        """What is wrong with the snapshots of each task, in the order in which they were published; None: nothing.

        Every snapshot must say what is true of the task after so many outcomes.  ``exact``: there is one at each of
        the due outcomes; otherwise none is due later than ``EVERY`` outcomes after the one before, which may come
        early.  ``complete``: all outcomes were taken in, so that nothing may be missing at the end.
        """
        for task, outcomes in self._outcomes.items():
            if said := _complain(task, outcomes, list(found.get(task, ())), complete=complete, exact=exact):
                return said
        if unknown := found.keys() - self._outcomes.keys():
            return f"there are snapshots of {min(unknown)}, which has no outcome"
        return None


def _due(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if n % EVERY == 0 or n in EARLY]


def _complain(
    task: str, outcomes: list[tuple[str, bool]], found: list[tuple[int, Summary]], *, complete: bool, exact: bool
) -> str | None:
    numbers = sorted({n for n, _ in found})
    last = len(outcomes) if complete else max(numbers, default=0)
    if exact:
        if missing := set(_due(last)) - set(numbers):
            return f"{task}: the snapshot of outcome {min(missing)} is missing"
    else:
        steps = [0, *numbers] if not complete else [0, *numbers, last]
        for before, after in zip(steps, steps[1:], strict=False):
            if after - before > EVERY:
                return f"{task}: no snapshot between outcomes {before} and {after}"
    seen: dict[str, list[bool]] = defaultdict(list)
    said = dict(found)
    for n, (variant, success) in enumerate(outcomes[: max(numbers, default=0)], start=1):
        seen[variant].append(success)
        if n in said:
            true = tuple(
                (name, len(all_), min(len(all_), WINDOW), sum(all_[-WINDOW:])) for name, all_ in sorted(seen.items())
            )
            if said[n] != true:
                return f"{task}: the snapshot of outcome {n} says {said[n]}, and it is {true}"
    return None
