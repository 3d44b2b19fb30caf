"""CloudEvents as outcomes and scores, in both modes of Kafka."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.otlp import RECEIVED, mapped, written
from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.wire.cloudevents import event_headers
from crl_stream.wire.codec import encode

OUTCOME = {"variant_id": "v1", "status": "success"}
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "event-1",
    "source": "/refunds",
    "type": "crl.Invocation.v1",
    "time": "2025-11-19T15:30:00.5+01:00",
    "subject": "helper/task",
}
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]


def binary(attributes: dict[str, Any], kind: str = "application/json") -> list[tuple[str, bytes]]:
    return [("content-type", kind.encode()), *((f"ce_{name}", str(v).encode()) for name, v in attributes.items())]


def in_both_modes(data: dict[str, Any], **attributes: Any) -> list[Any]:
    """Return what both modes of an event give; an attribute that is None is left out."""
    chosen = {name: value for name, value in (ATTRIBUTES | attributes).items() if value is not None}
    structured = json.dumps(chosen | {"data": data}).encode()
    plain = json.dumps(data).encode()
    return [
        mapped("cloudevents", structured, STRUCTURED, topic="t"),
        mapped("cloudevents", plain, binary(chosen), topic="t"),
    ]


def the_message(data: dict[str, Any], **attributes: Any) -> Any:
    one, other = in_both_modes(data, **attributes)
    assert one == other
    assert one.faults == []
    written(one, b"")
    [message] = one.messages
    return message.message


def the_reason(data: Any, **attributes: Any) -> str:
    one, other = in_both_modes(data, **attributes)
    assert [fault.reason for fault in one.faults] == [fault.reason for fault in other.faults]
    return str(one.faults[0].reason)


def test_an_event_gives_its_data_what_is_missing_there() -> None:
    found = the_message(OUTCOME)
    assert found == m.Invocation(
        schema_version=1,
        invocation_id="event-1",
        timestamp="2025-11-19T14:30:00.500Z",
        agent_name="helper",
        task_type="task",
        variant_id="v1",
        status="success",
    )


def test_what_the_data_says_counts_more_than_the_event() -> None:
    own = {"invocation_id": "own", "timestamp": "2025-11-19T10:00:00Z", "agent_name": "Math Tutor", "task_type": "t"}
    found = the_message(OUTCOME | own)
    assert (found.invocation_id, found.timestamp) == ("own", "2025-11-19T10:00:00Z")
    assert (found.agent_name, found.task_type) == ("Math-Tutor", "t")


def test_an_id_that_the_log_does_not_allow_becomes_one_that_depends_on_id_and_source() -> None:
    ids = {the_message(OUTCOME, id="a/b").invocation_id, the_message(OUTCOME, id="a/b", source="/x").invocation_id}
    assert len(ids) == 2
    assert the_message(OUTCOME, id="a/b").invocation_id in ids, "the same for a repetition"


def test_an_event_without_a_time_has_that_of_its_record() -> None:
    assert the_message(OUTCOME, time=None).timestamp == to_text(RECEIVED)


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize("field", ["time", "timestamp"])
def test_a_time_without_an_offset_is_utc_wherever_the_worker_runs(field: str) -> None:
    own = {"timestamp": "2025-11-19T14:30:00"} if field == "timestamp" else {}
    assert the_message(OUTCOME | own, time="2025-11-19T14:30:00").timestamp == "2025-11-19T14:30:00.000Z"


def test_an_event_may_be_a_score() -> None:
    found = the_message({"invocation_id": "i", "quality": 0.5}, type="crl.Feedback.v1")
    assert isinstance(found, m.Feedback)
    assert (found.feedback_id, found.quality, found.agent_name) == ("event-1", 0.5, "helper")


def test_the_types_of_another_system_can_be_named() -> None:
    value = json.dumps(ATTRIBUTES | {"type": "com.example.done", "data": OUTCOME}).encode()
    found = mapped("cloudevents", value, STRUCTURED, topic="t", outcome_types="com.example.done, com.example.ended")
    assert [type(one.message) for one in found.messages] == [m.Invocation]


def test_only_headers_with_the_prefix_are_attributes_and_without_a_content_type_data_is_json() -> None:
    value = json.dumps(OUTCOME).encode()
    plain = mapped("cloudevents", value, binary(ATTRIBUTES), topic="t")
    assert len(plain.messages) == 1
    assert mapped("cloudevents", value, [*binary(ATTRIBUTES), ("type", b"other")], topic="t") == plain
    assert mapped("cloudevents", value, binary(ATTRIBUTES)[1:], topic="t") == plain


@pytest.mark.parametrize(("kind", "structured"), [("+json", True), ("+JSON; a=b", True), ("+avro", False), ("", False)])
def test_an_event_is_structured_if_its_content_type_says_so(kind: str, structured: bool) -> None:
    headers = [("Content-Type", b"application/cloudevents" + kind.encode())]
    found = mapped("cloudevents", json.dumps(ATTRIBUTES | {"data": OUTCOME}).encode(), headers, topic="t")
    assert [fault.reason for fault in found.faults] == ([] if structured else ["not_a_cloudevent"])


def test_a_record_without_headers_is_no_event() -> None:
    assert [fault.reason for fault in mapped("cloudevents", b"{}", None, topic="t").faults] == ["not_a_cloudevent"]


def test_a_long_type_is_shortened_in_the_fault() -> None:
    value = json.dumps(ATTRIBUTES | {"type": "y" * 150, "data": OUTCOME}).encode()
    [fault] = mapped("cloudevents", value, STRUCTURED, topic="t", outcome_types="x" * 300).faults
    assert fault.detail == f"type: expected one of {'x' * 200}, not {'y' * 100!r}"
    kind = "application/" + "z" * 150
    [fault] = mapped("cloudevents", b"{}", binary(ATTRIBUTES, kind), topic="t").faults
    assert fault.detail == f"content-type: expected application/json, not {kind[:100]!r}"


def test_our_own_headers_are_read_back() -> None:
    message = the_message(OUTCOME)
    value = encode(message)
    found = mapped("cloudevents", value, event_headers(message, b"helper/task"), topic="t")
    assert [one.message for one in found.messages] == [message]


def test_data_in_base64_is_read() -> None:
    data = base64.b64encode(json.dumps(OUTCOME).encode()).decode()
    found = mapped("cloudevents", json.dumps(ATTRIBUTES | {"data_base64": data}).encode(), STRUCTURED, topic="t")
    assert len(found.messages) == 1
    both = ATTRIBUTES | {"data": OUTCOME, "data_base64": "?"}
    assert len(mapped("cloudevents", json.dumps(both).encode(), STRUCTURED, topic="t").messages) == 1
    for empty in ({}, {"data": None}, {"data_base64": 3}):
        none = mapped("cloudevents", json.dumps(ATTRIBUTES | empty).encode(), STRUCTURED, topic="t")
        assert [fault.reason for fault in none.faults] == ["not_an_object"]
    bad = mapped("cloudevents", json.dumps(ATTRIBUTES | {"data_base64": "?"}).encode(), STRUCTURED, topic="t")
    assert [fault.reason for fault in bad.faults] == ["not_json"]


@pytest.mark.parametrize(
    ("data", "attributes", "reason"),
    [
        (OUTCOME, {"type": "other"}, "unknown_type"),
        (OUTCOME, {"specversion": "2.0"}, "not_a_cloudevent"),
        (OUTCOME, {"id": None}, "missing_field"),
        (OUTCOME, {"source": None}, "missing_field"),
        (OUTCOME, {"subject": None}, "missing_field"),
        ({"status": "success"}, {}, "missing_field"),
        (OUTCOME | {"status": "fine"}, {}, "out_of_range"),
        (OUTCOME | {"quality": 7}, {}, "out_of_range"),
        (OUTCOME | {"variant_id": 1.5}, {}, "wrong_type"),
        ([], {}, "not_an_object"),
    ],
)
def test_an_event_that_cannot_be_used_is_a_fault(data: Any, attributes: dict[str, Any], reason: str) -> None:
    assert the_reason(data, **attributes) == reason


@pytest.mark.parametrize("field", ["timestamp", "agent_name", "invocation_id"])
def test_what_only_the_log_checks_is_a_letter_too(field: str) -> None:
    found, _ = in_both_modes(OUTCOME | {field: "\0"})
    [letter] = written(found, b"")
    assert letter.topic == "crl.dead-letters"


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (None, STRUCTURED, "null_value"),
        (b"{}", [], "not_a_cloudevent"),
        (b"[]", [("content-type", b"application/cloudevents-batch+json")], "not_a_cloudevent"),
        (b"[]", STRUCTURED, "not_an_object"),
        (b"{", STRUCTURED, "not_json"),
        (b'{"a":1,"a":2}', binary(ATTRIBUTES), "duplicate_key"),
        (b"<xml/>", binary(ATTRIBUTES, "application/xml"), "not_json"),
    ],
)
def test_a_record_that_is_not_an_event_is_a_fault(value: bytes | None, headers: Any, reason: str) -> None:
    assert [fault.reason for fault in mapped("cloudevents", value, headers, topic="t").faults] == [reason]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["variant_id", "status", "quality", "timestamp", "agent_name", "task_type", "metrics", "tokens_input", "type"]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "content-type"])
        | st.text(max_size=5),
        st.none()
        | st.sampled_from([b"1.0", b"crl.Invocation.v1", b"application/json", b"a/b"])
        | st.binary(max_size=9),
    ),
    max_size=8,
)


@given(st.dictionaries(FIELDS, JSON), HEADERS, st.booleans())
def test_no_event_makes_the_bridge_fail(data: dict[str, Any], headers: list[Any], structured: bool) -> None:
    page = ATTRIBUTES | {"data": data} if structured else data
    value = json.dumps(page).encode()
    written(mapped("cloudevents", value, STRUCTURED if structured else headers, topic="t"), value)
    written(mapped("cloudevents", value, [*binary(ATTRIBUTES), *headers], topic="t"), value)


@given(st.binary(max_size=60), HEADERS)
def test_no_bytes_make_the_bridge_fail(value: bytes, headers: list[Any]) -> None:
    written(mapped("cloudevents", value, headers, topic="t"), value)
