"""OTLP as JSON and as Protocol Buffers: what each value means, and that wrong bytes are only ever malformed."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.otlp import START, TRACE, evaluation, fixed, lengthy, logs_as_json, logs_as_proto, mapped, varint
from crl_stream.bridges import otlp_json, otlp_proto
from crl_stream.bridges.protobuf import Malformed, double, fields, signed
from crl_stream.bridges.spans import Event, Span


# -- JSON ----------------------------------------------------------------------------------------------
def json_span(**data: Any) -> Span:
    [found] = otlp_json.read_spans({"resourceSpans": [{"scopeSpans": [{"spans": [data]}]}]})
    return found


def json_event(**data: Any) -> Event:
    [found] = otlp_json.read_events({"resourceLogs": [{"scopeLogs": [{"logRecords": [data]}]}]})
    return found


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ({"stringValue": "x"}, "x"),
        ({"stringValue": ""}, ""),
        ({"stringValue": 3}, None),
        ({"boolValue": False}, False),
        ({"boolValue": 0}, None),
        ({"intValue": "7"}, 7),
        ({"intValue": 7}, 7),
        ({"intValue": "-7"}, -7),
        ({"intValue": "--7"}, None),
        ({"intValue": "7.0"}, None),
        ({"intValue": 7.0}, None),
        ({"intValue": True}, None),
        ({"intValue": "٣"}, None),
        ({"intValue": "9" * 20}, int("9" * 20)),
        ({"intValue": "9" * 21}, None),
        ({"doubleValue": 0.5}, 0.5),
        ({"doubleValue": 2}, 2.0),
        ({"doubleValue": True}, None),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"doubleValue": "0.5"}, None),
        ({"bytesValue": "AAAA"}, None),
        ({"arrayValue": {"values": []}}, None),
        ({}, None),
        ("x", None),
        (None, None),
    ],
)
def test_a_value_in_json_is_a_text_a_truth_or_a_number_and_anything_else_counts_as_absent(
    value: Any, meaning: Any
) -> None:
    found = json_span(attributes=[{"key": "a", "value": value}]).attributes
    assert found == ({} if meaning is None else {"a": meaning})
    assert type(found.get("a")) is type(meaning)


def test_a_number_that_is_none_may_be_written_in_json() -> None:
    found = json_span(attributes=[{"key": "a", "value": {"doubleValue": "NaN"}}]).attributes["a"]
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize("attributes", [None, 3, {}, "x", [3, None, {"key": 3, "value": {"stringValue": "x"}}]])
def test_attributes_of_another_shape_count_as_absent(attributes: Any) -> None:
    assert json_span(attributes=attributes).attributes == {}
    resource = {"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [{}]}]}
    assert otlp_json.read_spans({"resourceSpans": [resource, {"resource": 3}, {"resource": {}}]})[0].resource == {}


def test_of_an_attribute_that_is_there_twice_the_first_counts() -> None:
    twice = [{"key": "a", "value": {"intValue": number}} for number in (1, 2)]
    assert json_span(attributes=twice).attributes == {"a": 1}
    entry = [lengthy(1, b"a") + lengthy(2, varint(3 << 3) + varint(number)) for number in (1, 2)]
    [found] = proto_spans(b"".join(lengthy(9, one) for one in entry))
    assert found.attributes == {"a": 1}


@pytest.mark.parametrize(
    ("status", "failed"),
    [({"code": code}, True) for code in (2, "2", "STATUS_CODE_ERROR")]
    + [({"code": code}, False) for code in (0, 1, "1", "STATUS_CODE_OK", "ERROR", None, [2])]
    + [({}, False), (None, False), (2, False)],
)
def test_a_span_failed_if_its_status_says_so_in_any_of_its_spellings(status: Any, failed: bool) -> None:
    assert json_span(status=status).failed is failed


@pytest.mark.parametrize(
    ("time", "nanoseconds"),
    [(7, 7), ("7", 7), (2**64 - 1, 2**64 - 1), (2**64, 0), (-1, 0), ("-1", 0), ("x", 0), (1.5, 0), (None, 0), (0, 0)],
)
def test_a_time_in_json_is_a_number_or_its_text_of_at_most_64_bits(time: Any, nanoseconds: int) -> None:
    found = json_span(startTimeUnixNano=time, endTimeUnixNano=time, events=[{"timeUnixNano": time}])
    assert (found.start, found.end, found.events[0].time) == (nanoseconds, nanoseconds, nanoseconds)


def test_ids_in_json_are_lower_case_and_what_is_no_text_is_no_id_and_no_name() -> None:
    found = json_span(traceId="AB", spanId="CD", parentSpanId="EF", events=[{"name": "e"}, {"name": 3}])
    assert (found.trace_id, found.span_id, found.parent_id) == ("ab", "cd", "ef")
    assert [event.name for event in found.events] == ["e", ""]
    assert (json_span(traceId=3, spanId=None).trace_id, json_span().span_id) == ("", "")


def test_a_log_record_without_its_own_time_has_that_of_its_observation() -> None:
    times = {"timeUnixNano": "5", "observedTimeUnixNano": "9"}
    assert json_event(**times, eventName="e", traceId="AB", spanId="CD") == Event("e", 5, {}, {}, "ab", "cd")
    assert (json_event(**times | {"timeUnixNano": "0"}).time, json_event().time) == (9, 0)


# -- Protocol Buffers ------------------------------------------------------------------------------------
def proto_spans(span: bytes) -> list[Span]:
    return otlp_proto.read_spans(lengthy(1, lengthy(2, lengthy(2, span))))


def proto_events(record: bytes) -> list[Event]:
    return otlp_proto.read_events(lengthy(1, lengthy(2, lengthy(2, record))))


@pytest.mark.parametrize(("own", "observed", "time"), [(5, 9, 5), (0, 9, 9), (0, 0, 0)])
def test_a_log_record_means_the_same_in_both_encodings(own: int, observed: int, time: int) -> None:
    names = {"gen_ai.agent.name": "helper", "crl.task_type": "task"}
    events = [evaluation(3, **names) | {"id": f"{9:016x}", "time": own, "observed": observed}]
    process = {"service.instance.id": "i"}
    [found] = otlp_proto.read_events(logs_as_proto(events, process))
    assert (found.name, found.time, found.resource) == ("gen_ai.evaluation.result", time, process)
    assert (found.trace_id, found.span_id) == (TRACE, f"{9:016x}")
    options = {"signal": "logs", "score_min": 1, "score_max": 5}
    one, other = (mapped("otlp", encode(events, process), **options) for encode in (logs_as_json, logs_as_proto))
    assert one == other
    assert len(one.messages) == 1


def test_unknown_fields_of_every_kind_are_skipped() -> None:
    unknown = varint(99 << 3) + varint(7) + fixed(98, 7) + lengthy(97, b"x") + varint(96 << 3 | 5) + b"1234"
    known = lengthy(1, b"\x01" * 16) + unknown + fixed(7, START) + lengthy(11, fixed(1, 3) + unknown + lengthy(2, b"e"))
    [found] = proto_spans(unknown + known + lengthy(15, unknown + varint(3 << 3) + varint(2)))
    assert (found.trace_id, found.start, found.failed) == ("01" * 16, START, True)
    assert found.events == (Event("e", 3, {}),)
    entry = unknown + lengthy(1, b"a") + unknown + lengthy(2, varint(2 << 3) + varint(1)) + unknown
    assert proto_spans(lengthy(9, entry))[0].attributes == {"a": True}
    assert proto_spans(unknown) == [Span("", "", "", 0, 0, False, {}, {})]
    [event] = proto_events(unknown + fixed(11, 9) + lengthy(12, b"e") + unknown)
    assert event == Event("e", 9, {}, {}, "", "")


@pytest.mark.parametrize(("code", "failed"), [(0, False), (1, False), (2, True), (3, False)])
def test_only_the_status_code_two_means_that_a_span_failed(code: int, failed: bool) -> None:
    [found] = proto_spans(lengthy(15, varint(2 << 3) + varint(2) + varint(3 << 3) + varint(code)))
    assert found.failed is failed


WRONG: list[tuple[Callable[[bytes], Any], bytes]] = [
    *[(proto_spans, varint(number << 3) + varint(1)) for number in (1, 2, 4, 7, 8, 9, 11, 15)],
    *[(proto_spans, lengthy(number, b"12345678")) for number in (7, 8)],
    *[(proto_events, varint(number << 3) + varint(1)) for number in (1, 6, 9, 10, 11, 12)],
    (proto_spans, lengthy(15, lengthy(3, b"2"))),
    (proto_spans, lengthy(9, lengthy(1, b"\xff"))),
    (proto_spans, lengthy(9, lengthy(1, b"a") + lengthy(2, lengthy(1, b"\xff")))),
    *[(proto_spans, lengthy(9, lengthy(1, b"a") + lengthy(2, lengthy(number, b"1")))) for number in (2, 3, 4)],
    (proto_spans, lengthy(11, lengthy(1, b"12345678"))),
    (proto_events, lengthy(12, b"\xff")),
]


@pytest.mark.parametrize(("read", "data"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_field_with_the_wrong_kind_of_value_is_malformed(read: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(Malformed, match=r"a field that should hold|a text is not UTF-8"):
        read(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (varint(0), "field number 0"),
        (varint(2**29 << 3) + varint(1), f"field number {2**29}"),
        (varint(1 << 3 | 3), "wire type 3"),
        (varint(1 << 3 | 4), "wire type 4"),
        (varint(1 << 3 | 6), "wire type 6"),
        (varint(1 << 3), "in the middle of a number"),
        (varint(1 << 3) + b"\x80", "in the middle of a number"),
        (varint(1 << 3) + b"\x80" * 10 + b"\x01", "more than ten bytes"),
        (lengthy(1, b"123")[:-1], "in the middle of a field"),
        (fixed(1, 7)[:-1], "in the middle of a field"),
        (varint(1 << 3 | 5) + b"123", "in the middle of a field"),
    ],
)
def test_bytes_that_are_no_message_are_malformed_and_say_why(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        list(fields(data))


def test_the_largest_field_number_and_the_longest_number_are_read() -> None:
    assert list(fields(varint(2**29 - 1 << 3) + varint(2**64 - 1))) == [(2**29 - 1, 0, 2**64 - 1)]
    assert list(fields(b"\x08" + b"\xff" * 9 + b"\x7f")) == [(1, 0, 2**64 - 1)], "more than 64 bits are cut"
    four, eight = varint(1 << 3 | 5) + b"\x01\x02\x03\x04", fixed(2, 5)
    assert list(fields(four + eight + four)) == [(1, 5, 0x04030201), (2, 1, 5), (1, 5, 0x04030201)]


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
def test_a_number_is_read_back_as_it_was_written(whole: int, real: float) -> None:
    [(_, _, found)] = fields(varint(1 << 3) + varint(whole))
    assert isinstance(found, int) and signed(found) == whole
    [(_, _, bits)] = fields(varint(1 << 3 | 1) + struct.pack("<d", real))
    assert isinstance(bits, int) and double(bits) == real
