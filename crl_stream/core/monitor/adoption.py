"""Which runtimes have followed the latest change of the active variant, how fast, and which are stuck.

When the active variant changes, the runtimes that worked recently are expected to follow.  A runtime follows with its
first outcome that names the new epoch. It is stuck if it still works in an older one for too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from crl_stream.core.monitor.row import TaskRow

RECENT: Final = 600_000
"""A runtime is expected to follow if its last outcome came within these milliseconds before the change."""


class Followers(NamedTuple):
    """How far the expected runtimes of a task have followed its latest change."""

    expected: int
    moved: int
    within_two: int
    """How many of them moved with their first or second invocation after the change."""
    stuck: list[str]
    waiting: list[str]
    """Runtimes that have sent no outcome since the change, or too few to call them stuck."""
    invocations: float | None
    """Median number of invocations that the runtimes needed, the first new one included."""
    milliseconds: float | None
    """Median time from the change to the first new outcome."""


def followers_of(row: TaskRow) -> Followers:
    """Return how far the runtimes have followed."""
    expected = {name: runtime for name, runtime in row.runtimes.items() if runtime.expected}
    moved = [runtime for runtime in expected.values() if runtime.moved_after >= 0]
    return Followers(
        len(expected),
        len(moved),
        sum(runtime.moved_after <= 1 for runtime in moved),
        sorted(name for name, runtime in expected.items() if runtime.stuck),
        sorted(name for name, runtime in expected.items() if runtime.moved_after < 0 and not runtime.stuck),
        _median([runtime.moved_after + 1 for runtime in moved]),
        _median([runtime.moved_ms for runtime in moved]),
    )


def _median(numbers: Sequence[int]) -> float | None:
    half = len(numbers) // 2
    ordered = sorted(numbers)
    return None if not numbers else float(ordered[half]) if len(numbers) & 1 else sum(ordered[half - 1 : half + 1]) / 2


def expect(row: TaskRow) -> None:
    """Expect the runtimes that worked recently to follow the change that is being made."""
    for runtime in row.runtimes.values():
        runtime.expected = runtime.epoch > 0 and row.time - runtime.seen <= RECENT
        runtime.late, runtime.behind, runtime.moved_after, runtime.moved_ms, runtime.stuck = 0, 0, -1, 0, ""
    row.adopting = any(runtime.expected for runtime in row.runtimes.values())
