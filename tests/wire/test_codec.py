"""The codec accepts any bytes, reads back what it wrote, and gives the same result on its fast and slow paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.wire import codec, reasons, runtime_codec
from crl_stream.wire.codec import MAX_REMEMBERED, Decoded, Rejected, decode, decode_logged, encode
from crl_stream.wire.complaints import MAX_DETAIL
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS, MESSAGES, TOPIC_OF, VARIANTS
from wire import messages
from wire.messages import tries

topics = st.sampled_from([*MESSAGES, "somebody.elses"])
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = [
    (path.parent.name, path.read_bytes())
    for path in sorted((ROOT / "topics" / "examples").rglob("*.json"))
    if MESSAGES[path.parent.name]
]


def assert_sound(found: Decoded | Rejected) -> None:
    if isinstance(found, Rejected):
        assert found.reason in reasons.MEANING
        assert found.detail
        assert len(found.detail) <= MAX_DETAIL
        assert found.detail.isprintable()
    else:
        assert isinstance(found, Decoded)


@tries(100)
@given(topics, st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=20))
def test_no_bytes_make_decoding_raise(topic: str, value: bytes | None, key: bytes | None) -> None:
    assert_sound(decode(topic, value, key))


@tries(100)
@given(topics, messages.values, st.none() | st.binary(max_size=20))
def test_no_json_makes_decoding_raise(topic: str, value: Any, key: bytes | None) -> None:
    assert_sound(decode(topic, codec.encode(value) if finite(value) else repr(value).encode(), key))


@pytest.mark.parametrize(
    ("time", "good"),
    [
        ("2016-12-31T23:59:60Z", True),
        ("2016-12-31T23:59:60.5Z", True),
        ("9999-12-31T23:59:60Z", True),
        ("2016-12-31T23:59:61Z", False),
        ("2016-12-31T22:59:60Z", False),
        ("2016-12-31T23:58:60Z", False),
        ("2016-02-30T23:59:60Z", False),
        ("2016-12-31T23:59:60+00:00", False),
    ],
)
def test_a_leap_second_is_a_timestamp_and_no_other_sixtieth_second(time: str, *, good: bool) -> None:
    for _ in range(2):  # the second time, the names are known and the fast path is used
        found = decode_logged(encode(an_invocation(timestamp=time)), messages.key_of(an_invocation()))
        if good:
            assert found.timestamp == time
        else:
            assert found.reason == reasons.BAD_TIMESTAMP


def finite(value: Any) -> bool:
    """Return whether a strict encoder can write the value as JSON."""
    try:
        encode(value)
    except (OverflowError, UnicodeEncodeError, ValueError):
        return False
    return True


@tries(300)
@given(st.data())
def test_no_change_of_a_valid_message_makes_decoding_raise(data: st.DataObject) -> None:
    message = data.draw(messages.inputs)
    value = data.draw(messages.mutated(message))
    assert_sound(decode(TOPIC_OF[type(message)], value, messages.key_of(message)))


@tries(100)
@given(st.sampled_from(GOLDEN), st.data())
def test_no_change_of_a_published_message_makes_reading_it_raise(
    golden: tuple[str, bytes], data: st.DataObject
) -> None:
    topic, text = golden
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    assert_sound(decode(topic, text[:start] + data.draw(st.binary(max_size=6)) + text[end:], b"a/b"))


@tries(300)
@given(messages.inputs)
def test_a_valid_message_is_read_back_as_it_was_written(message: Any) -> None:
    value = encode(message)
    assert decode(TOPIC_OF[type(message)], value, messages.key_of(message)) == Decoded(message)
    assert encode(message) == value


@tries(600)
@given(st.data())
def test_the_short_way_and_the_long_way_agree_on_every_invocation(data: st.DataObject) -> None:
    message = data.draw(messages.invocations)
    key = messages.key_of(message)
    # What the fast path learns from one record must not change its result for the next.
    for value in (encode(message), data.draw(messages.mutated(message)), encode(message)):
        assert decode_logged(value, key) == codec._read_input(INVOCATIONS, value, key)


@tries(300)
@given(st.data())
def test_a_client_reads_what_it_writes_as_the_monitor_reads_it(data: st.DataObject) -> None:
    message = data.draw(st.one_of(messages.invocations, messages.feedback))
    key = data.draw(st.sampled_from([messages.key_of(message), b"another/key"]))
    for value in (encode(message), data.draw(messages.mutated(message))):
        monitors = decode_logged(value, key)
        clients = runtime_codec.decode_outcome(value, key)
        assert clients == monitors or b'"command_ref"' in value or b'"tick"' in value


@tries(200)
@given(st.sampled_from([golden for golden in GOLDEN if golden[0] in {ACTIVE_VARIANTS, VARIANTS}]), st.data())
def test_a_client_reads_which_variant_to_use_as_all_others_do(golden: tuple[str, bytes], data: st.DataObject) -> None:
    topic, text = golden
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    for value in (text, text[:start] + data.draw(st.binary(max_size=6)) + text[end:], None):
        assert runtime_codec.decode_variants(topic, value) == decode(topic, value, b"a/b")


@pytest.mark.parametrize(
    "change",
    [
        {"agent_name": "other"},
        {"variant_id": "a b"},
        {"runtime_id": "a b"},
        {"invocation_id": "a b"},
        {"timestamp": "2025-11-19T14:30:61Z"},
        {"timestamp": "2025-11-19T14:61:00Z"},
        {"timestamp": "2025-11-19T14:30:00"},
        {"timestamp": "2025-11-19T14:30:00Z\n"},
    ],
)
def test_a_name_met_before_excuses_nothing(change: dict[str, str]) -> None:
    good = an_invocation(runtime_id="runtime-1")
    key = messages.key_of(good)
    for _ in range(2):
        assert isinstance(decode(INVOCATIONS, encode(good), key), Decoded)
        bad = encode(an_invocation(**({"runtime_id": "runtime-1"} | change)))
        assert isinstance(decode(INVOCATIONS, bad, key), Rejected)


def test_a_rejected_invocation_teaches_nothing() -> None:
    outcome = an_invocation(variant_id="never-seen-before", agent_name="stranger")
    before = len(runtime_codec._names), len(runtime_codec._tasks)
    assert isinstance(decode(INVOCATIONS, encode(outcome), b"another/key"), Rejected)
    assert (len(runtime_codec._names), len(runtime_codec._tasks)) == before


def test_what_is_remembered_of_strangers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_REMEMBERED < 2**20
    monkeypatch.setattr(runtime_codec, "MAX_REMEMBERED", 8)
    for number in range(40):
        outcome = an_invocation(f"v{number}", task_type=f"t{number}", runtime_id=f"r{number}")
        assert decode(INVOCATIONS, encode(outcome), messages.key_of(outcome)) == Decoded(outcome)
    assert max(map(len, (runtime_codec._names, runtime_codec._tasks, runtime_codec._minutes))) <= 9
