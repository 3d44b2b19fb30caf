"""CloudEvents 1.0 in Kafka's binary mode, and W3C trace context: headers that are always optional.

The value remains the plain message, so a reader that does not know CloudEvents misses nothing. ``traceparent`` is
passed on unchanged, so that an invocation can be traced through other systems.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crl_stream.core import messages as m
from crl_stream.wire.topic_names import MIRRORS

if TYPE_CHECKING:
    from crl_stream.wire.records import Headers

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/json"
TYPE_PREFIX: Final = "crl."
TRACEPARENT: Final = "traceparent"
MAX_BYTES: Final = 1_024
"""Maximum length of a header in bytes; a longer header is treated as absent."""

HEADER_MEANING: Final[dict[str, str]] = {
    "ce_specversion": "1.0",
    "ce_id": "The message's own id, e.g. its invocation_id.",
    "ce_source": "Who sent it: /runtimes/ and its runtime_id, or /crl-stream.",
    "ce_type": "crl., the message's name and its version, e.g. crl.Invocation.v1.",
    "ce_time": "The message's timestamp.",
    "ce_subject": "The task: agent_name/task_type.",
    "ce_partitionkey": "The record's key.",
    "content-type": "application/json",
    TRACEPARENT: "W3C trace context of the invocation.",
}
"""The meaning of every header in this module, for the contract."""

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ID_FIELDS: Final = (
    "feedback_id",
    "alert_id",
    "rollback_id",
    "decision_id",
    "activation_id",
    "result_id",
    "receipt_id",
    "command_id",
    "proposal_id",
    "invocation_id",
)


class Envelope(NamedTuple):
    """The CloudEvents headers of a record; None for missing headers."""

    id: str | None
    source: str | None
    type: str | None
    time: str | None
    subject: str | None
    traceparent: str | None


def event_headers(
    message: Any, key: bytes | None = None, *, source: str | None = None, traceparent: str | None = None
) -> tuple[tuple[str, bytes], ...]:
    """Return headers that make a record of ``message`` a CloudEvent.

    ``key`` is the record's key. ``source`` defaults to the runtime that the message names, or else to ``/crl-stream``.
    An invalid ``traceparent`` is left out.
    """
    kind = type(message)
    if source is None:
        runtime = getattr(message, "runtime_id", None) if kind is m.Invocation else None
        source = f"/runtimes/{runtime}" if runtime else "/crl-stream"
    attributes = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": _id_of(message),
        "ce_source": source,
        "ce_type": f"{TYPE_PREFIX}{kind.__name__}.v{m.SCHEMA_VERSION}",
        "ce_time": getattr(message, "timestamp", None),
        "ce_subject": _subject_of(message),
        "ce_partitionkey": key.decode("utf-8", "replace") if key is not None else None,
        "content-type": CONTENT_TYPE,
        TRACEPARENT: traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None,
    }
    return tuple((name, text.encode()) for name, text in attributes.items() if text)


def read_envelope(headers: Headers) -> Envelope:
    """Read ``headers`` without ever raising; if a name is repeated, the first header counts."""
    found: dict[str, str] = {}
    for name, value in headers or ():
        if name in HEADER_MEANING and name not in found and len(value or b"") <= MAX_BYTES:
            text = (value or b"").decode("utf-8", "replace")
            if text.isprintable():
                found[name] = text
    trace = found.get(TRACEPARENT)
    return Envelope(
        found.get("ce_id"),
        found.get("ce_source"),
        found.get("ce_type"),
        found.get("ce_time"),
        found.get("ce_subject"),
        trace if trace is not None and _TRACEPARENT.fullmatch(trace) else None,
    )


def _id_of(message: Any) -> str | None:
    """Return the message's own unique id, or else one made from its topic and position or revision."""
    if (store := getattr(message, "store", None)) is not None:  # the mirror's memory: one record per revision
        about = _subject_of(message)
        return f"{MIRRORS}:{store}:{f'{about}:' if about else ''}{message.revision}"
    for name in _ID_FIELDS:
        if (text := getattr(message, name, None)) is not None:
            return str(text)
    position = getattr(message, "position", None) or getattr(message, "as_of", None)
    if position is None:
        return None
    from crl_stream.wire.topics import TOPIC_OF  # it imports every message, and those of a client have an id

    return f"{TOPIC_OF[type(message)]}:{position.partition}:{position.offset}"


def _subject_of(message: Any) -> str | None:
    agent_name, task_type = getattr(message, "agent_name", None), getattr(message, "task_type", None)
    return f"{agent_name}/{task_type}" if agent_name and task_type else None
