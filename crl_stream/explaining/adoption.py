"""How runtimes followed a change of the active variant, in words: the guide promises one or two invocations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
