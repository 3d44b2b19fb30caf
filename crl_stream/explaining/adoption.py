"""How runtimes followed a change of the active variant, in words: the guide promises one or two invocations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from crl_stream.core.figures import counted

_NAMED: Final = 3
"""How many stuck runtimes are named; ``crl runtimes`` lists all."""


def followed(adoption: Mapping[str, Any]) -> str:
    """Return how runtimes followed one change: ``3 of 4 runtimes moved, median 1 invocation and 0.4 s; 1 is stuck``.

    ``adoption`` is that of a snapshot, or the fact as built-in types.
    """
    words = f"{adoption['moved']} of {counted(adoption['expected'], 'runtime')} moved"
    number, late = adoption["median_invocations"], adoption["median_milliseconds"]
    if number is not None and late is not None:
        words += f", median {number:g} invocation{'' if number == 1 else 's'} and {late / 1_000:.3g} s"
    names = [] if isinstance(adoption["stuck"], int) else list(adoption["stuck"])
    stuck = len(names) or adoption["stuck"]
    who = f": {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}" if names else ""
    return words + (f"; {stuck} {'is' if stuck == 1 else 'are'} stuck{who}" if stuck else "")
