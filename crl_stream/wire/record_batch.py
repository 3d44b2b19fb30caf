"""Splits and reads record batches, including those that fast readers cannot read.

A record batch is the unit that a producer sends and a broker keeps.  It may be compressed, and it states which offsets
it covers.  Fast readers handle ordinary batches.  This module handles the rest: header names that are not UTF-8, and
batches that are too large or too damaged to unpack.

Names that are not UTF-8 are read with ``surrogateescape``, so that ``encode_name`` restores their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from crl_stream.wire import reasons
from crl_stream.wire.compression import NAMES, Damaged, TooLarge, unpack
from crl_stream.wire.records import Header, UnreadBatch

MAX_UNPACKED: Final = 32 * 1_024 * 1_024
"""Maximum size of an unpacked batch in bytes: about thirty times a topic's limit, and what a worker has memory for."""
MAGIC: Final = 2
"""The format with headers and transactions; older formats are only split here."""
NO_TIMESTAMP: Final = -1

_PREFIX: Final = Struct(">qi")
"""Base offset and remaining length, which are the same in every format."""
_MAGIC_AT: Final = 16
_HEADER: Final = Struct(">qiibIhiqqqhii")
_ATTRIBUTES_AT: Final = 21
_CODEC: Final = 0x07
_APPEND_TIME: Final = 0x08
_LENGTH: Final = Struct(">i")
_ATTRIBUTES: Final = Struct(">h")
_LEGACY_ATTRIBUTES_AT: Final = 17
_LEGACY_KEY_AT: Final = {0: 18, 1: 26}
_MAX_VARINT_BITS: Final = 63


class Header2(NamedTuple):
    """The header fields of a batch of format 2, in order."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def codec(self) -> int:
        """Return the number of the codec; 0 means uncompressed."""
        return self.attributes & _CODEC


class BatchRecord(NamedTuple):
    """One record of a batch."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    checksum: None = None


def split(data: bytes) -> Iterator[bytes]:
    """Split a broker's response into batches; an incomplete last batch is dropped."""
    at, end = 0, len(data)
    while at + _PREFIX.size <= end:
        length = _PREFIX.unpack_from(data, at)[1]
        behind = at + _PREFIX.size + length
        if length < 0 or behind > end:
            return
        yield data[at:behind]
        at = behind


def magic_of(batch: bytes) -> int:
    """Return the format of a batch: 0, 1 or 2."""
    return batch[_MAGIC_AT] if len(batch) > _MAGIC_AT else -1


def is_whole(batch: bytes) -> bool:
    """Return whether a batch of format 2 is at least as long as its header."""
    return len(batch) >= _HEADER.size


def header_of(batch: bytes) -> Header2:
    """Return the header fields of a batch of format 2."""
    return Header2(*_HEADER.unpack_from(batch))


def unpacked(batch: bytes, limit: int = MAX_UNPACKED) -> bytes:
    """Return a batch of format 2 without compression; its checksum is then no longer valid.

    Raises ``TooLarge`` if its records take more than ``limit`` bytes, and ``Damaged`` if they cannot be unpacked.
    """
    header = header_of(batch)
    if not header.codec:
        return batch
    records = unpack(header.codec, batch[_HEADER.size :], limit)
    attributes = _ATTRIBUTES.pack(header.attributes & ~_CODEC)
    length = _LENGTH.pack(_HEADER.size - _PREFIX.size + len(records))
    return b"".join(
        (
            batch[:8],
            length,
            batch[_PREFIX.size : _ATTRIBUTES_AT],
            attributes,
            batch[_ATTRIBUTES_AT + 2 : _HEADER.size],
            records,
        )
    )


def check_legacy(batch: bytes, limit: int = MAX_UNPACKED) -> None:
    """Raise ``TooLarge`` or ``Damaged`` if a batch of format 0 or 1 cannot be unpacked within ``limit`` bytes."""
    codec = batch[_LEGACY_ATTRIBUTES_AT] & _CODEC
    if not codec:
        return
    value, at = b"", _LEGACY_KEY_AT[magic_of(batch)]
    for part in ("key", "value"):
        if at + 4 > len(batch):
            raise Damaged(f"its {part} is missing")
        size = _LENGTH.unpack_from(batch, at)[0]
        value = batch[at + 4 : at + 4 + max(0, size)]
        at += 4 + len(value)
    unpack(codec, value, limit)


def records_of(batch: bytes) -> Iterator[BatchRecord]:
    """Yield the records of an uncompressed batch of format 2; raise ``Damaged`` if they do not fit into it."""
    header, at = header_of(batch), _HEADER.size
    by_broker = bool(header.attributes & _APPEND_TIME)
    for _ in range(header.records):
        size, at = _varint(batch, at)
        end = at + size
        if size < 0 or end > len(batch):
            raise Damaged("a record is longer than its batch")
        yield _record(batch, at, end, header, by_broker)
        at = end
    if at != len(batch):
        raise Damaged(f"{len(batch) - at} bytes after the last record")


def _record(batch: bytes, at: int, end: int, header: Header2, by_broker: bool) -> BatchRecord:
    delta, at = _varint(batch, at + 1)  # skip the attributes, which are unused
    place, at = _varint(batch, at)
    key, at = _bytes(batch, at, end)
    value, at = _bytes(batch, at, end)
    count, at = _varint(batch, at)
    if not 0 <= count <= end - at:  # each header takes at least two bytes
        raise Damaged(f"a record claims to have {count} headers")
    headers = []
    for _ in range(count):
        name, at = _bytes(batch, at, end)
        if name is None:
            raise Damaged("a header without a name")
        content, at = _bytes(batch, at, end)
        headers.append((decode_name(name), content))
    if at != end:
        raise Damaged(f"{end - at} bytes after a record's headers")
    timestamp = header.max_timestamp if by_broker else header.first_timestamp + delta
    return BatchRecord(header.base_offset + place, timestamp, int(by_broker), key, value, tuple(headers))


def _bytes(batch: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = _varint(batch, at)
    if size < 0:
        return None, at
    if at + size > end:
        raise Damaged("a field is longer than its record")
    return batch[at : at + size], at + size


def _varint(batch: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag-encoded integer; return it and the index after it."""
    number = shift = 0
    while shift <= _MAX_VARINT_BITS:
        if at >= len(batch):
            raise Damaged("a number is cut off")
        byte = batch[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
    raise Damaged("a number of more than 64 bits")


def decode_name(name: bytes) -> str:
    """Decode a header's name; bytes that are not UTF-8 are preserved."""
    return name.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """Encode a header's name; restore the bytes that ``decode_name`` decoded."""
    return name.encode("utf-8", "surrogateescape")


def unread(batch: bytes, fault: TooLarge | Damaged, first: int) -> UnreadBatch:
    """Return a placeholder for the records of ``batch`` from offset ``first`` on, which ``fault`` makes unreadable.

    The placeholder has the offset of the last record.
    """
    if magic_of(batch) == MAGIC:
        header = header_of(batch)
        last, count, codec = header.base_offset + header.last_offset_delta, header.records, header.codec
        timestamp = header.max_timestamp
    else:
        last, count, timestamp = _PREFIX.unpack_from(batch)[0], 0, NO_TIMESTAMP
        codec = batch[_LEGACY_ATTRIBUTES_AT] & _CODEC if len(batch) > _LEGACY_ATTRIBUTES_AT else 0
    name = NAMES.get(codec, f"codec {codec}")
    if isinstance(fault, TooLarge):
        reason, why = reasons.BATCH_TOO_LARGE, f"unpacks to more than {MAX_UNPACKED} bytes"
    else:
        reason, why = reasons.BATCH_DAMAGED, f"cannot be read: {fault}"
    what = f"a batch of {len(batch)} bytes ({name}) {why}; it covers offsets {first} to {last}"
    return UnreadBatch(last, timestamp, batch, first, count, name, reason, what)
