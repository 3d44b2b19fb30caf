"""Converts bytes to messages and back.

Decoding any bytes gives a value or a rejection with a reason, never an exception.  Readers ignore unknown fields, so
that new fields can be added.  Messages from runtimes and people are checked strictly; the monitor's own are not.

Invocations are the hot path.  An invocation is parsed once into its type; if encoding the result gives exactly the same
text, the parser dropped nothing.  Otherwise a count of commas can prove the same (``wire.strict_json``).
Anything else takes the slow path, which gives the same result, and a reason if the record is rejected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.core.policy_size import too_large
from crl_stream.wire import reasons
from crl_stream.wire.complaints import IDENTIFIER_HINT, TIMESTAMP_HINT, explain, plain
from crl_stream.wire.records import Record, UnreadBatch
from crl_stream.wire.strict_json import MAX_BYTES, Bad, parse_object
from crl_stream.wire.topics import COMMANDS, FLEET_KEY, INVOCATIONS, MESSAGES, POLICY_KEY, TICK_KEY

MAX_KEY: Final = 257
"""``agent_name/task_type``: two names of at most 128 characters."""
MAX_REMEMBERED: Final = 65_536
"""How many well-formed names, tasks and minutes are remembered; a full cache is cleared."""


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A message that fits its schema."""

    message: Any


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """Why there is no message: a reason from ``wire.reasons`` and a sentence for people."""

    reason: str
    detail: str


_encode: Final = msgspec.json.Encoder().encode
_as_invocation: Final = msgspec.json.Decoder(m.Invocation).decode
_names_of: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(
    msgspec.defstruct("_Names", [("agent_name", str), ("task_type", str)], gc=False)
).decode
_LOG_KINDS: Final[dict[str, type]] = {"feedback": m.Feedback, "command_ref": m.CommandRef, "tick": m.Tick}
_COMMAND_KINDS: Final[dict[str, type]] = {kind.__name__: kind for kind in MESSAGES[COMMANDS]}
_decoders: Final[dict[Any, Callable[[bytes], Any]]] = {
    kind: msgspec.json.Decoder(kind).decode for topic in (INVOCATIONS, COMMANDS) for kind in MESSAGES[topic]
}


_NO_VALUE: Final = "the record has no value; expected a JSON object"


def encode(message: Any) -> bytes:
    """Return the canonical JSON of a message: fields in schema order, without white space."""
    return _encode(message)


def not_finite(message: Any) -> str | None:
    """Return the first field that is NaN or infinite; JSON cannot express it, so it would be sent as absent."""
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, float) and not math.isfinite(value):
            return str(name)
    return None


def decode(topic: str, value: bytes | None, key: bytes | None) -> Decoded | Rejected:
    """Decode a record of a catalog topic without ever raising."""
    if value is None:
        return Rejected(reasons.NULL_VALUE, _NO_VALUE)
    if topic in {INVOCATIONS, COMMANDS}:
        found = decode_logged(value, key) if topic == INVOCATIONS else _read_input(topic, value, key)
        return found if isinstance(found, Rejected) else Decoded(found)
    return _read_output(topic, value)


def decode_record(topic: str, record: Record) -> Decoded | Rejected:
    """Decode a consumed record of ``topic``, or an unread batch."""
    if type(record) is UnreadBatch:
        return Rejected(record.reason, record.detail)
    return decode(topic, record.value, record.key)


def decode_logged(value: bytes | None, key: bytes | None) -> Any:
    """Decode a record of the log; for speed, the message is returned without a wrapper."""
    if value is None:
        return Rejected(reasons.NULL_VALUE, _NO_VALUE)
    if key is not None and (message := _read_invocation(value)) is not None:
        return _check_invocation(message, key)
    return _read_input(INVOCATIONS, value, key)


def decode_unkeyed(value: bytes) -> tuple[bytes, Any]:
    """Return the key that the value of a log record implies, and the result of ``decode_logged`` with that key.

    If the value does not name a task, the key is empty and the result is a rejection.
    """
    message = _read_invocation(value)
    if message is not None:
        key = f"{message.agent_name}/{message.task_type}".encode()
        return key, _check_invocation(message, key)
    try:
        names = _names_of(value)
        key = f"{names.agent_name}/{names.task_type}".encode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        key = b""
    return key, _read_input(INVOCATIONS, value, key)


def _read_invocation(value: bytes) -> m.Invocation | None:
    """Return the invocation in ``value`` if the fast path can read it; names are not checked yet."""
    if len(value) > MAX_BYTES:
        return None
    try:
        message = _as_invocation(value)
        if _encode(message) == value:
            return message
        if value.find(b"{", 1) >= 0 or value.find(b"[") >= 0:
            return None
        fields = orjson.loads(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return message if value.count(b",") == len(fields) - 1 and "type" not in fields else None


def _read_input(topic: str, value: bytes, key: bytes | None) -> Any:
    """Return the message or ``Rejected``; the order of checks is fixed, so a fault always has the same reason."""
    if key is None:
        return Rejected(reasons.NULL_KEY, "the record has no key; expected agent_name/task_type")
    fields = parse_object(value)
    if isinstance(fields, Bad):
        return Rejected(fields.reason, plain(fields.detail))
    kind = _kind_of(topic, fields)
    if isinstance(kind, Rejected):
        return kind
    version = fields.get("schema_version")
    if type(version) is int and version != m.SCHEMA_VERSION:
        return Rejected(reasons.UNKNOWN_VERSION, plain(f"schema_version: expected {m.SCHEMA_VERSION}, not {version}"))
    try:
        message = _decoders[kind](value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Rejected(*explain(error, kind))
    if kind is m.Invocation:
        return _check_invocation(message, key)
    return _check(message, kind, key)


def _kind_of(topic: str, fields: dict[str, Any]) -> type | Rejected:
    if topic == INVOCATIONS and "type" not in fields:
        return m.Invocation
    kinds = _LOG_KINDS if topic == INVOCATIONS else _COMMAND_KINDS
    if "type" not in fields:
        return Rejected(reasons.MISSING_FIELD, "type: required; it names the command")
    name = fields["type"]
    found = kinds.get(name) if type(name) is str else None
    if found is None:
        # The log's other types are written only by the inlet and by workers, so the message does not mention them.
        wanted = "expected feedback, or no type" if topic == INVOCATIONS else f"expected one of {', '.join(kinds)}"
        return Rejected(reasons.UNKNOWN_TYPE, f"type: {wanted}")
    return found


_tasks: Final[dict[bytes, tuple[str, str]]] = {}
_names: Final[set[str]] = set()
_minutes: Final[set[str]] = set()
_SECONDS: Final = re.compile(r"[0-5][0-9](?:\.[0-9]{1,9})?Z")
_LEAP_SECOND: Final = re.compile(r"60(?:\.[0-9]{1,9})?Z")
_WHOLE: Final = frozenset(f"{number:02}." for number in range(60))
_THOUSANDTHS: Final = frozenset(f"{number:03}Z" for number in range(1_000))
_MINUTE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:")


def _check_invocation(message: m.Invocation, key: bytes) -> Any:
    """Check the names, time and key of an invocation; known ones are looked up, which is faster than matching."""
    task = _tasks.get(key)
    if task is None or task[0] != message.agent_name or task[1] != message.task_type:
        return _check(message, m.Invocation, key)
    if message.variant_id in _names and (message.runtime_id is None or message.runtime_id in _names):
        text = message.timestamp
        # Most clients write milliseconds, for which two look-ups are cheaper than a match.
        if (
            text[:17] in _minutes
            and ((text[17:20] in _WHOLE and text[20:] in _THOUSANDTHS) or _SECONDS.fullmatch(text, 17))
            and is_identifier(message.invocation_id)
        ):
            return message
    return _check(message, m.Invocation, key)


def _check(message: Any, kind: type, key: bytes) -> Any:
    """Check what the typed parser does not: names, times, the record's key, and fields that depend on each other."""
    for name in _NAMES_OF.get(kind, ()):
        text = getattr(message, name)
        if text is not None and not is_identifier(text):
            return Rejected(reasons.BAD_IDENTIFIER, f"{name}: {IDENTIFIER_HINT}")
    for name in _INSTANTS_OF[kind]:
        text = getattr(message, name)
        if text is not None and not _is_instant(text):
            return Rejected(reasons.BAD_TIMESTAMP, f"{name}: {TIMESTAMP_HINT}")
    if kind is m.SetPolicy and (why := too_large(message.policy)) is not None:
        return Rejected(reasons.OUT_OF_RANGE, plain(f"policy: {why}"))
    if kind is m.Feedback and message.reward is None and message.quality is None:
        return Rejected(reasons.MISSING_FIELD, "reward, quality: at least one of them is required")
    agent_name = getattr(message, "agent_name", None)
    task_type = getattr(message, "task_type", None)
    if (agent_name is None) != (task_type is None):
        return Rejected(reasons.MISSING_FIELD, "agent_name, task_type: give both or neither")
    if agent_name is not None:
        expected = f"{agent_name}/{task_type}".encode()
    elif kind is m.Tick:
        expected = TICK_KEY
    elif kind in _FOR_THE_FLEET or (kind is m.CommandRef and key == FLEET_KEY):
        expected = FLEET_KEY
    else:
        expected = POLICY_KEY
    if key != expected:
        shown = key[:MAX_KEY].decode("utf-8", "replace")
        return Rejected(
            reasons.KEY_MISMATCH, plain(f"the record's key is {shown}, but its value requires {expected.decode()}")
        )
    if kind is m.Invocation:
        _remember(message, key)
    return message


def _remember(message: m.Invocation, key: bytes) -> None:
    """Remember the names and the minute of a valid invocation."""
    for known in (_tasks, _names, _minutes):
        if len(known) >= MAX_REMEMBERED:
            known.clear()
    _tasks[key] = TaskKey(message.agent_name, message.task_type)
    _names.add(message.variant_id)
    if message.runtime_id is not None:
        _names.add(message.runtime_id)
    _minutes.add(message.timestamp[:17])


def _is_instant(text: str) -> bool:
    if not _MINUTE.match(text):
        return False
    # UTC has leap seconds only at the end of a day.
    leap = text[11:17] == "23:59:" and _LEAP_SECOND.fullmatch(text, 17)
    if not leap and not _SECONDS.fullmatch(text, 17):
        return False
    try:
        datetime.fromisoformat(text[:16])
    except ValueError:
        return False
    return text[11:13] < "24"


_FOR_THE_FLEET: Final = frozenset((m.HoldAll, m.ResumeAll, m.ReportTag))
_NAMES_OF: Final[dict[type, tuple[str, ...]]] = {
    m.Invocation: ("invocation_id", "agent_name", "task_type", "variant_id", "runtime_id"),
    m.Feedback: ("feedback_id", "agent_name", "task_type", "invocation_id"),
}
"""Fields of type ``Name``, by message; the typed parser checks fields of type ``Identifier``."""
_INSTANTS_OF: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(name for name in ("timestamp", "expires_at", "valid_until", "until") if name in kind.__struct_fields__)
    for kind in _decoders
}


def _read_output(topic: str, value: bytes) -> Decoded | Rejected:
    decode_output = _output_decoders.get(topic)
    if decode_output is None:
        return Rejected(reasons.UNKNOWN_TYPE, plain(f"crl-stream writes no messages to {topic}"))
    try:
        return Decoded(decode_output(value))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Rejected(*explain(error, _UNIONS[topic]))


def _union(kinds: tuple[type, ...]) -> Any:
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union |= kind
    return union


_UNIONS: Final[dict[str, Any]] = {topic: _union(kinds) for topic, kinds in MESSAGES.items() if kinds}
_output_decoders: Final[dict[str, Callable[[bytes], Any]]] = {
    topic: msgspec.json.Decoder(union).decode
    for topic, union in _UNIONS.items()
    if topic not in {INVOCATIONS, COMMANDS}
}
"""Built here, before there are threads: while one thread builds a decoder, msgspec (0.22) crashes another thread that
decodes one of the same nested types."""
