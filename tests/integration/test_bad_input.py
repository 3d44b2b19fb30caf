"""Every class of bad input, end to end: the original bytes and the reason are kept, and other records are applied."""

from __future__ import annotations

import json

import pytest
from builders import AGENT, AT, TASK, an_invocation
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS, POLICY_KEY

pytestmark = pytest.mark.integration

KEY = f"{AGENT}/{TASK}".encode()
GOOD = json.loads(encode(an_invocation()))


def but(**fields: object) -> bytes:
    """Return a good invocation with some fields changed."""
    return json.dumps(GOOD | fields).encode()


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in GOOD.items() if k != name}).encode()


BAD: list[tuple[str, bytes | None, bytes | None, str]] = [
    ("bad UTF-8", b'{"agent_name": "\xff\xfe"}', KEY, reasons.NOT_UTF8),
    ("bad JSON", b'{"schema_version": 1,', KEY, reasons.NOT_JSON),
    ("NaN", but().replace(b'"success"', b'"success", "reward": NaN'), KEY, reasons.NOT_FINITE),
    ("Infinity", but().replace(b'"success"', b'"success", "reward": -Infinity'), KEY, reasons.NOT_FINITE),
    ("too large for a double", but().replace(b'"success"', b'"success", "reward": 1e999'), KEY, reasons.NOT_FINITE),
    ("duplicate keys", but().replace(b'"success"', b'"success", "status": "failure"'), KEY, reasons.DUPLICATE_KEY),
    ("bool for int", but(error_count=True), KEY, reasons.WRONG_TYPE),
    ("string for number", but(reward="0.5"), KEY, reasons.WRONG_TYPE),
    ("number for string", but(variant_id=7), KEY, reasons.WRONG_TYPE),
    ("reward out of range", but(reward=1.5), KEY, reasons.OUT_OF_RANGE),
    ("unknown status", but(status="great"), KEY, reasons.OUT_OF_RANGE),
    ("too deep", but(more=json.loads("[" * 40 + "]" * 40)), KEY, reasons.TOO_DEEP),
    ("oversize", but(model="m" * 70_000), KEY, reasons.OVERSIZE),
    ("unknown version", but(schema_version=2), KEY, reasons.UNKNOWN_VERSION),
    ("missing field", without("variant_id"), KEY, reasons.MISSING_FIELD),
    ("ill-formed identifier", but(variant_id="openai/gpt-4o"), KEY, reasons.BAD_IDENTIFIER),
    ("bad timestamp", but(timestamp="yesterday"), KEY, reasons.BAD_TIMESTAMP),
    ("not an object", b"[1, 2]", KEY, reasons.NOT_AN_OBJECT),
    ("unknown type", but(type="surprise"), KEY, reasons.UNKNOWN_TYPE),
    ("null value", None, KEY, reasons.NULL_VALUE),
    ("null key", but(), None, reasons.NULL_KEY),
    ("another task's key", but(), b"somebody/else", reasons.KEY_MISMATCH),
    ("a partition row's key", but(), b"!partition/0", reasons.KEY_MISMATCH),
]


async def test_bad_records_of_the_log_become_dead_letters_and_their_neighbours_are_applied(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    sent = {}
    for number, (name, value, key, reason) in enumerate(BAD):
        await installation.publish(an_invocation(invocation_id=f"before-{number}"))
        # A record without a usable key has no home partition, so it may be anywhere.
        placed = await installation.send(value, key, partition=number % 4 if key != KEY else None)
        sent[placed.partition, placed.offset] = (name, value, key, reason)
    await installation.publish(an_invocation(invocation_id="after"))
    await installation.settled()
    found = {}
    for received in await installation.records(DEAD_LETTERS):
        record, letter = received.record, read_letter(received.record.headers)
        assert (letter.topic, record.partition) == (INVOCATIONS, letter.partition)
        assert letter.detail
        found[letter.partition, letter.offset] = (record.value, record.key, letter.reason)
    assert {place: (value, key, reason) for place, (_, value, key, reason) in sent.items()} == found
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert page["n_outcomes"] == len(BAD) + 1
    await assert_topics_equal_the_fold(installation)
    code, out, err = await installation.run_crl("dead-letters", "list", "--json")
    assert code == 0, err
    assert len(json.loads(out)["dead_letters"]) == len(BAD)
    place, (_, value, _, reason) = next(iter(sent.items()))
    code, out, err = await installation.run_crl("dead-letters", "show", f"{place[0]}:{place[1]}", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert (bytes.fromhex(shown["value_hex"]), shown["reason"]) == (value, reason)


async def test_bad_commands_become_dead_letters_and_forged_references_order_nothing(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    await installation.publish(an_invocation("default"), an_invocation("other"))
    await installation.send(b"not json", KEY, COMMANDS)
    await installation.send(b'{"type":"SetPolicy"}', POLICY_KEY, COMMANDS)
    forged = m.CommandRef(
        schema_version=1,
        command_id="forged",
        partition=0,
        offset=99,
        sha256="0" * 64,
        agent_name=AGENT,
        task_type=TASK,
    )
    await installation.send(encode(forged), KEY)
    await installation.settled()
    letters = [read_letter(r.record.headers) for r in await installation.records(DEAD_LETTERS)]
    assert sorted((letter.topic, letter.reason) for letter in letters) == [
        (COMMANDS, reasons.MISSING_FIELD),
        (COMMANDS, reasons.NOT_JSON),
        (INVOCATIONS, reasons.COMMAND_MISSING),
    ]
    _, page = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    assert (page["active_variant"], page["epoch"]) == ("default", 1)
    await assert_topics_equal_the_fold(installation)


async def test_a_bad_timestamp_of_the_payload_is_shown_and_decides_nothing(installation: Installation) -> None:
    await installation.worker()
    await installation.publish(an_invocation(timestamp=AT), an_invocation(timestamp="2099-01-01T00:00:00Z"))
    await installation.settled()
    await assert_topics_equal_the_fold(installation)
