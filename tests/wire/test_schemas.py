"""Schema and codec agree about every value, as far as a schema can decide."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from campaign.malformed import INPUTS, KEY, ORDERS
from crl_stream.contract import contract_root
from crl_stream.wire import reasons
from crl_stream.wire.codec import Decoded, Rejected, decode, encode
from crl_stream.wire.schemas import schema_name
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, MESSAGES, TOPIC_OF
from wire import messages
from wire.messages import tries

OF_THE_TEXT = {
    reasons.NULL_VALUE,
    reasons.OVERSIZE,
    reasons.NOT_UTF8,
    reasons.NOT_JSON,
    reasons.NOT_FINITE,
    reasons.DUPLICATE_KEY,
    reasons.TOO_DEEP,
}
"""Reasons that concern the text itself, which a schema cannot see: it checks only the parsed value."""
CASES = [(name, reason, INVOCATIONS, value, KEY) for name, reason, value in INPUTS]
CASES += [(f"{name} in a command", reason, COMMANDS, value, key) for name, reason, value, key in ORDERS]
OF_FIELDS = [case for case in CASES if case[1] not in OF_THE_TEXT and case[1] != reasons.KEY_MISMATCH]
NOT_IN_THE_CALENDAR = {
    "the thirtieth of February",
    "the 29th of February in a year that is not a leap year",
    "a thirteenth month",
    "the year zero",
    "the hour 24",
    "the minute 60",
    "the second 60",
    "an expiry on a date that does not exist in a command",
}
"""Cases with dates and times that a pattern cannot rule out."""


@cache
def validator(topic: str, kind: type) -> Draft202012Validator:
    text = (contract_root() / "schemas" / schema_name(topic, kind)).read_text(encoding="utf-8")
    # Python's `$` also matches before a final line feed; in the schemas' own dialect it does not.
    return Draft202012Validator(json.loads(text.replace('$"', '(?![\\\\s\\\\S])"')))


def fitting(topic: str, fields: Any) -> list[type]:
    """Return the topic's messages whose schema allows ``fields``."""
    return [kind for kind in MESSAGES[topic] if validator(topic, kind).is_valid(fields)]


def beyond_schemas(found: Rejected) -> bool:
    """Return whether only the codec can find the fault: in a date, the record's key, or how a number is written."""
    return found.reason in {reasons.BAD_TIMESTAMP, reasons.KEY_MISMATCH} or "an exponent" in found.detail


@tries(200)
@given(messages.inputs)
def test_a_valid_message_fits_its_own_schema_and_no_other_of_its_topic(message: Any) -> None:
    topic = TOPIC_OF[type(message)]
    assert fitting(topic, json.loads(encode(message))) == [type(message)]


@tries(400)
@given(st.data())
def test_schema_and_codec_agree_on_values_near_the_valid_ones(data: st.DataObject) -> None:
    message = data.draw(messages.inputs)
    topic = TOPIC_OF[type(message)]
    value = data.draw(messages.with_other_fields(message))
    found = decode(topic, value, messages.key_of(message))
    if isinstance(found, Decoded):
        assert fitting(topic, json.loads(value)) == [type(found.message)]
    elif found.reason not in OF_THE_TEXT and not beyond_schemas(found):
        assert fitting(topic, json.loads(value)) == [], found


@pytest.mark.parametrize(
    ("name", "topic", "value"), [(case[0], *case[2:4]) for case in OF_FIELDS], ids=[case[0] for case in OF_FIELDS]
)
def test_what_the_codec_rejects_for_a_field_no_schema_allows(name: str, topic: str, value: bytes) -> None:
    assert bool(fitting(topic, json.loads(value))) == (name in NOT_IN_THE_CALENDAR)


def test_every_exception_for_dates_names_a_case() -> None:
    assert {case[0] for case in OF_FIELDS} >= NOT_IN_THE_CALENDAR


def test_a_schema_lets_a_reader_ignore_what_it_does_not_know() -> None:
    for path in sorted((contract_root() / "examples").rglob("*.json")):
        topic = path.parent.name
        fields = json.loads(path.read_bytes())
        if MESSAGES[topic]:
            known = fitting(topic, fields)
            assert known
            assert fitting(topic, fields | {"a_field_of_next_year": {"x": [1]}}) == known
