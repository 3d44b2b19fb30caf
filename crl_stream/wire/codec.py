"""Bytes to messages and back.  Decoding any bytes gives a value or a rejection with a reason, never an exception.

Readers ignore fields they do not know, so that adding one is free.  What runtimes and people send is read strictly;
what the monitor wrote is read as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core import messages as m
from crl_stream.wire import reasons
from crl_stream.wire.strict_json import Bad, parse_object
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS, MESSAGES, POLICY_KEY

MAX_KEY: Final = 257
"""``agent_name/task_type``: two names of at most 128 characters."""


class Decoded(NamedTuple):
    """A message that fits its schema."""

    message: Any


class Rejected(NamedTuple):
    """Why there is no message: a word of ``wire.reasons`` and a sentence for people."""

    reason: str
    detail: str


_ENCODER: Final = msgspec.json.Encoder()
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")
_COMMAND_NAMES: Final = frozenset(kind.__name__ for kind in MESSAGES[COMMANDS])
_TIMES: Final = frozenset(("timestamp", "expires_at", "valid_until", "until"))


def encode(message: Any) -> bytes:
    """The one JSON text of a message: fields in the order of their schema, no white space."""
    return _ENCODER.encode(message)


def decode(topic: str, value: bytes | None, key: bytes | None) -> Decoded | Rejected:
    """Read a record of a catalog topic; never raises."""
    if value is None:
        return Rejected(reasons.NULL_VALUE, "the record has no value; a message is a JSON object")
    if topic == INVOCATIONS or topic == COMMANDS:
        return _decode_input(topic, value, key)
    try:
        return Decoded(_decoder(topic)(value))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return Rejected(reasons.NOT_JSON, _plain(str(error)))


def _decode_input(topic: str, value: bytes, key: bytes | None) -> Decoded | Rejected:
    if key is None:
        return Rejected(reasons.NULL_KEY, "the record has no key; it must be agent_name/task_type")
    fields = parse_object(value)
    if type(fields) is Bad:
        return Rejected(*fields)
    assert type(fields) is dict
    name = fields.get("type")
    if topic == INVOCATIONS:
        kind = _LOG_KINDS.get(name) if name is None or type(name) is str else None
    else:
        kind = m.AnyCommand if type(name) is str and name in _COMMAND_NAMES else None
    if kind is None:
        return _unknown_type(topic, name)
    version = fields.get("schema_version")
    if version != 1 or type(version) is not int:
        return _bad_version(version)
    try:
        message = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        return _invalid(str(error))
    except (RecursionError, OverflowError, ValueError) as error:
        return Rejected(reasons.WRONG_TYPE, _plain(str(error)))
    return _check(message, key)


_LOG_KINDS: Final[dict[str | None, Any]] = {
    None: m.Invocation,
    "feedback": m.Feedback,
    "command_ref": m.CommandRef,
}


def _check(message: Any, key: bytes) -> Decoded | Rejected:
    """What a schema cannot say: real instants, the record's key, fields that need each other."""
    kind = type(message)
    if kind is m.CommandRef:
        if (message.agent_name is None) != (message.task_type is None):
            return Rejected(reasons.MISSING_FIELD, "agent_name and task_type come together or not at all")
    else:
        for name in _TIMES_OF[kind]:
            text = getattr(message, name)
            if text is not None:
                try:
                    datetime.fromisoformat(text)
                except ValueError:
                    return Rejected(reasons.BAD_TIMESTAMP, f"{name}: {text} is no instant")
        if kind is m.Feedback and message.reward is None and message.quality is None:
            return Rejected(reasons.MISSING_FIELD, "feedback needs a reward or a quality")
    if kind is m.SetPolicy or (kind is m.CommandRef and message.agent_name is None):
        expected = POLICY_KEY
    else:
        expected = f"{message.agent_name}/{message.task_type}".encode()
    if key != expected:
        shown = key[:MAX_KEY].decode("utf-8", "replace")
        return Rejected(
            reasons.KEY_MISMATCH, _plain(f"the record's key is {shown!r}, its value says {expected.decode()!r}")
        )
    return Decoded(message)


_TIMES_OF: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(name for name in kind.__struct_fields__ if name in _TIMES)  # type: ignore[attr-defined]
    for topic in (INVOCATIONS, COMMANDS)
    for kind in MESSAGES[topic]
}


def _unknown_type(topic: str, name: object) -> Rejected:
    if topic == INVOCATIONS:
        return Rejected(
            reasons.UNKNOWN_TYPE, "type: absent for an invocation, else feedback or command_ref"
        )
    if name is None:
        return Rejected(reasons.MISSING_FIELD, "type: a command names what it is, e.g. UndoRollback")
    return Rejected(reasons.UNKNOWN_TYPE, f"type: one of {', '.join(sorted(_COMMAND_NAMES))}")


def _bad_version(version: object) -> Rejected:
    if version is None:
        return Rejected(reasons.MISSING_FIELD, "schema_version: required, 1")
    if type(version) is not int:
        return Rejected(reasons.WRONG_TYPE, "schema_version: a whole number is expected")
    return Rejected(reasons.UNKNOWN_VERSION, f"schema_version: {str(version)[:20]}, this release reads 1")


def _invalid(complaint: str) -> Rejected:
    """Name the reason behind msgspec's words, which have the path but not the value."""
    found = _PATH.search(complaint)
    path = found.group(1) if found else ""
    words = complaint[: found.start()] if found else complaint
    if missing := _MISSING.search(words):
        where = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return Rejected(reasons.MISSING_FIELD, _plain(f"{where}: required"))
    if "matching regex" in words:
        if path.rpartition(".")[2] in _TIMES:
            return Rejected(
                reasons.BAD_TIMESTAMP, _plain(f"{path}: RFC 3339 in UTC, like 2025-11-19T14:30:00Z")
            )
        if "0-9a-f]" in words:
            return Rejected(reasons.OUT_OF_RANGE, _plain(f"{path}: {words}"))
        return Rejected(
            reasons.BAD_IDENTIFIER, _plain(f"{path}: 1 to 128 characters of A-Z a-z 0-9 . _ : -")
        )
    reason = (
        reasons.OUT_OF_RANGE
        if any(mark in words for mark in (">=", "<=", "> ", "< ", "of length", "Invalid enum", "out of range"))
        else reasons.WRONG_TYPE
    )
    return Rejected(reason, _plain(f"{path}: {words}" if path else words))


def _plain(text: str) -> str:
    """At most 300 characters, none that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:300])


_decoders: dict[str, Callable[[bytes], Any]] = {}


def _decoder(topic: str) -> Callable[[bytes], Any]:
    found = _decoders.get(topic)
    if found is None:
        kinds = MESSAGES.get(topic, ())
        if not kinds or topic == DEAD_LETTERS:
            raise msgspec.ValidationError(f"{topic} has no messages")
        union: Any = kinds[0]
        for kind in kinds[1:]:
            union |= kind
        found = _decoders[topic] = msgspec.json.Decoder(union).decode
    return found
