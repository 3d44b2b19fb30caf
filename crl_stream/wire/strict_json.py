"""Reads JSON strictly: finds what fast parsers accept (duplicate names, deep nesting), and explains what they reject.

A container with k members has k - 1 commas, and commas inside strings can only raise the count. Suppose that a text has
exactly one comma fewer than its outermost object has members. Then no other container in it has two members, and the
parser has dropped no duplicates. One parse and one count prove this. Only if the count differs is the text parsed a
second time, by a parser that reveals every pair. All steps take linear time, and nothing recurses before the depth is
known.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from crl_stream.wire import reasons

MAX_BYTES: Final = 65_536
"""Maximum size of an input's value in bytes; the monitor's own messages may be larger."""
MAX_DEPTH: Final = 16
"""Maximum nesting depth of objects and arrays, including the outermost."""

# The pattern always matches at an opening quotation mark, so a run of them cannot make the scan quadratic.
_STRING: Final = rb'(?s)"(?:[^"\\]++|\\.)*+"?'
_BRACKET: Final = rb"[\[\]{}]"


class Bad(NamedTuple):
    """Why a text is not an acceptable JSON object."""

    reason: str
    detail: str


class _Found(Exception):
    """Raised by a hook of the slow parser when it has found a fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.bad = Bad(reason, detail)


def parse_object(data: bytes) -> dict[str, Any] | Bad:
    """Parse ``data`` as an object, or return why it is not acceptable, without ever raising."""
    if bad := check_shape(data):
        return bad
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _diagnose(data)
    if type(value) is not dict:
        return Bad(reasons.NOT_AN_OBJECT, f"expected an object, not {_kind(value)}")
    if data.count(b",") != len(value) - 1 and (bad := _read_slowly(data.decode())):
        return bad
    return value


def check_shape(data: bytes) -> Bad | None:
    """Return why ``data`` is too large or too deep for a recursive parser; None if it is neither."""
    if len(data) > MAX_BYTES:
        return Bad(reasons.OVERSIZE, f"{len(data)} bytes; the limit is {MAX_BYTES}")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and (depth := _depth(data)) > MAX_DEPTH:
        return Bad(reasons.TOO_DEEP, f"nested {depth} levels deep; the limit is {MAX_DEPTH}")
    return None


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for bracket in re.findall(_BRACKET, re.sub(_STRING, b"", data)):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _diagnose(data: bytes) -> Bad:
    """Return why the fast parser refused ``data``."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Bad(reasons.NOT_UTF8, f"byte {error.start} is not valid UTF-8")
    # The only fault that the fast parser rejects and the slow parser accepts is half a surrogate pair.
    return _read_slowly(text) or Bad(reasons.NOT_JSON, "not JSON: a string contains half a surrogate pair")


def _read_slowly(text: str) -> Bad | None:
    """Parse with the standard library, which reveals duplicates and numbers that are not finite."""
    try:
        json.loads(
            text,
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_finite,
        )
    except _Found as found:
        return found.bad
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at").removesuffix(" starting")
        return Bad(reasons.NOT_JSON, f"not JSON: {what} at character {error.pos}")
    return None


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        for name, _ in pairs:
            if name not in names:
                raise _Found(reasons.DUPLICATE_KEY, f"{name[:100]}: the field appears twice")
            names.discard(name)


def _refuse_constant(constant: str) -> NoReturn:
    raise _Found(reasons.NOT_FINITE, f"{constant} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Found(reasons.NOT_FINITE, f"{text[:40]} is too large for a double")
    return number


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
