"""Names and ids from elsewhere, and what a bridge writes for a record."""

from __future__ import annotations

from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from bridges.otlp import agent_span, as_json, record, written
from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.mapping import Fault, Mapped, Message, fault, outputs_of
from crl_stream.bridges.names import bounded, derived_id, mended, text_in
from crl_stream.core.identity import is_identifier
from crl_stream.wire import reasons
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.records import UnreadBatch
from crl_stream.wire.topics import DEAD_LETTERS

KEYS = {"url": "https://langfuse.example.org", "public_key": "pk", "secret_key": "sk"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Math Tutor", "Math-Tutor"),
        ("openai/gpt-4o", "openai-gpt-4o"),
        ("-a-", "-a-"),
        ("x" * 128, "x" * 128),
        ("x y" + "z" * 125, "x-y" + "z" * 125),
        ("x y" + "z" * 126, None),
        ("x" * 129, None),
        ("数", None),
        ("", None),
    ],
)
def test_a_name_is_kept_or_mended_or_refused_but_never_cut(text: str, name: str | None) -> None:
    assert mended(text) == name


@given(st.text(max_size=140))
def test_a_mended_name_is_one_that_the_log_allows(text: str) -> None:
    found = mended(text)
    assert found is None or is_identifier(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" v1 ", "v1"),
        ("  ", None),
        (12, "12"),
        (-(10**18) + 1, str(-(10**18) + 1)),
        (10**18, None),
        (-(10**18), None),
        (True, None),
        (1.0, None),
        (None, None),
        (["v1"], None),
    ],
)
def test_text_and_whole_numbers_are_text(value: Any, text: str | None) -> None:
    assert text_in(value) == text


def test_a_text_is_cut_where_a_field_ends_and_is_always_text_that_can_be_sent() -> None:
    assert (bounded("abcdef", 3), bounded("\ud800x", 2), bounded(" ", 3)) == ("abc", "?x", None)


def test_ids_stay_the_same_in_every_release_because_a_repetition_may_come_after_an_upgrade() -> None:
    assert derived_id("job", "a", 1) == "job-05a9c569a185ac60f5511f9760bc3f1a"
    assert derived_id("job", "a", 1) != derived_id("job", "a1")


def written_for(*messages: Any, faults: list[Fault] | None = None) -> Any:
    mapped = Mapped([Message(message) for message in messages], faults or [])
    return outputs_of("bridge", "topic", (5, 4), record(b"bytes"), mapped)


def test_a_number_that_json_cannot_express_costs_its_message_and_no_other() -> None:
    good, bad = an_invocation(quality=0.5), an_invocation(quality=float("nan"))
    outputs = written_for(bad, good)
    assert [output.topic == DEAD_LETTERS for output in outputs] == [False, True]
    letter = read_letter(outputs[1].headers)
    assert (letter.reason, letter.detail) == ("not_finite", "quality is not a finite number")
    assert outputs[1].value == b"bytes"
    assert outputs[1].partition == 1, "a letter of the fifth partition of another topic"


def test_a_letter_names_its_only_fault_and_counts_the_others() -> None:
    only = written_for(faults=[Fault("not_json", "wrong")])
    assert read_letter(only[0].headers).detail == "wrong"
    three = written_for(faults=[Fault("not_json", "wrong"), *fault("null_value", "nothing").faults * 2])
    assert read_letter(three[0].headers).detail == "wrong (and 2 more faults in this record)"
    assert written(Mapped([], []), b"") == []


def test_a_message_without_a_time_in_a_record_without_one_is_from_the_beginning_of_time() -> None:
    """Kafka gives the time -1 to a record without one."""
    score = b'{"id":"s","name":"helpful","value":1,"traceId":"i"}'
    event = b'{"specversion":"1.0","id":"e","source":"/s","type":"crl.Invocation.v1","subject":"a/t","data":%s}'
    for kind, value, options in (
        ("otlp", as_json([agent_span(1, start=0, end=0)]), {}),
        ("langfuse", score, {"evaluator": "helpful", "agent_name": "a", "task_type": "t"} | KEYS),
        ("cloudevents", event % b'{"variant_id":"v","status":"success"}', {"topic": "t"}),
    ):
        arrived = record(value, [("content-type", b"application/cloudevents+json")])
        arrived.timestamp = -1
        [message] = KINDS[kind].map(KINDS[kind].options.model_validate({"kind": kind} | options), arrived).messages
        assert message.message.timestamp == "1970-01-01T00:00:00.000Z", kind


@pytest.mark.parametrize(("kind", "options"), [("otlp", {}), ("cloudevents", {"topic": "t"})])
def test_a_batch_that_could_not_be_read_is_a_letter_that_says_why(kind: str, options: dict[str, Any]) -> None:
    batch = UnreadBatch(9, 1_000, b"{}", 5, 5, "zstd", reasons.BATCH_DAMAGED, "its checksum is wrong")
    found = KINDS[kind].map(KINDS[kind].options.model_validate({"kind": kind} | options), batch)
    assert found == fault(reasons.BATCH_DAMAGED, "its checksum is wrong")
