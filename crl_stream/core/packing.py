"""Packs rows as MessagePack into buffers of exactly the right size.

``msgspec`` returns the buffer that it grew while encoding, which can be 50 % larger than its content.  A table would
keep that buffer until the row changes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_ENCODE_INTO: Final = msgspec.msgpack.Encoder().encode_into
_BUFFERS: Final[list[bytearray]] = []
"""Unused buffers.  A thread removes a buffer while using it, so threads never share one."""


def pack(row: Any) -> bytes:
    """Return the bytes of a row; equal rows have equal bytes."""
    try:
        buffer = _BUFFERS.pop()
    except IndexError:
        buffer = bytearray()
    _ENCODE_INTO(row, buffer)
    data = bytes(buffer)
    _BUFFERS.append(buffer)
    return data
