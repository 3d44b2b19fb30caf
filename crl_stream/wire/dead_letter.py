"""Dead letters, forwards and replays: the headers that record a record's origin, and why it could not be used.

The error headers have the names that Kafka Streams uses (KIP-1034), so that its tools can read them; the stack trace is
deliberately left out. Key and value are the original bytes, so that a replayed record is identical, unless they are
too large for any topic (``CUT``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from crl_stream.wire.complaints import MAX_DETAIL, plain
from crl_stream.wire.records import Header, Headers, Output, Record, UnreadBatch, record_size
from crl_stream.wire.topics import DEAD_LETTERS

REASON: Final = "__streams.errors.exception"
MESSAGE: Final = "__streams.errors.message"
TOPIC: Final = "__streams.errors.topic"
PARTITION: Final = "__streams.errors.partition"
OFFSET: Final = "__streams.errors.offset"
_MAX_TEXT: Final = 4 * MAX_DETAIL
"""Maximum number of bytes read from a text header."""
CUT: Final = "crl-cut"
"""Header of a cut letter: sizes and SHA-256 of the whole key and value, and the number of headers left out."""
BATCH: Final = "crl-batch"
"""Header of a letter that is a whole unread batch: its offsets, its stated number of records, and its codec."""
_ERRORS: Final = frozenset((REASON, MESSAGE, TOPIC, PARTITION, OFFSET, CUT, BATCH))

ORIGIN_PARTITION: Final = "crl-origin-partition"
ORIGIN_OFFSET: Final = "crl-origin-offset"
_ORIGIN: Final = frozenset((ORIGIN_PARTITION, ORIGIN_OFFSET))

REPLAYED_TOPIC: Final = "crl-replayed-topic"
REPLAYED_PARTITION: Final = "crl-replayed-partition"
REPLAYED_OFFSET: Final = "crl-replayed-offset"
REPLAYED_TO_PARTITION: Final = "crl-replayed-to-partition"
REPLAYED_TO_OFFSET: Final = "crl-replayed-to-offset"
REPLAYED_BY: Final = "crl-replayed-by"
_REPLAYED: Final = frozenset(
    (REPLAYED_TOPIC, REPLAYED_PARTITION, REPLAYED_OFFSET, REPLAYED_TO_PARTITION, REPLAYED_TO_OFFSET, REPLAYED_BY)
)

MAX_KEY: Final = 512 * 1_024
MAX_VALUE: Final = 1_024 * 1_024
"""Maximum sizes of key and value in a letter, in bytes.

Only a compressed batch can contain larger ones: it may unpack to a thousand times its size, and no topic would accept
them.
"""
MAX_LETTER: Final = 2 * 1_024 * 1_024 - 4_096
"""Maximum size of a dead letter in bytes; headers that do not fit are left out. Every record from an uncompressed
batch fits."""
MAX_FORWARD: Final = 1_024 * 1_024 - 4_096
"""Maximum size of a forwarded record in bytes, so that its topic accepts it."""
_MAX_DIGITS: Final = 18
"""Maximum number of digits of a number in a header; such a number always fits into 63 bits."""


def dead_letter(
    record: Record, topic: str, partition: int, reason: str, detail: str, *, target: int | None = None
) -> Output:
    """Return the dead letter of ``record``, which was read from ``topic`` and ``partition``.

    ``reason`` is a word from ``wire.reasons``, ``detail`` a sentence for people. The letter goes to the partition with
    the same number unless ``target`` names another. Key and value are cut to ``MAX_KEY`` and ``MAX_VALUE``; a header
    reports this, and the whole record stays on its topic.
    """
    key, value = _bound(record.key, MAX_KEY), _bound(record.value, MAX_VALUE)
    own, dropped = _bounded(record.headers, _ERRORS, MAX_LETTER - record_size(key, value, ()))
    whole = key is record.key and value is record.value and not dropped
    extra: tuple[Header, ...] = () if whole else ((CUT, _describe(record, dropped)),)
    if isinstance(record, UnreadBatch):
        extra += ((BATCH, _describe_batch(record)),)
    errors = (
        (REASON, reason.encode()),
        (MESSAGE, plain(detail).encode()),
        (TOPIC, topic.encode()),
        (PARTITION, b"%d" % partition),
        (OFFSET, b"%d" % record.offset),
    )
    return Output(DEAD_LETTERS, partition if target is None else target, key, value, own + errors + extra)


def _bound(data: bytes | None, limit: int) -> bytes | None:
    return data if data is None or len(data) <= limit else data[:limit]


def _describe(record: Record, dropped: int) -> bytes:
    parts = []
    for name, data in (("key", record.key), ("value", record.value)):
        whole = data or b""
        parts.append(f"{name} {len(whole)} bytes sha256 {hashlib.sha256(whole).hexdigest()}")
    if dropped:
        parts.append(f"{dropped} headers left out")
    return ", ".join(parts).encode()


def _describe_batch(record: UnreadBatch) -> bytes:
    return f"offsets {record.first} to {record.offset}, {record.records} records, {record.codec}".encode()


class Letter(NamedTuple):
    """The reason and origin in a dead letter's headers; missing values are empty or -1."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int


def read_letter(headers: Headers) -> Letter:
    """Read the error headers of a dead letter without ever raising."""
    found = {name: value or b"" for name, value in headers or () if name in _ERRORS}
    return Letter(
        _text(found, REASON),
        _text(found, MESSAGE),
        _text(found, TOPIC),
        _number_or(found.get(PARTITION), -1),
        _number_or(found.get(OFFSET), -1),
    )


def own_headers(headers: Headers) -> tuple[Header, ...]:
    """Return the sender's own headers, without error headers and the origin, which only a forward may carry."""
    return tuple((name, value) for name, value in headers or () if name not in _ERRORS | _ORIGIN)


class Mark(NamedTuple):
    """The mark of a dead letter that was sent back: which letter it was, where the record is now, and who sent it."""

    topic: str
    partition: int
    offset: int
    """With ``topic`` and ``partition``: where the record was originally read from, according to its dead letter."""
    to_partition: int
    to_offset: int
    actor: str


def replay_mark(mark: Mark, partition: int, key: bytes | None) -> Output:
    """Return the mark record for a dead letter in ``partition`` that was sent back."""
    headers = (
        (REPLAYED_TOPIC, mark.topic.encode()),
        (REPLAYED_PARTITION, b"%d" % mark.partition),
        (REPLAYED_OFFSET, b"%d" % mark.offset),
        (REPLAYED_TO_PARTITION, b"%d" % mark.to_partition),
        (REPLAYED_TO_OFFSET, b"%d" % mark.to_offset),
        (REPLAYED_BY, plain(mark.actor).encode()),
    )
    return Output(DEAD_LETTERS, partition, key, b"", headers)


def read_mark(headers: Headers) -> Mark | None:
    """Return the mark in a record of ``crl.dead-letters``; None for a letter, even one with forged headers."""
    found = {name: value or b"" for name, value in headers or () if name in _REPLAYED or name == REASON}
    if REASON in found or not found.keys() >= _REPLAYED:
        return None
    return Mark(
        _text(found, REPLAYED_TOPIC),
        _number_or(found[REPLAYED_PARTITION], -1),
        _number_or(found[REPLAYED_OFFSET], -1),
        _number_or(found[REPLAYED_TO_PARTITION], -1),
        _number_or(found[REPLAYED_TO_OFFSET], -1),
        _text(found, REPLAYED_BY),
    )


def forwarded(record: Record, topic: str, source: int, target: int) -> Output:
    """Return the forward of a misplaced record.

    ``record`` was read from partition ``source`` of ``topic``; ``target`` is its task's partition. The headers of the
    forward name its origin.
    """
    origin = ((ORIGIN_PARTITION, b"%d" % source), (ORIGIN_OFFSET, b"%d" % record.offset))
    own, _ = _bounded(record.headers, _ORIGIN, MAX_FORWARD - record_size(record.key, record.value, origin))
    return Output(topic, target, record.key, record.value, own + origin)


def origin_of(headers: Headers) -> tuple[int, int] | None:
    """Return the (partition, offset) that a record was forwarded from; None if it was not forwarded by us."""
    partition = offset = None
    for name, value in headers or ():
        if name == ORIGIN_PARTITION:
            partition = _number(value)
        elif name == ORIGIN_OFFSET:
            offset = _number(value)
    if partition is None or offset is None:
        return None
    return partition, offset


def _text(found: Mapping[str, bytes], name: str) -> str:
    return plain(found.get(name, b"")[:_MAX_TEXT].decode("utf-8", "replace"))


def _number_or(value: bytes | None, absent: int) -> int:
    number = _number(value)
    return absent if number is None else number


def _number(value: bytes | None) -> int | None:
    if value is None or not 1 <= len(value) <= _MAX_DIGITS or not value.isdigit():
        return None
    return int(value)


def _bounded(headers: Headers, reserved: frozenset[str], limit: int) -> tuple[tuple[Header, ...], int]:
    """Return the sender's headers and 0, or no headers and their number if they take more than ``limit`` bytes."""
    own = tuple((name, value) for name, value in headers or () if name not in reserved)
    return (own, 0) if record_size(None, None, own) <= limit else ((), len(own))
