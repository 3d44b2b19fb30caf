"""Any batch that the protocol allows goes through the real decoder and the fold: nothing raises, nothing is lost."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from builders import AGENT, TASK, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_batches import CODECS, Raw, batch_of, end_of_transaction, legacy_of

from crl_stream.core.policy import GUIDE
from crl_stream.kafka import log_consumer
from crl_stream.kafka.log_consumer import _Batches, _PartitionRecords
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.inlet import reference_commands
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import decode_partition
from crl_stream.wire import record_batch
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import BATCH, ORIGIN_OFFSET, ORIGIN_PARTITION, REASON
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.record_batch import encode_name
from crl_stream.wire.records import UnreadBatch, record_size
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS

KEY = f"{AGENT}/{TASK}".encode()
PARTITIONS = 3
HOME = partition_of(KEY, PARTITIONS)
PLACE = TopicPartition("crl.invocations", HOME)
YEAR_9999 = 253_402_300_799_999
READ_COMMITTED = 1


class Log(NamedTuple):
    """A partition as its broker stores it, and what a reader must return."""

    data: bytes
    aborted: list[tuple[int, int]]
    """(producer, first offset) of aborted transactions, as a broker lists them."""
    expected: list[tuple[int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...]]]
    """Offset, key, value and headers of every committed record."""
    end: int


names = st.binary(max_size=6) | st.sampled_from(
    [b"", b"h", b"\xff\xfe", REASON.encode(), ORIGIN_PARTITION.encode(), ORIGIN_OFFSET.encode(), b"traceparent"]
)
contents = st.none() | st.binary(max_size=12) | st.sampled_from([b"0", b"1", b"9" * 18, b"-1"])
headers = st.lists(st.tuples(names, contents), max_size=5).map(tuple)
timestamps = st.integers(-(2**62), 2**62) | st.sampled_from(
    [0, -1, 1_763_562_600_000, YEAR_9999, YEAR_9999 + 1, -62_135_596_800_001]
)
payload_times = st.sampled_from(
    [
        "2025-11-19T14:30:00Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:60Z",
        "0001-01-01T00:00:00Z",
    ]
)
outcomes = st.builds(
    lambda number, time, status: encode(an_invocation(invocation_id=f"i{number}", timestamp=time, status=status)),
    st.integers(0, 90),
    payload_times,
    st.sampled_from(["success", "success", "failure", "error"]),
)
values = outcomes | outcomes | st.none() | st.binary(max_size=40) | st.just(b'{"type":"command_ref"}')
keys = st.just(KEY) | st.just(KEY) | st.none() | st.binary(max_size=8) | st.just(b"elsewhere/t")
raws = st.builds(Raw, values, keys, headers, timestamps, delta=st.none())


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Generate a sequence of batches of every format, codec and kind, with the gaps that compaction leaves."""
    data, aborted, expected, at = b"", list[tuple[int, int]](), list[Any](), draw(st.integers(0, 5))
    open_since: dict[int, tuple[int, list[Any]]] = {}
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from([0, 0, 0, 1, 7]))
        kind = draw(
            st.sampled_from(["plain", "plain", "legacy", "transaction", "transaction", "commit", "abort", "empty"])
        )
        records = draw(st.lists(raws, min_size=1, max_size=6))
        codec = draw(st.sampled_from(sorted(CODECS)))
        producer = draw(st.sampled_from([7, 8]))
        if kind in {"commit", "abort"}:
            first, held = open_since.pop(producer, (at, []))
            data += end_of_transaction(at, producer, commit=kind == "commit")
            if kind == "commit":
                expected += held
            elif held:
                aborted.append((producer, first))
            at += 1
        elif kind == "empty":  # all records were compacted away; the empty batch remains, for its producer's state
            size = draw(st.integers(1, 4))
            data += batch_of([], base=at, producer=producer, last_delta=size - 1)
            at += size
        elif kind == "legacy":
            magic = draw(st.sampled_from([0, 1]))
            if codec == "zstd" or (codec == "lz4" and magic == 0):
                codec = "gzip"
            data += legacy_of(records, magic=magic, codec=codec, base=at)
            expected += [(at + n, raw.key, raw.value, ()) for n, raw in enumerate(records)]
            at += len(records)
        else:
            steps = draw(st.lists(st.sampled_from([1, 1, 2]), min_size=len(records), max_size=len(records)))
            deltas = [sum(steps[:number]) for number in range(len(records))]
            spaced = [raw._replace(delta=delta) for raw, delta in zip(records, deltas, strict=True)]
            within = kind == "transaction"
            data += batch_of(
                spaced,
                codec=codec,
                base=at,
                append_time=draw(st.none() | timestamps),
                producer=producer if within else -1,
                transactional=within,
            )
            found = [(at + raw.delta, raw.key, raw.value, raw.headers) for raw in spaced if raw.delta is not None]
            if within:
                open_since.setdefault(producer, (at, []))[1].extend(found)
            else:
                expected += found
            at += deltas[-1] + 1
    for producer, (first, _) in open_since.items():
        # Abort every open transaction, because a broker returns nothing from the first open transaction onwards.
        aborted.append((producer, first))
        data += end_of_transaction(at, producer, commit=False)
        at += 1
    return Log(data, aborted, sorted(expected), at)


def read(log: Log, start: int = 0) -> tuple[list[Any], int]:
    reader = _PartitionRecords(PLACE, _Batches(log.data), log.aborted, start, None, None, True, READ_COMMITTED)
    return list(reader), reader.next_fetch_offset


def last_offset(batch: bytes) -> int:
    if record_batch.magic_of(batch) < record_batch.MAGIC:
        return int.from_bytes(batch[:8], "big")
    header = record_batch.header_of(batch)
    return header.base_offset + header.last_offset_delta


def committed_in_order(log: Log) -> list[Any]:
    return [
        (record.offset, record.key, record.value, tuple((encode_name(n), v) for n, v in record.headers))
        for record in read(log)[0]
    ]


@settings(max_examples=40, deadline=None)
@given(logs())
def test_every_committed_record_of_every_legal_log_is_read_with_its_bytes_and_no_other(log: Log) -> None:
    assert committed_in_order(log) == log.expected
    assert read(log)[1] == log.end, "the position is after the last batch, whatever its kind"


@settings(max_examples=40, deadline=None)
@given(logs(), st.integers(0, 40))
def test_reading_on_from_any_position_gives_what_lies_behind_it(log: Log, start: int) -> None:
    kept = list(record_batch.split(log.data))
    while kept and last_offset(kept[0]) < start:
        kept.pop(0)  # a broker begins with the batch that contains the position
    behind = [offset for offset, *_ in log.expected if offset >= start]
    assert [record.offset for record in read(log._replace(data=b"".join(kept)), start)[0]] == behind


@settings(max_examples=40, deadline=None)
@given(logs(), st.data())
def test_every_record_of_every_legal_log_is_accounted_for_wherever_a_batch_ends(log: Log, data: st.DataObject) -> None:
    records, _ = read(log)
    whole = fold_batch(HOME, PARTITIONS, None, {}, decode_batch(records), {})
    counts = whole.counts
    assert counts.skipped == 0
    assert counts.applied + counts.duplicates + counts.forwarded + counts.dead_letters == len(records)
    letters = [output for output in whole.outputs if output.topic == DEAD_LETTERS]
    assert len(letters) == counts.dead_letters
    assert len([o for o in whole.outputs if o.topic == INVOCATIONS]) == counts.forwarded
    assert {(o.key, o.value) for o in letters} <= {(record.key, record.value) for record in records}
    rows: dict[bytes, bytes] = {}
    row, outputs, at = None, [], 0
    while at < len(records):
        end = data.draw(st.integers(at + 1, len(records)))
        piece = fold_batch(HOME, PARTITIONS, row, rows, decode_batch(records[at:end]), {})
        rows |= piece.rows
        row, outputs, at = piece.partition_row, [*outputs, *piece.outputs], end
    if records:
        assert (rows, row, outputs) == (whole.rows, whole.partition_row, whole.outputs)
        assert decode_partition(row).policy == GUIDE.canonical()


@settings(max_examples=40, deadline=None)
@given(logs())
def test_every_record_of_every_legal_log_of_commands_becomes_a_reference_or_a_dead_letter(log: Log) -> None:
    records, _ = read(log)
    assert len(reference_commands(HOME, PARTITIONS, records)) == len(records)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(raws, min_size=1, max_size=5), min_size=1, max_size=4), st.data())
def test_a_batch_that_would_unpack_beyond_the_limit_is_one_dead_letter_and_the_others_are_read(
    batches: list[list[Raw]], data: st.DataObject
) -> None:
    limit, log, expected, at = record_batch.MAX_UNPACKED, b"", list[int](), 0
    bombs = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_consumer, "unpacked", lambda batch: record_batch.unpacked(batch, 4_096))
        assert limit > 4_096
        for drawn in batches:
            records = drawn
            codec = data.draw(st.sampled_from(sorted(CODECS.keys() - {"none"})))
            if data.draw(st.booleans()):
                records, bombs = [*records, Raw(b" " * 5_000, KEY)], bombs + 1
                expected.append(at + len(records) - 1)
            else:
                expected += range(at, at + len(records))
            log += batch_of(records, codec=codec, base=at)
            at += len(records)
        found, end = read(Log(log, [], [], at))
    assert [record.offset for record in found] == expected
    assert end == at
    folded = fold_batch(HOME, PARTITIONS, None, {}, decode_batch(found), {})
    letters = [o for o in folded.outputs if o.topic == DEAD_LETTERS and BATCH in dict(o.headers)]
    assert len(letters) == bombs
    assert all((letter.value or b"") in log and letter.key is None for letter in letters)


@settings(max_examples=40, deadline=None)
@given(logs(), st.data())
def test_bytes_that_no_client_writes_raise_nothing_but_a_wrong_checksum(log: Log, data: st.DataObject) -> None:
    """Checksums are not verified here, so the decoder has to read the damaged contents."""
    damaged = bytearray(log.data)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for record in _everything_in(bytes(damaged)):
        assert record_size(record.key, record.value, record.headers) > 0
        decode_batch([record])
        fold_batch(HOME, PARTITIONS, None, {}, decode_batch([record]), {})


@pytest.mark.parametrize("size", [17, 20, 26, 34, 60])
@pytest.mark.parametrize("magic", [0, 1, 2, 3, 255])
def test_a_batch_that_is_shorter_than_its_header_raises_nothing_but_a_wrong_checksum(size: int, magic: int) -> None:
    batch = bytearray(struct.pack(">qi", 0, size - 12) + bytes(size - 12))
    for filling in (0, 0xFF):
        batch[17:] = bytes([filling]) * (size - 17)
        batch[16] = magic
        for record in _everything_in(bytes(batch)):
            assert magic < 2 or isinstance(record, UnreadBatch)


def _everything_in(data: bytes) -> Sequence[Any]:
    found, batches = [], _Batches(data)
    while batches.has_next():
        try:
            batch = batches.next_batch()
        except log_consumer.CorruptRecordException:
            continue
        if not batch.is_control_batch:
            reader = _PartitionRecords(PLACE, batches, [], 0, None, None, False, READ_COMMITTED)
            found += [reader._consumer_record(PLACE, record) for record in batch]
    return found


def test_a_batch_that_is_broken_inside_is_a_dead_letter_from_its_first_broken_record_on() -> None:
    good = batch_of([Raw(b"1", KEY), Raw(b"2", KEY), Raw(b"3", KEY)], base=5)
    body = good[61:]
    cut = batch_of([Raw(), Raw(), Raw()], base=5, body=body[:-3])
    found, end = read(Log(cut, [], [], 8))
    assert [type(record) is UnreadBatch for record in found] == [False, False, True]
    assert (found[-1].first, found[-1].offset, end) == (7, 7, 8)
    assert "cannot be read" in found[-1].detail
