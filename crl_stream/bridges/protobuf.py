"""Reads the wire format of Protocol Buffers: just enough for OTLP, without a schema compiler or another package.

A message is a sequence of fields, each a number, a wire type and a value. Nested messages are bytes until someone
reads them, so nothing recurses, however deep the input is nested.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

Value = int | bytes
VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_UNSIGNED64: Final = Struct("<Q")
_DOUBLE: Final = Struct("<d")
_MOST_SHIFT: Final = 63
_LARGEST_FIELD: Final = 2**29 - 1


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


def fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """Yield number, wire type and value of each field in order; raises ``Malformed`` at the first that is wrong.

    Integers are unsigned: see ``signed`` and ``double``.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= _LARGEST_FIELD:
            raise Malformed(f"field number {number} at byte {at}")
        value: Value
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire == BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif wire == FIXED64:
            value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
        elif wire == FIXED32:
            value, at = int.from_bytes(data[at : at + 4], "little"), at + 4
        else:
            raise Malformed(f"wire type {wire} at byte {at}, which OTLP never uses")
        if at > end:
            raise Malformed("it ends in the middle of a field")
        yield number, wire, value


def signed(value: int) -> int:
    """Return an unsigned 64-bit number as the signed one that it stands for."""
    return value - 2**64 if value >= 2**63 else value


def double(value: int) -> float:
    """Return the floating-point number with these 64 bits."""
    return float(_DOUBLE.unpack(_UNSIGNED64.pack(value))[0])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        if at >= len(data):
            raise Malformed("it ends in the middle of a number")
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > _MOST_SHIFT:
            raise Malformed(f"a number of more than ten bytes at byte {at}")
