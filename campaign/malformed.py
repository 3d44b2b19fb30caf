"""Malformed records for the log and for the commands: each has one error, and the reason for which it is rejected."""

from __future__ import annotations

import json
from typing import Any, Final

from crl_stream.core import messages as m
from crl_stream.core.policy import PolicySet
from crl_stream.wire import reasons
from crl_stream.wire.codec import encode
from crl_stream.wire.strict_json import MAX_BYTES, MAX_DEPTH
from crl_stream.wire.topics import POLICY_KEY

AGENT, TASK = "backend-architect", "api-design"
KEY: Final = f"{AGENT}/{TASK}".encode()
DROP: Final = object()
"""Placeholder for a field's value that leaves the field out."""
AT: Final = "2025-11-19T14:30:00Z"
OUTCOME: Final[dict[str, Any]] = {
    "schema_version": 1,
    "invocation_id": "inv-1",
    "timestamp": AT,
    "agent_name": AGENT,
    "task_type": TASK,
    "variant_id": "default",
    "status": "success",
}
FEEDBACK: Final[dict[str, Any]] = {
    "type": "feedback",
    "schema_version": 1,
    "feedback_id": "fb-1",
    "timestamp": AT,
    "agent_name": AGENT,
    "task_type": TASK,
    "invocation_id": "inv-1",
    "quality": 0.5,
}
REFERENCE: Final[dict[str, Any]] = {
    "type": "command_ref",
    "schema_version": 1,
    "command_id": "cmd-1",
    "partition": 0,
    "offset": 7,
    "sha256": "0" * 64,
    "agent_name": AGENT,
    "task_type": TASK,
}


def changed(fields: dict[str, Any], **changes: Any) -> bytes:
    """Return a message's JSON with some fields changed, added or dropped."""
    return json.dumps({name: value for name, value in (fields | changes).items() if value is not DROP}).encode()


def outcome(**changes: Any) -> bytes:
    """Return an invocation with some fields changed."""
    return changed(OUTCOME, **changes)


def with_text(text: str) -> bytes:
    """Return an invocation whose quality is spelled ``text``, which need not be JSON."""
    return outcome(quality="@").replace(b'"@"', text.encode())


def _command(kind: type, **fields: Any) -> bytes:
    given: dict[str, Any] = {
        "schema_version": 1,
        "command_id": "cmd-1",
        "timestamp": AT,
        "actor": "ada",
        "reason": "it is asked for",
    }
    return encode(kind(**(given | fields)))


def order(kind: Any = m.HoldTask, **changes: Any) -> bytes:
    """Return a command for a task with some fields changed."""
    needed: dict[Any, dict[str, str]] = {
        m.ActivateVariant: {"variant_id": "v"},
        m.ConfirmRollback: {"rollback_id": "rb-1"},
    }
    fields = needed.get(kind, {}) | {"agent_name": AGENT, "task_type": TASK}
    return changed(json.loads(_command(kind, **fields)), **changes)


def policy(**changes: Any) -> bytes:
    """Return a policy with some fields changed."""
    policies = PolicySet()
    return changed(json.loads(_command(m.SetPolicy, policy=policies, policy_hash=policies.digest())), **changes)


def nested(depth: int) -> bytes:
    """Return an invocation with an unknown field in which objects are nested ``depth`` deep."""
    return outcome(extra="@").replace(b'"@"', b'{"a":' * (depth - 1) + b"1" + b"}" * (depth - 1))


def padded(size: int) -> bytes:
    """Return an invocation of exactly this many bytes."""
    value = outcome()
    return value + b" " * (size - len(value))


INPUTS: Final[list[tuple[str, str, bytes | None]]] = [
    ("no value", reasons.NULL_VALUE, None),
    ("one byte too many", reasons.OVERSIZE, padded(MAX_BYTES + 1)),
    ("a string that never ends", reasons.OVERSIZE, b'"' * (MAX_BYTES + 1)),
    ("half a character", reasons.NOT_UTF8, with_text('"\u00e9"').replace("\u00e9".encode(), b"\xc3")),
    ("Latin-1", reasons.NOT_UTF8, outcome(provider="@").replace(b"@", b"caf\xe9")),
    ("UTF-16", reasons.NOT_UTF8, outcome().decode().encode("utf-16")),
    ("a surrogate in UTF-8", reasons.NOT_UTF8, outcome(provider="@").replace(b"@", b"\xed\xa0\x80")),
    ("nothing", reasons.NOT_JSON, b""),
    ("only space", reasons.NOT_JSON, b"  \n"),
    ("words", reasons.NOT_JSON, b"status=success"),
    ("an object cut short", reasons.NOT_JSON, outcome()[:-1]),
    ("something after the object", reasons.NOT_JSON, outcome() + b"x"),
    ("two objects", reasons.NOT_JSON, outcome() + outcome()),
    ("a comma too many", reasons.NOT_JSON, outcome()[:-1] + b",}"),
    ("single quotation marks", reasons.NOT_JSON, outcome().replace(b'"', b"'")),
    ("a comment", reasons.NOT_JSON, outcome() + b"// done"),
    ("half a surrogate pair", reasons.NOT_JSON, with_text('"\\ud800"')),
    ("a leading zero", reasons.NOT_JSON, with_text("01")),
    ("a byte order mark", reasons.NOT_JSON, b"\xef\xbb\xbf" + outcome()),
    ("a raw line feed in a string", reasons.NOT_JSON, outcome(provider="@").replace(b"@", b"a\nb")),
    ("NaN", reasons.NOT_FINITE, with_text("NaN")),
    ("Infinity", reasons.NOT_FINITE, with_text("Infinity")),
    ("minus Infinity", reasons.NOT_FINITE, with_text("-Infinity")),
    ("1e999", reasons.NOT_FINITE, with_text("1e999")),
    ("1e999 in an unknown field", reasons.NOT_FINITE, outcome(extra="@").replace(b'"@"', b"[-1e999]")),
    ("a whole number too large for a double", reasons.NOT_FINITE, with_text("9" * 400)),
    ("a field twice", reasons.DUPLICATE_KEY, outcome()[:-1] + b',"status":"failure"}'),
    ("the same field twice with one value", reasons.DUPLICATE_KEY, outcome()[:-1] + b',"status":"success"}'),
    ("a field twice, once escaped", reasons.DUPLICATE_KEY, outcome()[:-1] + b',"st\\u0061tus":"failure"}'),
    ("an unknown field twice", reasons.DUPLICATE_KEY, outcome()[:-1] + b',"x":1,"x":2}'),
    ("a deeply nested field twice", reasons.DUPLICATE_KEY, outcome()[:-1] + b',"x":[{"y":1,"y":2}]}'),
    (
        "the same field twice, after a string that contains commas",
        reasons.DUPLICATE_KEY,
        outcome(model=",,")[:-1] + b',"status":"error"}',
    ),
    ("objects nested one level too deep", reasons.TOO_DEEP, nested(MAX_DEPTH + 1)),
    ("thousands of open brackets", reasons.TOO_DEEP, b"[" * 60_000),
    ("thousands of open braces", reasons.TOO_DEEP, b'{"a":' * 10_000),
    ("an array", reasons.NOT_AN_OBJECT, b"[]"),
    ("an array of invocations", reasons.NOT_AN_OBJECT, b"[" + outcome() + b"]"),
    ("a string", reasons.NOT_AN_OBJECT, b'"success"'),
    ("a number", reasons.NOT_AN_OBJECT, b"1"),
    ("true", reasons.NOT_AN_OBJECT, b"true"),
    ("null", reasons.NOT_AN_OBJECT, b"null"),
    ("an unknown type", reasons.UNKNOWN_TYPE, outcome(type="outcome")),
    ("a type spelled with a capital", reasons.UNKNOWN_TYPE, changed(FEEDBACK, type="Feedback")),
    ("a command without its reference", reasons.UNKNOWN_TYPE, order()),
    ("an invocation with an explicit type", reasons.UNKNOWN_TYPE, outcome(type="invocation")),
    ("a type that is null", reasons.UNKNOWN_TYPE, outcome(type=None)),
    ("a type that is a list", reasons.UNKNOWN_TYPE, outcome(type=["feedback"])),
    ("the next version", reasons.UNKNOWN_VERSION, outcome(schema_version=2)),
    ("version zero", reasons.UNKNOWN_VERSION, outcome(schema_version=0)),
    ("a version beyond 64 bits", reasons.UNKNOWN_VERSION, outcome(schema_version=2**64 - 1)),
    ("an invocation of the next version with other fields", reasons.UNKNOWN_VERSION, b'{"schema_version":2,"v":1}'),
    ("feedback of the next version", reasons.UNKNOWN_VERSION, changed(FEEDBACK, schema_version=2)),
    ("an empty object", reasons.MISSING_FIELD, b"{}"),
    ("no version", reasons.MISSING_FIELD, outcome(schema_version=DROP)),
    ("no id", reasons.MISSING_FIELD, outcome(invocation_id=DROP)),
    ("no timestamp", reasons.MISSING_FIELD, outcome(timestamp=DROP)),
    ("no agent", reasons.MISSING_FIELD, outcome(agent_name=DROP)),
    ("no task", reasons.MISSING_FIELD, outcome(task_type=DROP)),
    ("no variant", reasons.MISSING_FIELD, outcome(variant_id=DROP)),
    ("no status", reasons.MISSING_FIELD, outcome(status=DROP)),
    ("feedback that judges nothing", reasons.MISSING_FIELD, changed(FEEDBACK, quality=DROP)),
    ("feedback that judges null", reasons.MISSING_FIELD, changed(FEEDBACK, quality=None)),
    ("half a task", reasons.MISSING_FIELD, changed(REFERENCE, task_type=DROP)),
    ("true for a whole number", reasons.WRONG_TYPE, outcome(error_count=True)),
    ("true for a version", reasons.WRONG_TYPE, outcome(schema_version=True)),
    ("true for a number", reasons.WRONG_TYPE, outcome(reward=True)),
    ("a string for a number", reasons.WRONG_TYPE, outcome(reward="1")),
    ("a number for a string", reasons.WRONG_TYPE, outcome(variant_id=1)),
    ("null for a string", reasons.WRONG_TYPE, outcome(variant_id=None)),
    ("null for a count", reasons.WRONG_TYPE, outcome(error_count=None)),
    ("a fraction for a whole number", reasons.WRONG_TYPE, outcome(error_count=1.5)),
    ("a list for a string", reasons.WRONG_TYPE, outcome(status=["success"])),
    ("an object for a string", reasons.WRONG_TYPE, outcome(timestamp={})),
    ("a number for a timestamp", reasons.WRONG_TYPE, outcome(timestamp=1763562600)),
    ("a version in a string", reasons.WRONG_TYPE, outcome(schema_version="1")),
    ("a reward above one", reasons.OUT_OF_RANGE, outcome(reward=1.01)),
    ("a reward below minus one", reasons.OUT_OF_RANGE, outcome(reward=-1.01)),
    ("a negative quality", reasons.OUT_OF_RANGE, outcome(quality=-0.1)),
    ("a quality above one", reasons.OUT_OF_RANGE, outcome(quality=2)),
    ("a negative count", reasons.OUT_OF_RANGE, outcome(error_count=-1)),
    ("a million and one errors", reasons.OUT_OF_RANGE, outcome(error_count=1_000_001)),
    ("a negative duration", reasons.OUT_OF_RANGE, outcome(duration_seconds=-1)),
    ("a duration of centuries", reasons.OUT_OF_RANGE, outcome(duration_seconds=1e10)),
    ("a negative epoch", reasons.OUT_OF_RANGE, outcome(active_epoch=-1)),
    ("an epoch beyond 63 bits", reasons.OUT_OF_RANGE, outcome(active_epoch=2**63)),
    ("an epoch beyond 64 bits", reasons.OUT_OF_RANGE, outcome(active_epoch=2**64)),
    ("an unknown status", reasons.OUT_OF_RANGE, outcome(status="ok")),
    ("a status in capitals", reasons.OUT_OF_RANGE, outcome(status="SUCCESS")),
    ("an unknown complexity", reasons.OUT_OF_RANGE, outcome(complexity="extreme")),
    ("an unknown source", reasons.OUT_OF_RANGE, outcome(variant_source="")),
    ("an unknown role", reasons.OUT_OF_RANGE, outcome(role="canary")),
    ("a text that is too long", reasons.OUT_OF_RANGE, outcome(model="x" * 2_001)),
    ("a short hash", reasons.OUT_OF_RANGE, changed(REFERENCE, sha256="0" * 63)),
    ("a hash in capitals", reasons.OUT_OF_RANGE, changed(REFERENCE, sha256="A" * 64)),
    ("a hash with a line feed", reasons.OUT_OF_RANGE, changed(REFERENCE, sha256="0" * 64 + "\n")),
    ("a negative partition", reasons.OUT_OF_RANGE, changed(REFERENCE, partition=-1)),
    ("a slash in a name", reasons.BAD_IDENTIFIER, outcome(variant_id="openai/gpt-4o")),
    ("an empty name", reasons.BAD_IDENTIFIER, outcome(agent_name="")),
    ("a space in a name", reasons.BAD_IDENTIFIER, outcome(task_type="api design")),
    ("a line feed after a name", reasons.BAD_IDENTIFIER, outcome(variant_id="default\n")),
    ("a letter that is not ASCII", reasons.BAD_IDENTIFIER, outcome(variant_id="d\u00e9faut")),
    ("a digit that is not ASCII", reasons.BAD_IDENTIFIER, outcome(invocation_id="\u0663")),
    ("a zero byte in a name", reasons.BAD_IDENTIFIER, outcome(invocation_id="a\0b")),
    ("a name of 129 characters", reasons.BAD_IDENTIFIER, outcome(invocation_id="x" * 129)),
    ("an empty runtime", reasons.BAD_IDENTIFIER, outcome(runtime_id="")),
    ("feedback for a name with a slash", reasons.BAD_IDENTIFIER, changed(FEEDBACK, invocation_id="a/b")),
    ("a reference to a name with a slash", reasons.BAD_IDENTIFIER, changed(REFERENCE, command_id="a/b")),
    ("a reference to a name with a line feed", reasons.BAD_IDENTIFIER, changed(REFERENCE, command_id="cmd-1\n")),
    ("an offset from UTC", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:00+00:00")),
    ("no time zone", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:00")),
    ("a lower-case z", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:00z")),
    ("a space instead of T", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19 14:30:00Z")),
    ("no seconds", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30Z")),
    ("only a date", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19")),
    ("ten digits of a second", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:00.0123456789Z")),
    ("a second without digits", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:00.Z")),
    ("the thirtieth of February", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-02-30T14:30:00Z")),
    (
        "the 29th of February in a year that is not a leap year",
        reasons.BAD_TIMESTAMP,
        outcome(timestamp="2025-02-29T00:00:00Z"),
    ),
    ("a thirteenth month", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-13-01T14:30:00Z")),
    ("the year zero", reasons.BAD_TIMESTAMP, outcome(timestamp="0000-01-01T14:30:00Z")),
    ("the hour 24", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T24:00:00Z")),
    ("the minute 60", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:60:00Z")),
    ("the second 60", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:60Z")),
    ("digits that are not ASCII", reasons.BAD_TIMESTAMP, outcome(timestamp="\u0662025-11-19T14:30:00Z")),
    ("an empty timestamp", reasons.BAD_TIMESTAMP, outcome(timestamp="")),
    ("a line feed after the timestamp", reasons.BAD_TIMESTAMP, outcome(timestamp="2025-11-19T14:30:00Z\n")),
    ("feedback without a valid time", reasons.BAD_TIMESTAMP, changed(FEEDBACK, timestamp="yesterday")),
    ("the key of another agent", reasons.KEY_MISMATCH, outcome(agent_name="frontend-developer")),
    ("the key of another task", reasons.KEY_MISMATCH, outcome(task_type="code-review")),
    ("feedback under another key", reasons.KEY_MISMATCH, changed(FEEDBACK, task_type="code-review")),
    (
        "a reference for the whole fleet under one task's key",
        reasons.KEY_MISMATCH,
        changed(REFERENCE, agent_name=DROP, task_type=DROP),
    ),
]
ORDERS: Final[list[tuple[str, str, bytes | None, bytes]]] = [
    ("no value", reasons.NULL_VALUE, None, KEY),
    ("no JSON", reasons.NOT_JSON, b"hold", KEY),
    ("no type", reasons.MISSING_FIELD, order(type=DROP), KEY),
    ("an unknown type", reasons.UNKNOWN_TYPE, order(type="Explode"), KEY),
    ("an invocation", reasons.MISSING_FIELD, outcome(), KEY),
    ("feedback", reasons.UNKNOWN_TYPE, changed(FEEDBACK), KEY),
    ("the next version", reasons.UNKNOWN_VERSION, order(schema_version=2), KEY),
    ("a command without an actor", reasons.MISSING_FIELD, order(actor=DROP), KEY),
    ("no hours", reasons.OUT_OF_RANGE, order(hours=0), KEY),
    ("hours in words", reasons.WRONG_TYPE, order(hours="2"), KEY),
    ("true as an epoch", reasons.WRONG_TYPE, order(expected_epoch=True), KEY),
    ("an ill-formed variant", reasons.BAD_IDENTIFIER, order(m.ActivateVariant, variant_id="a b"), KEY),
    ("an ill-formed rollback", reasons.BAD_IDENTIFIER, order(m.ConfirmRollback, rollback_id="rb-1\n"), KEY),
    ("an expiry in an unknown format", reasons.BAD_TIMESTAMP, order(expires_at="tomorrow"), KEY),
    ("an expiry on a date that does not exist", reasons.BAD_TIMESTAMP, order(expires_at="2025-02-30T00:00:00Z"), KEY),
    ("the key of another task", reasons.KEY_MISMATCH, order(task_type="code-review"), KEY),
    ("the key of the policy", reasons.KEY_MISMATCH, order(), POLICY_KEY),
    ("a policy under a task's key", reasons.KEY_MISMATCH, policy(), KEY),
    ("an unknown setting", reasons.UNKNOWN_FIELD, policy(policy={"defualt": {}}), POLICY_KEY),
    (
        "a misspelt nested setting",
        reasons.UNKNOWN_FIELD,
        policy(policy={"default": {"rollback": {"min_sample": 5}}}),
        POLICY_KEY,
    ),
    (
        "a setting out of range",
        reasons.OUT_OF_RANGE,
        policy(policy={"tasks": {"a/b": {"operations": {"exploration": 2}}}}),
        POLICY_KEY,
    ),
    ("a setting of another type", reasons.WRONG_TYPE, policy(policy={"default": []}), POLICY_KEY),
    (
        "an unknown mode",
        reasons.OUT_OF_RANGE,
        policy(policy={"default": {"operations": {"mode": "yolo"}}}),
        POLICY_KEY,
    ),
    ("a policy hash that is too short", reasons.OUT_OF_RANGE, policy(policy_hash="0123"), POLICY_KEY),
    ("a policy hash with a line feed", reasons.OUT_OF_RANGE, policy(policy_hash="0" * 16 + "\n"), POLICY_KEY),
]
