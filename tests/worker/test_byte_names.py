"""Headers whose names are not UTF-8 are written with the bytes that were read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crl_stream.kafka.byte_names import ByteNamesBatch, has_byte_names
from crl_stream.wire.record_batch import decode_name, encode_name, records_of
from crl_stream.wire.records import record_size

names = st.binary(max_size=8) | st.sampled_from([b"", b"\xff\xfe", "ä".encode(), b"\xed\xa0\x80"])
headers = st.lists(st.tuples(names, st.none() | st.binary(max_size=8)), max_size=6)
parts = st.none() | st.binary(max_size=20)


@given(parts, parts, headers)
def test_every_name_comes_back_byte_by_byte(
    key: bytes | None, value: bytes | None, raw: list[tuple[bytes, bytes | None]]
) -> None:
    read = [(decode_name(name), content) for name, content in raw]
    size = record_size(key, value, read)
    batch = ByteNamesBatch(key, value, read, size)
    assert batch.record_count() == 1
    batch._set_producer_state(7, 1, 3)
    built = bytes(batch._build())
    assert len(built) <= size + 61, "the announced size is large enough"
    [record] = records_of(built)
    assert (record.key, record.value) == (key, value)
    assert [(encode_name(name), content) for name, content in record.headers] == raw


@given(st.binary(max_size=12))
def test_a_name_needs_its_bytes_exactly_when_it_is_not_utf_8(name: bytes) -> None:
    try:
        name.decode()
    except UnicodeDecodeError:
        assert has_byte_names([("ok", None), (decode_name(name), b"")])
    else:
        assert not has_byte_names([(decode_name(name), b"")])
