"""Decompresses batches within a fixed memory limit.

A batch of one megabyte may unpack to two gigabytes.  So gzip is read only up to the limit, and the length that
snappy states is checked first. For lz4 and zstd, the buffer is no larger than the limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam

GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4
NAMES: Final = {0: "no codec", GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
"""Names of the codecs by their number in the attributes of a batch."""

_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = 16
"""Length of the magic bytes and of the two version numbers after them, which have always been 1."""
_FIRST_BUFFER: Final = 64 * 1_024
_GROWTH: Final = 8
_FULL: Final = "failed to write whole buffer"
"""Cramjam's error message for a buffer that is too small; its messages for bad data differ."""
_GZIP_WINDOW: Final = 31
"""Parameter that makes zlib expect a gzip header and checksum."""


class TooLarge(Exception):
    """The data would unpack to more than the limit."""


class Damaged(Exception):
    """The data is not valid for its codec."""


def unpack(codec: int, data: bytes, limit: int) -> bytes:
    """Decompress ``data``.

    ``codec`` is one of the constants above; ``limit`` is in bytes. Raises ``TooLarge`` or ``Damaged``.
    """
    unpacker = _UNPACKERS.get(codec)
    if unpacker is None:
        raise Damaged(f"unknown codec {codec}")
    return unpacker(data, limit)


def _unpack_gzip(data: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    left, rest = limit, data
    try:
        while True:
            # A gzip file may have several members; each needs a new reader.
            reader = zlib.decompressobj(_GZIP_WINDOW)
            part = reader.decompress(rest, left + 1)
            left -= len(part)
            if left < 0:
                raise TooLarge
            parts.append(part)
            if not reader.eof:
                raise Damaged("gzip ends too early")
            rest = reader.unused_data.lstrip(b"\0")
            if not rest:
                return b"".join(parts)
    except zlib.error as error:
        raise Damaged(f"gzip: {error}") from error


def _unpack_snappy(data: bytes, limit: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _unpack_snappy_block(data, limit)
    # Java's framing: blocks, each preceded by its length in four bytes.
    parts: list[bytes] = []
    left, at = limit, _XERIAL_HEADER
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        block = data[at + 4 : at + 4 + size]
        if len(block) != size:
            raise Damaged("snappy ends too early")
        part = _unpack_snappy_block(block, left)
        left -= len(part)
        parts.append(part)
        at += 4 + size
    return b"".join(parts)


def _unpack_snappy_block(data: bytes, limit: int) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(data) > limit:
            raise TooLarge
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as error:
        raise Damaged(f"snappy: {error}") from error


def _into_buffer(name: str, decompress: Callable[[bytes, bytearray], Any]) -> Callable[[bytes, int], bytes]:
    """Return a decompressor that tries a small buffer first: a large one costs time, and few batches need it."""

    def unpack_into(data: bytes, limit: int) -> bytes:
        size = min(limit, max(_FIRST_BUFFER, 4 * len(data)))
        while True:
            buffer = bytearray(size)
            try:
                return bytes(memoryview(buffer)[: int(decompress(data, buffer))])
            except cramjam.DecompressionError as error:
                if _FULL not in str(error):
                    raise Damaged(f"{name}: {error}") from error
                if size >= limit:
                    raise TooLarge from error
            size = min(limit, size * _GROWTH)

    return unpack_into


_UNPACKERS: Final[dict[int, Callable[[bytes, int], bytes]]] = {
    GZIP: _unpack_gzip,
    SNAPPY: _unpack_snappy,
    LZ4: _into_buffer("lz4", cramjam.lz4.decompress_into),
    ZSTD: _into_buffer("zstd", cramjam.zstd.decompress_into),
}
