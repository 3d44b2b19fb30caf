"""How runtimes followed changes of the active variant, in words: the guide promises one or two invocations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crl_stream.stages.fleet_summary import ON_ADOPTION, fleet_sums


def followed(adoption: Mapping[str, Any]) -> str:
    """Return how runtimes followed one change: ``3 of 4 runtimes moved, median 1 invocation and 0.4 s; 1 is stuck``.

    ``adoption`` is that of a snapshot, or the fact as built-in types.
    """
    words = f"{adoption['moved']} of {adoption['expected']} runtimes moved"
    number, late = adoption["median_invocations"], adoption["median_milliseconds"]
    if number is not None and late is not None:
        words += f", median {number:g} invocation{'' if number == 1 else 's'} and {late / 1_000:.3g} s"
    stuck = adoption["stuck"] if isinstance(adoption["stuck"], int) else len(adoption["stuck"])
    return words + (f"; {stuck} {'is' if stuck == 1 else 'are'} stuck" if stuck else "")


def fleet_adoption(tasks: Iterable[Mapping[str, Any]] | None, summary: Mapping[str, int]) -> dict[str, int] | None:
    """Return the sums over the latest change of each task; None if no runtime was expected to follow one.

    ``tasks`` are all tasks as in ``/api/tasks``, or None if not all are listed; the figures then come from ``summary``.
    """
    total = fleet_sums(tasks, "adoption", ON_ADOPTION, summary, "runtimes_")
    return total if total["expected"] else None


def adoption_note(total: Mapping[str, int] | None) -> str:
    """Return the note of ``crl status`` on how fast runtimes followed; empty if none was expected to."""
    if total is None or not total["moved"]:
        return ""
    stuck = f"; {total['stuck']} stuck: crl runtimes" if total["stuck"] else ""
    return (
        f"adoption: {total['moved']} of {total['expected']} runtimes followed their task's latest change, "
        f"{total['within_two']} within two invocations{stuck}"
    )


def task_adoption(found: Mapping[str, Any]) -> Iterator[str]:
    """Return a line about the latest change of a task, given its snapshot."""
    adoption = found.get("adoption")
    if adoption is not None:
        yield followed(adoption)
