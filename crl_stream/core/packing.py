"""Packs rows as MessagePack into buffers of exactly the right size.

``msgspec`` returns the buffer that it grew while encoding, up to half again as large, and a table would keep it for as
long as the row does not change.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_ENCODE_INTO: Final = msgspec.msgpack.Encoder().encode_into
_BUFFERS: Final[list[bytearray]] = []
"""Unused buffers; taken and returned whole, so that threads do not share one."""


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
