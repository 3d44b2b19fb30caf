"""Compares a candidate's configuration with that of its parent, line by line, for the person who decides."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any, Final

LONGEST: Final = 200
"""Maximum number of lines of a comparison."""


def differences(parent: dict[str, Any] | None, candidate: dict[str, Any] | None) -> list[str]:
    """Return what changes from ``parent`` to ``candidate``: removed lines begin with ``-``, added ones with ``+``.

    Texts are compared line by line, so a long prompt shows only what is different.

    >>> differences({"model": "m-1", "t": 0.7}, {"model": "m-1", "t": 0.2, "n": [1]})
    ['+ n[0]: 1', '- t: 0.7', '+ t: 0.2']
    """
    before, after = dict(_leaves("", parent or {})), dict(_leaves("", candidate or {}))
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new and type(old) is type(new) and (name in before) == (name in after):
            continue
        if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
            lines.append(f"  {name}:")
            changed = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1))[2:]
            lines += [f"    {line}" for line in changed]
            continue
        lines += [f"- {name}: {_json(old)}"] if name in before else []
        lines += [f"+ {name}: {_json(new)}"] if name in after else []
    if len(lines) > LONGEST:
        lines = [*lines[:LONGEST], f"  … and {len(lines) - LONGEST} more lines: see --json"]
    return lines


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value that is not an object or list, with its place; empty ones count as values."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and value:
        for at, inner in enumerate(value):
            yield from _leaves(f"{name}[{at}]", inner)
    elif name:
        yield name, value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
