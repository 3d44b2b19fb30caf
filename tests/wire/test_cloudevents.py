"""Headers make a record a CloudEvent and pass on its trace, but no header is ever required."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import AGENT, AT, TASK, a_command, an_invocation
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.wire.cloudevents import HEADER_MEANING, MAX_BYTES, Envelope, event_headers, read_envelope
from crl_stream.wire.codec import Decoded, decode
from crl_stream.wire.topics import MESSAGES
from wire.messages import tries

KEY = f"{AGENT}/{TASK}".encode()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EXAMPLES = Path(__file__).resolve().parents[2] / "topics" / "examples"


def test_what_is_written_into_the_headers_is_read_back() -> None:
    outcome = an_invocation(invocation_id="inv-7", runtime_id="runtime-1")
    assert read_envelope(event_headers(outcome, KEY, traceparent=TRACE)) == Envelope(
        id="inv-7",
        source="/runtimes/runtime-1",
        type="crl.Invocation.v1",
        time=AT,
        subject=f"{AGENT}/{TASK}",
        traceparent=TRACE,
    )


def test_the_headers_are_those_of_the_binary_mode() -> None:
    headers = dict(event_headers(an_invocation(invocation_id="inv-7"), KEY))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"inv-7",
        "ce_source": b"/crl-stream",
        "ce_type": b"crl.Invocation.v1",
        "ce_time": AT.encode(),
        "ce_subject": KEY,
        "ce_partitionkey": KEY,
        "content-type": b"application/json",
    }
    assert headers.keys() < HEADER_MEANING.keys()


def test_a_message_for_every_task_has_no_subject() -> None:
    reference = m.CommandRef(schema_version=1, command_id="cmd-1", partition=0, offset=0, sha256="0" * 64)
    envelope = read_envelope(event_headers(reference, b"!policy"))
    assert (envelope.id, envelope.subject, envelope.time) == ("cmd-1", None, None)


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.json")), ids=lambda path: path.stem)
def test_every_message_of_the_topics_has_what_a_cloudevent_must_have(path: Path) -> None:
    topic = path.parent.name
    for kind in MESSAGES[topic]:
        found = decode(topic, path.read_bytes(), KEY)
        if isinstance(found, Decoded) and type(found.message) is kind:
            headers = dict(event_headers(found.message, KEY))
            assert {"ce_specversion", "ce_id", "ce_source", "ce_type"} <= headers.keys()
            assert headers["ce_type"] == f"crl.{kind.__name__}.v1".encode()


def test_the_sender_may_say_who_it_is() -> None:
    assert read_envelope(event_headers(a_command(m.HoldTask), KEY, source="/operators/ada")).source == "/operators/ada"


@pytest.mark.parametrize(
    "trace",
    [
        "",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "ff" + TRACE[2:],
        TRACE.upper(),
        TRACE + "\n",
        TRACE[:-1],
        "traceparent",
    ],
)
def test_a_trace_that_is_none_is_neither_written_nor_read(trace: str) -> None:
    assert "traceparent" not in dict(event_headers(an_invocation(), KEY, traceparent=trace))
    assert read_envelope((("traceparent", trace.encode()),)).traceparent is None


def test_the_first_of_a_repeated_header_counts() -> None:
    assert read_envelope((("ce_id", b"one"), ("ce_id", b"two"))).id == "one"


@pytest.mark.parametrize("value", [b"x" * (MAX_BYTES + 1), b"\x1b[2J", b"a\nb"])
def test_a_header_that_is_too_long_or_that_a_terminal_would_obey_is_absent(value: bytes) -> None:
    assert read_envelope((("ce_id", value), ("ce_source", b"/here"))) == Envelope(None, "/here", None, None, None, None)


@tries(100)
@given(st.lists(st.tuples(st.sampled_from([*HEADER_MEANING, "x"]), st.binary(max_size=60)), max_size=9))
def test_no_headers_make_reading_them_raise(headers: list[tuple[str, bytes]]) -> None:
    assert all(text is None or text.isprintable() for text in read_envelope(headers))
