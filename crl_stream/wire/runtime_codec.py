"""What a runtime's client writes and reads: outcomes, and the topics that say which variant to use.

``codec`` decodes everything else with the functions below, so both accept the same records. A client imports only
this module, because building the decoders of all messages would double its import time.

Invocations are the hot path.  An invocation is parsed once into its type; if encoding the result gives exactly the same
text, the parser dropped nothing.  Otherwise a count of commas can prove the same (``wire.strict_json``).
Anything else takes the slow path, which gives the same result, and a reason if the record is rejected.

Every decoder is built at import, before there are threads. The reason is a bug in msgspec (0.22): a thread crashes if
it decodes a type while another thread is building the decoder for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey, is_identifier
from crl_stream.wire import reasons
from crl_stream.wire.complaints import IDENTIFIER_HINT, TIMESTAMP_HINT, explain, plain
from crl_stream.wire.strict_json import MAX_BYTES, Bad, parse_object
from crl_stream.wire.topic_names import ACTIVE_VARIANTS, VARIANTS

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
OUTCOME_DECODERS: Final[dict[Any, Callable[[bytes], Any]]] = {
    m.Invocation: _as_invocation,
    m.Feedback: msgspec.json.Decoder(m.Feedback).decode,
}
"""Decoders of what a runtime writes, by message."""
VARIANT_MESSAGES: Final[dict[str, Any]] = {ACTIVE_VARIANTS: m.ActiveVariant, VARIANTS: m.VariantCatalogue}
"""The message on each topic that says which variant to use."""
VARIANT_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    topic: msgspec.json.Decoder(kind).decode for topic, kind in VARIANT_MESSAGES.items()
}
NO_VALUE: Final = "the record has no value; expected a JSON object"


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


def decode_outcome(value: bytes, key: bytes) -> Any:
    """Decode what a runtime writes to the log: return the message or a rejection, as ``codec.decode_logged`` does."""
    if (message := read_invocation(value)) is not None:
        return check_invocation(message, key)
    return read_input(value, key, _outcome_kind, OUTCOME_DECODERS, check_outcome)


def _outcome_kind(fields: dict[str, Any]) -> type | Rejected:
    if "type" not in fields:
        return m.Invocation
    if fields["type"] == "feedback":
        return m.Feedback
    return Rejected(reasons.UNKNOWN_TYPE, UNKNOWN_OUTCOME)


UNKNOWN_OUTCOME: Final = "type: expected feedback, or no type"
"""The log's other types are written only by the inlet and by workers, so the message does not mention them."""


def decode_variants(topic: str, value: bytes | None) -> Decoded | Rejected:
    """Decode a record of ``crl.active-variants`` or ``crl.variants``, as ``codec.decode`` does."""
    if value is None:
        return Rejected(reasons.NULL_VALUE, NO_VALUE)
    try:
        return Decoded(VARIANT_DECODERS[topic](value))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Rejected(*explain(error, VARIANT_MESSAGES[topic]))


def read_invocation(value: bytes) -> m.Invocation | None:
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


def read_input(
    value: bytes,
    key: bytes | None,
    kind_of: Callable[[dict[str, Any]], type | Rejected],
    decoders: Mapping[Any, Callable[[bytes], Any]],
    check: Callable[[Any, type, bytes], Any],
) -> Any:
    """Return the message or ``Rejected``; the order of checks is fixed, so a fault always has the same reason.

    ``kind_of`` returns the type of a message with the given fields, ``decoders`` decodes that type, and ``check``
    returns the message or a rejection.
    """
    if key is None:
        return Rejected(reasons.NULL_KEY, "the record has no key; expected agent_name/task_type")
    fields = parse_object(value)
    if isinstance(fields, Bad):
        return Rejected(fields.reason, plain(fields.detail))
    kind = kind_of(fields)
    if isinstance(kind, Rejected):
        return kind
    version = fields.get("schema_version")
    if type(version) is int and version != m.SCHEMA_VERSION:
        return Rejected(reasons.UNKNOWN_VERSION, plain(f"schema_version: expected {m.SCHEMA_VERSION}, not {version}"))
    try:
        message = decoders[kind](value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Rejected(*explain(error, kind))
    return check(message, kind, key)


_tasks: Final[dict[bytes, tuple[str, str]]] = {}
_names: Final[set[str]] = set()
_minutes: Final[set[str]] = set()
_SECONDS: Final = re.compile(r"[0-5][0-9](?:\.[0-9]{1,9})?Z")
_LEAP_SECOND: Final = re.compile(r"60(?:\.[0-9]{1,9})?Z")
_WHOLE: Final = frozenset(f"{number:02}." for number in range(60))
_THOUSANDTHS: Final = frozenset(f"{number:03}Z" for number in range(1_000))
_MINUTE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:")


def check_invocation(message: m.Invocation, key: bytes) -> Any:
    """Check the names, time and key of an invocation; known ones are looked up, which is faster than matching."""
    task = _tasks.get(key)
    if task is None or task[0] != message.agent_name or task[1] != message.task_type:
        return check_outcome(message, m.Invocation, key)
    if message.variant_id in _names and (message.runtime_id is None or message.runtime_id in _names):
        text = message.timestamp
        # Most clients write milliseconds, for which two look-ups are cheaper than a match.
        if (
            text[:17] in _minutes
            and ((text[17:20] in _WHOLE and text[20:] in _THOUSANDTHS) or _SECONDS.fullmatch(text, 17))
            and is_identifier(message.invocation_id)
        ):
            return message
    return check_outcome(message, m.Invocation, key)


def check_outcome(message: Any, kind: type, key: bytes) -> Any:
    """Check what the typed parser does not: names, times, the record's key, and fields that depend on each other."""
    for name in _NAMES_OF[kind]:
        text = getattr(message, name)
        if text is not None and not is_identifier(text):
            return Rejected(reasons.BAD_IDENTIFIER, f"{name}: {IDENTIFIER_HINT}")
    if not is_instant(message.timestamp):
        return Rejected(reasons.BAD_TIMESTAMP, f"timestamp: {TIMESTAMP_HINT}")
    if kind is m.Feedback and message.reward is None and message.quality is None:
        return Rejected(reasons.MISSING_FIELD, "reward, quality: at least one of them is required")
    if (wrong := wrong_key(key, f"{message.agent_name}/{message.task_type}".encode())) is not None:
        return wrong
    if kind is m.Invocation:
        _remember(message, key)
    return message


def wrong_key(key: bytes, expected: bytes) -> Rejected | None:
    """Return the rejection of a record whose key is not the one that its value requires."""
    if key == expected:
        return None
    shown = key[:MAX_KEY].decode("utf-8", "replace")
    return Rejected(
        reasons.KEY_MISMATCH, plain(f"the record's key is {shown}, but its value requires {expected.decode()}")
    )


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


def is_instant(text: str) -> bool:
    """Return whether a text is a time in RFC 3339, in UTC."""
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


_NAMES_OF: Final[dict[type, tuple[str, ...]]] = {
    m.Invocation: ("invocation_id", "agent_name", "task_type", "variant_id", "runtime_id"),
    m.Feedback: ("feedback_id", "agent_name", "task_type", "invocation_id"),
}
"""Fields of type ``Name``, by message; the typed parser checks fields of type ``Identifier``."""
