"""JSON read strictly: what fast parsers let pass - duplicate keys, depth - is found, and what they refuse is named.

The common case costs two byte counts beside one parse: in a flat object the number of quotation marks is twice the number
of strings among its keys and values, unless a key was dropped as a duplicate or a string has an escape.  Only
then is the text read a second time, slowly.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from crl_stream.wire import reasons

MAX_BYTES: Final = 65_536
MAX_DEPTH: Final = 16

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_FINITE: Final = re.compile(rb"(?<![A-Za-z])-?(?:NaN|Infinity)\b")
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


class Bad(NamedTuple):
    """Why a text is not an acceptable JSON object."""

    reason: str
    detail: str


class _Duplicate(ValueError):
    pass


class _NotFinite(ValueError):
    pass


def parse_object(data: bytes) -> dict[str, Any] | Bad:
    """The object that ``data`` is, or why it is none; at most ``MAX_BYTES`` long and ``MAX_DEPTH`` deep."""
    if len(data) > MAX_BYTES:
        return Bad(reasons.OVERSIZE, f"{len(data)} bytes, limit {MAX_BYTES}")
    opened = data.count(b"{") + data.count(b"[")
    if opened > MAX_DEPTH and (depth := _depth(data)) > MAX_DEPTH:
        return Bad(reasons.TOO_DEEP, f"nested {depth} levels deep, limit {MAX_DEPTH}")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _why_not(data, str(error))
    if type(value) is not dict:
        return Bad(reasons.NOT_AN_OBJECT, f"an object is expected, not {_kind(value)}")
    strings = len(value)
    for item in value.values():
        if type(item) is str:
            strings += 1
    if opened == 1 and data.count(b'"') == 2 * strings:
        return value
    return _read_slowly(data) or value


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", data)):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _why_not(data: bytes, complaint: str) -> Bad:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return Bad(reasons.NOT_UTF8, f"byte {error.start} is not UTF-8")
    slow = _read_slowly(data)
    if slow is not None:
        return slow
    # The library's complaint may quote the text; the position says as much and cannot carry anything.
    place = complaint.rpartition(": ")[2][:80]
    return Bad(reasons.NOT_JSON, f"not JSON ({place})" if place.isascii() else "not JSON")


def _read_slowly(data: bytes) -> Bad | None:
    """Read with the standard library, which can tell duplicates and non-finite numbers."""
    try:
        json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except _Duplicate as error:
        return Bad(reasons.DUPLICATE_KEY, f"the field {str(error)[:100]!r} is named twice")
    except _NotFinite as error:
        return Bad(reasons.NOT_FINITE, f"{str(error)[:40]} is not a finite number")
    except (ValueError, RecursionError):
        if _NOT_FINITE.search(_STRING.sub(b"", data)):
            return Bad(reasons.NOT_FINITE, "a number is NaN or infinite")
        return Bad(reasons.NOT_JSON, "not JSON")
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Duplicate(name)
            seen.add(name)
    return found


def _refuse(constant: str) -> NoReturn:
    raise _NotFinite(constant)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _NotFinite(text)
    return number


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
