"""Rows as MessagePack, each in exactly as many bytes of memory as it has.

``msgspec`` gives back the buffer that it has grown while it encoded, up to half again as large, and a table keeps it
for as long as the row does not change.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_ENCODE_INTO: Final = msgspec.msgpack.Encoder().encode_into
_BUFFERS: Final[list[bytearray]] = []
"""Buffers that nobody uses now; taken and put back whole, so that threads do not share one."""


def pack(row: Any) -> bytes:
    """The bytes of a row; equal rows have equal bytes."""
    try:
        buffer = _BUFFERS.pop()
    except IndexError:
        buffer = bytearray()
    _ENCODE_INTO(row, buffer)
    data = bytes(buffer)
    _BUFFERS.append(buffer)
    return data
