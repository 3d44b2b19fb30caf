"""Compares two folds of the recorded hour and shows where and how they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from .storage import Line, Streams

SHOWN = 12
"""Number of differences that are shown for one record."""
_ABSENT = "nothing"


def first_difference(expected: Streams, actual: Streams) -> str | None:
    """Describe the first record that differs (topic, index, stored and current version); None if all are equal."""
    for name in sorted({*expected, *actual}):
        stored, folded = expected.get(name, []), actual.get(name, [])
        for index, (one, other) in enumerate(zip_longest(stored, folded)):
            if one != other:
                return "\n".join(
                    [
                        f"{name}, index {index} ({len(stored)} stored, {len(folded)} now):",
                        *_differences(one, other),
                        f"  stored: {one}",
                        f"  now:    {other}",
                        "If the change is intended: python -m tests.golden.record",
                    ]
                )
    return None


def without_repetitions(streams: Streams) -> dict[str, list[Line]]:
    """Return each record once, at its first position; after a crash, some occur twice."""
    return {name: list(dict.fromkeys(lines)) for name, lines in streams.items()}


def _differences(one: Line | None, other: Line | None) -> list[str]:
    if one is None or other is None:
        return ["  one of the two records is missing"]
    before, after = dict(_leaves(_content(one))), dict(_leaves(_content(other)))
    paths = [path for path in {**before, **after} if before.get(path, _ABSENT) != after.get(path, _ABSENT)]
    told = [f"  {path}: {before.get(path, _ABSENT)} -> {after.get(path, _ABSENT)}" for path in paths[:SHOWN]]
    return told + ([f"  and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else [])


def _content(line: Line) -> dict[str, Any]:
    return {"key": line.key, "value": _read(line.value), "headers": line.headers}


def _read(value: bytes | None) -> Any:
    """Decode messages as JSON and rows as MessagePack; dead letters can be anything and may stay bytes."""
    if value is None:
        return None
    for decoded in (json.loads, msgspec.msgpack.decode):
        try:
            return decoded(value)
        except (ValueError, msgspec.MsgspecError):
            continue
    return value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, repr(value)
