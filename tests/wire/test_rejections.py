"""Every fault that a record can have is found and gets the right reason."""

from __future__ import annotations

import json
import re

import pytest

from campaign.malformed import FEEDBACK, INPUTS, KEY, ORDERS, changed, nested, outcome, padded, policy, with_text
from crl_stream.wire import reasons
from crl_stream.wire.codec import Decoded, Rejected, decode
from crl_stream.wire.complaints import MAX_DETAIL
from crl_stream.wire.strict_json import MAX_BYTES, MAX_DEPTH
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DEAD_LETTERS, INVOCATIONS, POLICY_KEY, TASKS

GIVEN_BY_OTHERS = {
    reasons.COMMAND_MISSING,
    reasons.COMMAND_MISMATCH,
    reasons.MISPLACED_TWICE,
    reasons.FORWARDED_BEFORE,
    reasons.VARIANT_LIMIT,
    reasons.BATCH_TOO_LARGE,
    reasons.BATCH_DAMAGED,
    reasons.FOLD_FAILURE,
    reasons.REFUSED,
    reasons.NOT_OTLP,
    reasons.NOT_A_CLOUDEVENT,
}
"""Reasons that ``decode`` never gives; they come from reading batches, from the stages or from bridges."""
PYTHON = re.compile(r"`|\b(?:str|int|float|bool|Expected|Struct|NoneType)\b")
"""Words that only Python programmers would know."""


def assert_rejected(topic: str, value: bytes | None, key: bytes | None, reason: str) -> None:
    found = decode(topic, value, key)
    assert isinstance(found, Rejected), found
    assert found.reason == reason, found
    assert 0 < len(found.detail) <= MAX_DETAIL
    assert found.detail.isprintable()
    assert not PYTHON.search(found.detail)


@pytest.mark.parametrize(("reason", "value"), [case[1:] for case in INPUTS], ids=[case[0] for case in INPUTS])
def test_a_bad_record_of_the_log_is_rejected_for_what_is_wrong_with_it(reason: str, value: bytes | None) -> None:
    assert_rejected(INVOCATIONS, value, KEY, reason)


@pytest.mark.parametrize(("reason", "value", "key"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS])
def test_a_bad_command_is_rejected_for_what_is_wrong_with_it(reason: str, value: bytes | None, key: bytes) -> None:
    assert_rejected(COMMANDS, value, key, reason)


def test_every_reason_that_the_codec_can_give_is_reached_here() -> None:
    reached = {case[1] for case in INPUTS} | {case[1] for case in ORDERS} | {reasons.NULL_KEY}
    assert reached == reasons.MEANING.keys() - GIVEN_BY_OTHERS


def test_every_reason_has_a_meaning() -> None:
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert words == reasons.MEANING.keys()


@pytest.mark.parametrize("key", [None, b"", b"/", KEY + b"\n", KEY.upper(), b"\xff" * 10_000, POLICY_KEY])
def test_an_outcome_is_read_under_the_key_of_its_task_and_no_other(key: bytes | None) -> None:
    assert_rejected(INVOCATIONS, outcome(), key, reasons.NULL_KEY if key is None else reasons.KEY_MISMATCH)


@pytest.mark.parametrize(
    ("topic", "value", "reason"),
    [
        (ACTIVE_VARIANTS, None, reasons.NULL_VALUE),
        (ACTIVE_VARIANTS, b"{}", reasons.MISSING_FIELD),
        (ACTIVE_VARIANTS, b"[]", reasons.WRONG_TYPE),
        (TASKS, b"{", reasons.NOT_JSON),
        (TASKS, b'{"a":' * 100_000, reasons.NOT_JSON),
        (DEAD_LETTERS, b"{}", reasons.UNKNOWN_TYPE),
        ("somebody.elses", b"{}", reasons.UNKNOWN_TYPE),
    ],
)
def test_what_is_no_message_of_ours_is_rejected_on_the_topics_that_we_write(
    topic: str, value: bytes | None, reason: str
) -> None:
    found = decode(topic, value, KEY)
    assert isinstance(found, Rejected)
    assert found.reason == reason


@pytest.mark.parametrize(
    "value",
    [
        padded(MAX_BYTES),
        nested(MAX_DEPTH),
        outcome(extra={"a": [1, {"b": None}]}),
        outcome(reward=None, quality=None, model=None),
        outcome(reward=1, quality=0),
        outcome(error_count=1_000_000, active_epoch=2**63 - 1),
        outcome(invocation_id="x" * 128, variant_id="A-z.0_9:"),
        outcome(timestamp="2024-02-29T23:59:59.123456789Z"),
        outcome(model="{[,,,{[" * 20),
        outcome(model='"},{"status":"failure"'),
        b"\n\t " + outcome() + b"\r\n",
        with_text("1e-400"),
        with_text("-0.0"),
        outcome(provider="\U0001f600 caf\u00e9"),
    ],
)
def test_the_widest_that_is_allowed_is_allowed(value: bytes) -> None:
    assert isinstance(decode(INVOCATIONS, value, KEY), Decoded)


def test_a_detail_repeats_nothing_that_a_terminal_would_obey() -> None:
    evil = "\x1b[2J\u202e\r\n" * 100
    for value in (
        outcome(variant_id=evil),
        changed(FEEDBACK, type=evil),
        outcome(agent_name=evil),
        b'{"' + b"\x1b" * 9,
    ):
        assert_rejected(INVOCATIONS, value, KEY, decode(INVOCATIONS, value, KEY).reason)  # type: ignore[union-attr]
    twice = b'{"' + json.dumps(evil)[1:-1].encode() + b'":1,"' + json.dumps(evil)[1:-1].encode() + b'":1}'
    assert_rejected(INVOCATIONS, twice, evil.encode(), reasons.DUPLICATE_KEY)
    assert_rejected(COMMANDS, policy(policy={evil: 1}), POLICY_KEY, reasons.UNKNOWN_FIELD)
    assert_rejected(INVOCATIONS, outcome(), evil.encode(), reasons.KEY_MISMATCH)
