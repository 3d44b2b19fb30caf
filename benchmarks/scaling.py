"""Our worker alone: few and many tasks, one and many partitions, one and two processes."""

from __future__ import annotations

import uuid
from typing import Any

from benchmarks.course import course
from benchmarks.race import in_words, run_ours
from benchmarks.running import Failed
from benchmarks.stack import delete_topics, note

MANY_TASKS = 1_000_000
SECONDS_FOR_MANY = 60.0


def run(bootstrap_servers: str, *, events: int, limit: float, repeats: int, quick: bool = False) -> dict[str, Any]:
    """Return one entry for each round of each setting."""
    found: dict[str, Any] = {
        "10 tasks": _rounds(bootstrap_servers, events, 10, 1, limit=limit),
        "10,000 tasks": _rounds(bootstrap_servers, events, 10_000, 1, limit=limit),
        "1 partition": _rounds(bootstrap_servers, events, 2_000, 5, limit=limit, partitions=1),
        "64 partitions": _rounds(bootstrap_servers, events, 2_000, 5, limit=limit, partitions=64),
    }
    found |= _workers(bootstrap_servers, events, limit, repeats)
    if not quick:
        note("  1,000,000 outcomes, one for each task; writing them to the log takes half a minute")
        many = _rounds(bootstrap_servers, MANY_TASKS, MANY_TASKS, 1, limit=SECONDS_FOR_MANY, check=False)
        found["1,000,000 tasks"] = many
    return found


def _rounds(
    bootstrap_servers: str,
    events: int,
    tasks: int,
    length: int,
    *,
    limit: float,
    partitions: int = 4,
    check: bool = True,
) -> list[dict[str, Any]]:
    with course(bootstrap_servers, events, tasks, length, partitions=partitions, check=check) as filled:
        result = _run(bootstrap_servers, filled, limit, 1)
        note(f"  {tasks:,} tasks, {partitions} partitions: {in_words(result)}")
        delete_topics(bootstrap_servers, filled.settings.kafka.topic_prefix)
    return [result]


def _workers(bootstrap_servers: str, events: int, limit: float, repeats: int) -> dict[str, Any]:
    """Compare one and two processes on the same topic, taking turns.

    The two processes join the group one after the other, which matters less on a longer course.
    """
    found: dict[str, list[dict[str, Any]]] = {"1 worker": [], "2 workers": []}
    with course(bootstrap_servers, 2 * events, 2_000, 5) as filled:
        for _ in range(repeats):
            for number, results in enumerate(found.values(), start=1):
                results.append(_run(bootstrap_servers, filled, 2 * limit, number))
                note(f"  {number} of our workers: {in_words(results[-1])}")
        delete_topics(bootstrap_servers, filled.settings.kafka.topic_prefix)
    return found


def _run(bootstrap_servers: str, filled: Any, limit: float, workers: int) -> dict[str, Any]:
    name = f"r{uuid.uuid4().hex[:8]}"
    try:
        return run_ours(bootstrap_servers, filled, name, limit, workers=workers)
    except Failed as error:
        return {"failed": str(error)}
    finally:
        delete_topics(bootstrap_servers, name)
