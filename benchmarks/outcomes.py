"""The outcomes that the benchmarks fold: three variants per task, mostly healthy, with one failure in fifteen."""

from __future__ import annotations

from collections.abc import Iterator

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text

START = 1_763_562_600_000
"""Timestamp of the first outcome, in milliseconds since the epoch."""
TICK = 10
"""Milliseconds between two outcomes."""
VARIANTS = ("api-baseline", "api-optimized", "api-economical")


def outcome(key: TaskKey, number: int, **fields: object) -> m.Invocation:
    """Return the ``number``-th outcome of a task."""
    given: dict[str, object] = {
        "schema_version": 1,
        "invocation_id": f"0b9f2c1e-{number:012x}",
        "timestamp": to_text(START + number * TICK),
        "agent_name": key.agent_name,
        "task_type": key.task_type,
        "variant_id": VARIANTS[number % 3],
        "status": "failure" if number * 7919 % 15 == 0 else "success",
        "quality": (number * 104_729 % 400) / 1_000 + 0.6,
        "duration_seconds": 40.0 + number % 50,
        "complexity": "medium",
        "active_epoch": 1,
        "variant_source": "live",
        "runtime_id": f"runtime-{number % 8}",
    }
    return m.Invocation(**(given | fields))  # type: ignore[arg-type]


def outcomes(count: int, tasks: int = 1, **fields: object) -> Iterator[tuple[TaskKey, m.Invocation]]:
    """Return ``count`` outcomes, spread evenly over tasks; ``fields`` are the same in all of them."""
    keys = [TaskKey("backend-architect", f"api-design-{number}") for number in range(tasks)]
    for number in range(count):
        key = keys[number % tasks]
        yield key, outcome(key, number, **fields)


def runs(count: int, tasks: int, length: int, **fields: object) -> Iterator[tuple[TaskKey, m.Invocation]]:
    """Return ``count`` outcomes of ``tasks`` tasks, each task contributing ``length`` outcomes in a row at its turn.

    A batch then touches a row about ``length`` times, as long as it holds fewer outcomes than one pass over the tasks
    of its partition.  Variants take turns within each task; which outcomes fail follows no repeating pattern.
    """
    keys = [TaskKey("backend-architect", f"api-design-{number}") for number in range(tasks)]
    for number in range(count):
        turn, place = divmod(number, length * tasks)
        mixed = (number * 2_654_435_761 & 0xFFFF_FFFF) >> 16
        key = keys[place // length]
        given = {
            "variant_id": VARIANTS[(turn * length + place % length) % 3],
            "status": "failure" if mixed % 15 == 0 else "success",
        }
        yield key, outcome(key, number, **(given | fields))
