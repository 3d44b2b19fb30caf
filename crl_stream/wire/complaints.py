"""Explains to people why a message is invalid: the reason, the field's path, and what is expected there.

The typed parser's messages name Python types and repeat values from the input; these explanations do neither.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from msgspec import inspect

from crl_stream.wire import reasons

MAX_DETAIL: Final = 500
"""Maximum length of a detail in characters."""

IDENTIFIER_HINT: Final = "expected 1 to 128 characters from A-Z a-z 0-9 . _ : -"
TIMESTAMP_HINT: Final = "expected an RFC 3339 time in UTC, like 2025-11-19T14:30:00Z"

_type_info: Final = cache(inspect.type_info)
# Patterns are compiled when they are first used, because a client seldom needs them.
_PATH: Final = r" - at `(?:key in )?\$\.?([^`]*)`$"
_MISSING: Final = r"missing required field `([^`]+)`"
_UNKNOWN: Final = r"(?s)contains unknown field `(.*)`"
_TYPES: Final = r"Expected `([^`]*)`, got `([^`]*)`"
_LIMIT: Final = r"Expected `(\w+)` (.*)"
_STEP: Final = r"\.?([A-Za-z_]\w*)|\[[^\]]*\]"
_JSON_NAMES: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def explain(error: Exception, kind: Any) -> tuple[str, str]:
    """Return the reason and detail for an ``error`` that the typed parser raised for a value of type ``kind``."""
    complaint = str(error)
    found = re.search(_PATH, complaint)
    path = found.group(1) if found else ""
    words = complaint[: found.start()] if found else complaint
    if missing := re.search(_MISSING, words):
        return reasons.MISSING_FIELD, plain(f"{_joined(path, missing.group(1))}: the field is required")
    if unknown := re.search(_UNKNOWN, words):
        return reasons.UNKNOWN_FIELD, plain(f"{_joined(path, unknown.group(1))}: unknown field in this release")
    reason, expected = _classify(words, path, kind)
    return reason, plain(f"{path}: {expected}" if path else expected)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name[:100]}" if path else name[:100]


def plain(text: str) -> str:
    """Cut ``text`` to ``MAX_DETAIL`` characters and remove control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_DETAIL])


def _classify(words: str, path: str, kind: Any) -> tuple[str, str]:
    if types := re.search(_TYPES, words):
        wanted = " or ".join(_JSON_NAMES.get(name, name) for name in types.group(1).split(" | "))
        return reasons.WRONG_TYPE, f"expected {wanted}, not {_article(types.group(2))}"
    if "matching regex" in words:
        return _broken_pattern(path, kind)
    if "Invalid enum value" in words or "Invalid value" in words:
        values = _values_at(kind, path)
        return reasons.OUT_OF_RANGE, f"expected one of {', '.join(values)}" if values else "not allowed here"
    if limit := re.search(_LIMIT, words):
        return reasons.OUT_OF_RANGE, f"expected {_JSON_NAMES.get(limit.group(1), limit.group(1))} {limit.group(2)}"
    if "out of range" in words:
        return reasons.OUT_OF_RANGE, "the number is out of range"
    return reasons.NOT_JSON, "not JSON"


def _article(name: str) -> str:
    return "a number with a fraction or an exponent" if name == "float" else _JSON_NAMES.get(name, name)


def _broken_pattern(path: str, kind: Any) -> tuple[str, str]:
    found = _type_at(kind, path)
    pattern = getattr(found, "pattern", None) or ""
    if "T[0-9]" in pattern:
        return reasons.BAD_TIMESTAMP, TIMESTAMP_HINT
    if "a-f" in pattern:
        return reasons.OUT_OF_RANGE, "expected a hash in lower-case hexadecimal"
    return reasons.BAD_IDENTIFIER, IDENTIFIER_HINT


def _values_at(kind: Any, path: str) -> tuple[str, ...]:
    found = _type_at(kind, path)
    return tuple(str(value) for value in getattr(found, "values", ()))


def _type_at(kind: Any, path: str) -> Any:
    """Return the schema's type for a path like ``change.modifications[...].operation``, or None."""
    found: Any = _type_info(kind)
    for step in re.finditer(_STEP, path):
        found = _inner(_plainest(found), step.group(1))
    return _plainest(found)


def _plainest(found: Any) -> Any:
    """Strip annotations and null from a type."""
    while isinstance(found, inspect.Metadata):
        found = found.type
    if isinstance(found, inspect.UnionType):
        rest = [item for item in found.types if not isinstance(item, inspect.NoneType)]
        return _plainest(rest[0]) if len(rest) == 1 else found
    return found


def _inner(found: Any, name: str | None) -> Any:
    if name is None:
        return getattr(found, "item_type", None) or getattr(found, "value_type", None)
    if isinstance(found, inspect.StructType):
        return next((field.type for field in found.fields if field.encode_name == name), None)
    return None
