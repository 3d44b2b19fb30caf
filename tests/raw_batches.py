"""Record batches built byte by byte: everything that the protocol allows, including what no client would write.

The layout follows Kafka's documentation of the record batch.  Records are packed here and not by a client, so that a
test never checks a client's reader with the same client's writer.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

RawHeader = tuple[bytes, bytes | None]


class Raw(NamedTuple):
    """A record of a batch; ``delta`` is its distance from the batch's base offset."""

    value: bytes | None = b"v"
    key: bytes | None = b"k"
    headers: Sequence[RawHeader] = ()
    timestamp: int = 1_700_000_000_000
    delta: int | None = None


def xerial(data: bytes, block: int = 32_768) -> bytes:
    """Compress with Snappy, in the framing of the Java library."""
    found = bytearray(b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1))
    for at in range(0, len(data), block):
        packed = bytes(cramjam.snappy.compress_raw(data[at : at + block]))
        found += struct.pack(">i", len(packed)) + packed
    return bytes(found)


def two_members(data: bytes) -> bytes:
    """Compress with gzip into two consecutive members."""
    half = len(data) // 2
    return gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1)


def lz4(data: bytes) -> bytes:
    """Compress with LZ4 into a frame of independent blocks, as Kafka requires."""
    compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    compressor.compress(data)
    return bytes(compressor.finish())


Pack = Callable[[bytes], bytes]
CODECS: dict[str, tuple[int, Pack]] = {
    "none": (0, bytes),
    "gzip": (1, lambda data: gzip.compress(data, 1)),
    "gzip in two members": (1, two_members),
    "snappy": (2, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "snappy of xerial": (2, xerial),
    "lz4": (3, lz4),
    "zstd": (4, lambda data: bytes(cramjam.zstd.compress(data, level=1))),
}


def varint(number: int) -> bytes:
    """Encode a number in zigzag form, seven bits per byte."""
    left, found = (number << 1) ^ (number >> 63), bytearray()
    left &= (1 << 64) - 1
    while left >= 0x80:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


def nullable(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record_bytes(raw: Raw, first_timestamp: int, delta: int) -> bytes:
    body = b"\0" + varint(raw.timestamp - first_timestamp) + varint(delta)
    body += nullable(raw.key) + nullable(raw.value) + varint(len(raw.headers))
    body += b"".join(nullable(name) + nullable(value) for name, value in raw.headers)
    return varint(len(body)) + body


def batch_of(
    records: Sequence[Raw],
    *,
    codec: str = "none",
    base: int = 0,
    append_time: int | None = None,
    producer: int = -1,
    transactional: bool = False,
    control: bool = False,
    last_delta: int | None = None,
    body: bytes | None = None,
) -> bytes:
    """Build a batch of format 2; ``body`` replaces the packed records."""
    number, pack = CODECS[codec]
    deltas = [n if raw.delta is None else raw.delta for n, raw in enumerate(records)]
    first = records[0].timestamp if records else 0
    highest = max((raw.timestamp for raw in records), default=0) if append_time is None else append_time
    plain = b"".join(record_bytes(raw, first, delta) for raw, delta in zip(records, deltas, strict=True))
    attributes = number | (8 if append_time is not None else 0) | (16 if transactional else 0) | (32 if control else 0)
    last = (deltas[-1] if deltas else 0) if last_delta is None else last_delta
    rest = struct.pack(">hiqqqhii", attributes, last, first, highest, producer, 0, 0, len(records))
    rest += pack(plain) if body is None else body
    return struct.pack(">qiibI", base, len(rest) + 9, 0, 2, calc_crc32c(rest)) + rest


def end_of_transaction(base: int, producer: int, *, commit: bool) -> bytes:
    """Build the control record that the broker writes at the end of a transaction."""
    record = Raw(struct.pack(">hi", 0, 0), struct.pack(">hh", 0, int(commit)))
    return batch_of([record], base=base, producer=producer, transactional=True, control=True)


def legacy_of(records: Sequence[Raw], *, magic: int, codec: str = "none", base: int = 0) -> bytes:
    """Build records of format 0 or 1; with a codec, build one record that contains them all."""
    number, pack = CODECS[codec]
    relative = bool(number) and magic == 1
    single = [
        _legacy(raw.key, raw.value, raw.timestamp, magic, 0, n if relative else base + n)
        for n, raw in enumerate(records)
    ]
    if not number:
        return b"".join(single)
    last = base + len(records) - 1
    return _legacy(None, pack(b"".join(single)), max(raw.timestamp for raw in records), magic, number, last)


def _legacy(key: bytes | None, value: bytes | None, timestamp: int, magic: int, attributes: int, offset: int) -> bytes:
    def sized(data: bytes | None) -> bytes:
        return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data

    rest = struct.pack(">bb", magic, attributes)
    rest += struct.pack(">q", timestamp) if magic else b""
    rest += sized(key) + sized(value)
    return struct.pack(">qiI", offset, len(rest) + 4, crc32(rest)) + rest


class RawBatch(BatchBuilder):
    """A batch of ours that aiokafka's producer sends unchanged."""

    def __init__(self, batch: bytes, records: int) -> None:
        super().__init__(1, 0)
        self._buffer, self._relative_offset = bytearray(batch), records
        self.close()

    def _set_producer_state(self, *_: Any) -> None:
        """Leave the batch as it is."""


async def send_raw(servers: str, topic: str, partition: int, *batches: bytes, records: int = 1) -> list[int]:
    """Append batches and return the base offset of each."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=2**31 - 1)
    await producer.start()
    try:
        futures = [await producer.send_batch(RawBatch(b, records), topic, partition=partition) for b in batches]
        return [(await future).offset for future in futures]
    finally:
        await producer.stop()
