"""Packs rows as MessagePack into buffers of exactly the right size.

``msgspec`` returns the buffer that it grew while encoding, which is up to half as large again.  A table would keep it
as long as the row does not change.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_ENCODE_INTO: Final = msgspec.msgpack.Encoder().encode_into
_BUFFERS: Final[list[bytearray]] = []
"""Unused buffers.  A thread takes one out while it uses it, so that threads never share one."""


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
