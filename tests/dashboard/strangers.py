"""Texts of strangers, and messages that have them wherever somebody outside can write a text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\x1b[2J\u202etxt\u200b\x00"
"""What would act in a page or on a terminal."""
Path = tuple[str | int, ...]
OURS = frozenset(
    ("timestamp", "since", "until", "expires_at", "outcomes", "successes", "judged_outcomes", "undo_command")
)
"""Fields that only the monitor writes, in a form of their own."""


def hostile(message: Any, text: str) -> Any:
    """Return the message with a hostile text in every field that takes it."""
    return with_text(message, text, free_texts(message, text))


def with_text(message: Any, text: str, paths: list[Path]) -> Any:
    """Return the message with a text at these places."""
    plain = msgspec.to_builtins(message)
    for path in paths:
        _put(plain, path, text)
    return msgspec.convert(plain, type(message))


def free_texts(message: Any, text: str) -> list[Path]:
    """Return where a message takes the text."""
    example = msgspec.json.encode(message)
    return [path for path in _paths(msgspec.json.decode(example), ()) if _takes(type(message), path, example, text)]


@cache
def _takes(kind: type[Any], path: Path, example: bytes, text: str) -> bool:
    plain = msgspec.json.decode(example)
    if not _put(plain, path, text):
        return False
    try:
        msgspec.convert(plain, kind)
    except msgspec.ValidationError:
        return False
    return True


def _paths(value: Any, at: Path) -> Iterator[Path]:
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _paths(one, (*at, name))
    elif isinstance(value, list):
        for number, one in enumerate(value[:3]):
            yield from _paths(one, (*at, number))


def _put(value: Any, path: Path, text: str) -> bool:
    for step in path[:-1]:
        value = value[step]
    if path[-1] in OURS:
        return False
    value[path[-1]] = text
    return True
