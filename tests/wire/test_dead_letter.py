"""A dead letter gives the reason and origin, keeps the original bytes, and does not trust headers set by others."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.contract import load_catalog
from crl_stream.wire import dead_letter as letters
from crl_stream.wire import reasons
from crl_stream.wire.complaints import MAX_DETAIL
from crl_stream.wire.dead_letter import (
    Letter,
    Mark,
    dead_letter,
    forwarded,
    origin_of,
    own_headers,
    read_letter,
    read_mark,
    replay_mark,
)
from crl_stream.wire.record_batch import decode_name
from crl_stream.wire.records import record_size
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS
from wire.messages import tries

Pairs = tuple[tuple[str, bytes | None], ...]


class Incoming(NamedTuple):
    """A record as a consumer returns it."""

    headers: Pairs = ()
    offset: int = 41
    timestamp: int = 0
    key: bytes | None = b"a/b"
    value: bytes | None = b"\xff not json"


TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
RESERVED = [
    letters.REASON,
    letters.MESSAGE,
    letters.TOPIC,
    letters.PARTITION,
    letters.OFFSET,
    letters.CUT,
    letters.BATCH,
]
header_names = (
    st.text(max_size=20)
    | st.binary(max_size=9).map(decode_name)
    | st.sampled_from([*RESERVED, letters.ORIGIN_PARTITION, letters.ORIGIN_OFFSET])
)
header_values = (
    st.none()
    | st.binary(max_size=30)
    | st.sampled_from([b"0", b"12", b"-1", b"1_0", b" 1", b"9" * 18, b"9" * 19, b"1e3"])
)
some_headers = st.lists(st.tuples(header_names, header_values), max_size=6).map(tuple)


@tries(100)
@given(
    some_headers,
    st.sampled_from(sorted(reasons.MEANING)),
    st.text("abc äß.:", max_size=300),
    st.integers(0, 10_000),
    st.integers(0, 10**18 - 1),
)
def test_what_is_written_into_a_dead_letter_is_read_back(
    headers: Pairs, reason: str, detail: str, partition: int, offset: int
) -> None:
    record = Incoming(headers, offset)
    output = dead_letter(record, INVOCATIONS, partition, reason, detail)
    assert output[:4] == (DEAD_LETTERS, partition, record.key, record.value)
    assert read_letter(output.headers) == Letter(reason, detail, INVOCATIONS, partition, offset)


def test_a_dead_letter_has_the_names_that_kafka_streams_gave_them() -> None:
    output = dead_letter(Incoming(), INVOCATIONS, 3, reasons.NOT_UTF8, "byte 0 is not valid UTF-8")
    assert dict(output.headers) == {
        "__streams.errors.exception": b"not_utf8",
        "__streams.errors.message": b"byte 0 is not valid UTF-8",
        "__streams.errors.topic": b"crl.invocations",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"41",
    }


@pytest.mark.parametrize("empty", [None, b""])
def test_a_record_without_key_or_value_stays_without(empty: bytes | None) -> None:
    output = dead_letter(Incoming(key=empty, value=empty), INVOCATIONS, 0, reasons.NULL_VALUE, "no value")
    assert (output.key, output.value) == (empty, empty)


def test_a_dead_letter_goes_to_another_partition_when_it_is_told_to() -> None:
    output = dead_letter(Incoming(), INVOCATIONS, 7, reasons.NOT_JSON, "not JSON", target=0)
    assert output.partition == 0
    assert read_letter(output.headers).partition == 7


def test_the_error_headers_of_a_stranger_are_replaced_and_his_own_are_kept_in_order() -> None:
    forged = tuple((name, b"999") for name in RESERVED)
    own = (TRACE, ("x", b"1"), ("x", b"2"), (letters.ORIGIN_OFFSET, b"5"))
    output = dead_letter(Incoming((*forged, *own)), INVOCATIONS, 3, reasons.NOT_JSON, "not JSON")
    assert output.headers[: len(own)] == own
    assert read_letter(output.headers) == Letter("not_json", "not JSON", INVOCATIONS, 3, 41)
    assert b"999" not in [value for _, value in output.headers]


def test_the_origin_of_a_stranger_is_replaced_when_a_record_is_forwarded() -> None:
    forged = ((letters.ORIGIN_PARTITION, b"9"), TRACE, (letters.ORIGIN_OFFSET, b"9"), (letters.ORIGIN_OFFSET, b"8"))
    output = forwarded(Incoming(forged), INVOCATIONS, 2, 5)
    assert (output.topic, output.partition) == (INVOCATIONS, 5)
    assert (output.key, output.value) == (b"a/b", b"\xff not json")
    assert output.headers == (TRACE, (letters.ORIGIN_PARTITION, b"2"), (letters.ORIGIN_OFFSET, b"41"))
    assert origin_of(output.headers) == (2, 41)


@pytest.mark.parametrize("size", [16, 70_000, 900_000])
def test_headers_as_large_as_an_uncompressed_record_may_have_them_are_kept(size: int) -> None:
    own = (("x", b"y" * size), ("\udcff", None), ("", b""))
    dead = dead_letter(Incoming(own), INVOCATIONS, 0, reasons.NOT_JSON, "not JSON")
    assert dead.headers[:-5] == own
    assert forwarded(Incoming(own), INVOCATIONS, 2, 5).headers[:-2] == own


def test_sixty_thousand_headers_are_kept_whole() -> None:
    own = tuple((f"h{number}", b"x" if number % 2 else None) for number in range(60_000))
    dead = dead_letter(Incoming(own), INVOCATIONS, 0, reasons.NOT_JSON, "not JSON")
    assert dead.headers[:-5] == own
    assert forwarded(Incoming(own), INVOCATIONS, 2, 5).headers[:-2] == own


@pytest.mark.parametrize("headers", [(("x", b"y" * 3_000_000),), (("x", None),) * 800_000])
def test_headers_that_no_topic_takes_are_left_out_and_the_letter_says_so(headers: Pairs) -> None:
    dead = dead_letter(Incoming(headers), INVOCATIONS, 0, reasons.NOT_JSON, "not JSON")
    assert read_letter(dead.headers).reason == reasons.NOT_JSON
    assert f"{len(headers)} headers left out".encode() in (dict(dead.headers)[letters.CUT] or b"")
    assert len(dead.headers) == 6
    assert len(forwarded(Incoming(headers), INVOCATIONS, 2, 5).headers) == 2


@tries(100)
@given(some_headers)
def test_no_headers_make_reading_them_raise(headers: Pairs) -> None:
    letter = read_letter(headers)
    assert letter.partition >= -1
    assert letter.offset >= -1
    assert letter.detail.isprintable()
    origin = origin_of(headers)
    assert origin is None or min(origin) >= 0


@pytest.mark.parametrize("number", [b"", b"-1", b"+1", b" 1", b"1_0", b"1.0", b"x", b"9" * 19, "\u0663".encode()])
def test_an_origin_that_is_no_plain_number_is_none(number: bytes) -> None:
    assert origin_of(((letters.ORIGIN_PARTITION, b"1"), (letters.ORIGIN_OFFSET, number))) is None
    assert origin_of(((letters.ORIGIN_PARTITION, number), (letters.ORIGIN_OFFSET, b"1"))) is None


def test_half_an_origin_is_none() -> None:
    assert origin_of(((letters.ORIGIN_PARTITION, b"1"),)) is None
    assert origin_of(((letters.ORIGIN_OFFSET, b"1"),)) is None
    assert origin_of(()) is None


def test_the_detail_of_a_dead_letter_is_bounded_and_obeyed_by_no_terminal() -> None:
    output = dead_letter(Incoming(), INVOCATIONS, 0, reasons.NOT_JSON, "\x1b[2J" * 1_000)
    assert "\x1b" not in read_letter(output.headers).detail
    hostile = ((letters.MESSAGE, b"\x1b[2J" * 1_000), (letters.REASON, b"\xff\x1b"))
    assert read_letter(hostile).detail.isprintable()
    assert len(read_letter(hostile).detail) <= MAX_DETAIL


@tries(100)
@given(
    st.builds(
        Mark,
        st.sampled_from([INVOCATIONS, COMMANDS]),
        st.integers(0, 10_000),
        st.integers(0, 10**18 - 1),
        st.integers(0, 10_000),
        st.integers(0, 10**18 - 1),
        st.text("abc äß.:", max_size=100),
    )
)
def test_what_is_written_into_a_mark_is_read_back_and_is_no_letter(mark: Mark) -> None:
    output = replay_mark(mark, 3, b"a/b")
    assert output[:4] == (DEAD_LETTERS, 3, b"a/b", b"")
    assert read_mark(output.headers) == mark
    assert read_letter(output.headers) == Letter("", "", "", -1, -1)


@tries(100)
@given(some_headers)
def test_a_letter_is_no_mark_whatever_its_sender_wrote_and_its_own_headers_are_his(headers: Pairs) -> None:
    forged = replay_mark(Mark(INVOCATIONS, 0, 1, 2, 3, "eve"), 0, None).headers
    letter = dead_letter(Incoming((*headers, *forged)), INVOCATIONS, 0, reasons.NOT_JSON, "not JSON")
    assert read_mark(letter.headers) is None
    reserved = {*RESERVED, letters.ORIGIN_PARTITION, letters.ORIGIN_OFFSET}
    assert own_headers(letter.headers) == (*(pair for pair in headers if pair[0] not in reserved), *forged)
    assert read_mark(headers) is None


def test_what_no_topic_would_take_is_cut_and_its_letter_says_how_large_it_was() -> None:
    value, key = b"\0" * (letters.MAX_VALUE + 1), b"k" * (letters.MAX_KEY + 1)
    letter = dead_letter(Incoming(key=key, value=value), INVOCATIONS, 3, reasons.OVERSIZE, "too large")
    assert (letter.key, letter.value) == (key[:-1], value[:-1])
    said = dict(letter.headers)[letters.CUT].decode()
    assert said == (
        f"key {len(key)} bytes sha256 {hashlib.sha256(key).hexdigest()}, "
        f"value {len(value)} bytes sha256 {hashlib.sha256(value).hexdigest()}"
    )


def test_what_fits_is_whole_and_has_no_word_of_a_cut() -> None:
    record = Incoming(key=b"k" * letters.MAX_KEY, value=b"v" * letters.MAX_VALUE)
    letter = dead_letter(record, INVOCATIONS, 3, reasons.OVERSIZE, "too large")
    assert (letter.key, letter.value) == (record.key, record.value)
    assert letters.CUT not in dict(letter.headers)


def test_the_largest_letter_is_one_that_its_topic_takes() -> None:
    catalog = load_catalog()
    for value in (letters.MAX_VALUE, 10):
        room = letters.MAX_LETTER - letters.MAX_KEY - value - 100
        record = Incoming((("h", b"x" * room),), key=b"k" * letters.MAX_KEY, value=b"v" * value)
        letter = dead_letter(record, INVOCATIONS, 3, reasons.NOT_JSON, "n" * 300)
        assert len(letter.headers) == 6
        assert record_size(letter.key, letter.value, letter.headers) + 100 < catalog[DEAD_LETTERS].max_message_bytes
    record = Incoming((("h", b"x" * (letters.MAX_FORWARD - 300)),), key=b"k", value=b"v")
    onward = forwarded(record, INVOCATIONS, 2, 5)
    assert len(onward.headers) == 3
    assert record_size(onward.key, onward.value, onward.headers) + 100 < catalog[INVOCATIONS].max_message_bytes
