"""Converts bytes to messages and back.

Decoding any bytes gives a value or a rejection with a reason, never an exception.  Readers ignore unknown fields, so
that new fields can be added.  Messages from runtimes and people are checked strictly; the monitor's own are not.

The hot path, and all that a runtime's client writes and reads, is in ``wire.runtime_codec``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.policy_size import too_large
from crl_stream.wire import reasons
from crl_stream.wire.complaints import TIMESTAMP_HINT, explain, plain
from crl_stream.wire.records import Record, UnreadBatch
from crl_stream.wire.runtime_codec import (
    MAX_KEY,
    MAX_REMEMBERED,
    NO_VALUE,
    OUTCOME_DECODERS,
    UNKNOWN_OUTCOME,
    VARIANT_DECODERS,
    Decoded,
    Rejected,
    check_invocation,
    check_outcome,
    encode,
    is_instant,
    not_finite,
    read_input,
    read_invocation,
    wrong_key,
)
from crl_stream.wire.topics import COMMANDS, FLEET_KEY, INVOCATIONS, MESSAGES, POLICY_KEY, TICK_KEY

__all__ = [
    "MAX_KEY",
    "MAX_REMEMBERED",
    "Decoded",
    "Rejected",
    "decode",
    "decode_logged",
    "decode_record",
    "decode_unkeyed",
    "encode",
    "not_finite",
]

_names_of: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(
    msgspec.defstruct("_Names", [("agent_name", str), ("task_type", str)], gc=False)
).decode
_LOG_KINDS: Final[dict[str, type]] = {"feedback": m.Feedback, "command_ref": m.CommandRef, "tick": m.Tick}
_COMMAND_KINDS: Final[dict[str, type]] = {kind.__name__: kind for kind in MESSAGES[COMMANDS]}
_decoders: Final[dict[Any, Callable[[bytes], Any]]] = OUTCOME_DECODERS | {
    kind: msgspec.json.Decoder(kind).decode
    for topic in (INVOCATIONS, COMMANDS)
    for kind in MESSAGES[topic]
    if kind not in OUTCOME_DECODERS
}


def decode(topic: str, value: bytes | None, key: bytes | None) -> Decoded | Rejected:
    """Decode a record of a catalog topic without ever raising."""
    if value is None:
        return Rejected(reasons.NULL_VALUE, NO_VALUE)
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
        return Rejected(reasons.NULL_VALUE, NO_VALUE)
    if key is not None and (message := read_invocation(value)) is not None:
        return check_invocation(message, key)
    return _read_input(INVOCATIONS, value, key)


def decode_unkeyed(value: bytes) -> tuple[bytes, Any]:
    """Return the key that the value of a log record implies, and the result of ``decode_logged`` with that key.

    If the value does not name a task, the key is empty and the result is a rejection.
    """
    message = read_invocation(value)
    if message is not None:
        key = f"{message.agent_name}/{message.task_type}".encode()
        return key, check_invocation(message, key)
    try:
        names = _names_of(value)
        key = f"{names.agent_name}/{names.task_type}".encode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        key = b""
    return key, _read_input(INVOCATIONS, value, key)


def _read_input(topic: str, value: bytes, key: bytes | None) -> Any:
    return read_input(value, key, _log_kind if topic == INVOCATIONS else _command_kind, _decoders, _check)


def _log_kind(fields: dict[str, Any]) -> type | Rejected:
    return _kind_of(INVOCATIONS, fields)


def _command_kind(fields: dict[str, Any]) -> type | Rejected:
    return _kind_of(COMMANDS, fields)


def _kind_of(topic: str, fields: dict[str, Any]) -> type | Rejected:
    if topic == INVOCATIONS and "type" not in fields:
        return m.Invocation
    kinds = _LOG_KINDS if topic == INVOCATIONS else _COMMAND_KINDS
    if "type" not in fields:
        return Rejected(reasons.MISSING_FIELD, "type: required; it names the command")
    name = fields["type"]
    found = kinds.get(name) if type(name) is str else None
    if found is None:
        if topic == INVOCATIONS:
            return Rejected(reasons.UNKNOWN_TYPE, UNKNOWN_OUTCOME)
        return Rejected(reasons.UNKNOWN_TYPE, f"type: expected one of {', '.join(kinds)}")
    return found


def _check(message: Any, kind: type, key: bytes) -> Any:
    """Check what the typed parser does not: names, times, the record's key, and fields that depend on each other."""
    if kind in OUTCOME_DECODERS:
        return check_outcome(message, kind, key)
    for name in _INSTANTS_OF[kind]:
        text = getattr(message, name)
        if text is not None and not is_instant(text):
            return Rejected(reasons.BAD_TIMESTAMP, f"{name}: {TIMESTAMP_HINT}")
    if kind is m.SetPolicy and (why := too_large(message.policy)) is not None:
        return Rejected(reasons.OUT_OF_RANGE, plain(f"policy: {why}"))
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
    return wrong_key(key, expected) or message


_FOR_THE_FLEET: Final = frozenset((m.HoldAll, m.ResumeAll, m.ReportTag))
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
_output_decoders: Final[dict[str, Callable[[bytes], Any]]] = VARIANT_DECODERS | {
    topic: msgspec.json.Decoder(union).decode
    for topic, union in _UNIONS.items()
    if topic not in {INVOCATIONS, COMMANDS, *VARIANT_DECODERS}
}
"""Built at import, like those of ``runtime_codec``."""
