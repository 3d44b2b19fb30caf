"""CloudEvents in Kafka's structured and binary modes: one event in, one outcome or score out.

The event's data is a message of crl-stream. If the data lacks the id, the time, the agent or the task, the event
supplies it; its subject is ``agent_name/task_type``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import orjson
from pydantic import Field, field_validator

from crl_stream.bridges.mapping import Fault, Mapped, Message, fault
from crl_stream.bridges.names import derived_id, mended, text_in
from crl_stream.bridges.options import BridgeOptions, TopicName
from crl_stream.bridges.scores import milliseconds
from crl_stream.core import messages as m
from crl_stream.core.identity import is_identifier
from crl_stream.core.instant import to_text
from crl_stream.wire import reasons
from crl_stream.wire.complaints import explain, plain
from crl_stream.wire.records import Headers, Record, UnreadBatch
from crl_stream.wire.strict_json import Bad, parse_object

Types = Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
_STRUCTURED: Final = "application/cloudevents"
_BATCHED: Final = "application/cloudevents-batch"
_JSON: Final = "+json"
_FEEDBACK: Final = "feedback"


class CloudEventsOptions(BridgeOptions):
    """``kind = "cloudevents"``."""

    topic: TopicName
    """The topic with the events."""
    outcome_types: Types = ("crl.Invocation.v1",)
    """Values of the attribute type that mean a finished invocation."""
    score_types: Types = ("crl.Feedback.v1",)
    """Values of the attribute type that mean a late score."""

    @field_validator("outcome_types", "score_types", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    def source(self) -> str:
        """Return the topic with the events."""
        return self.topic


class _Event(NamedTuple):
    """A CloudEvent, read from either mode."""

    id: str
    source: str
    type: str
    time: str | None
    subject: str | None
    data: dict[str, Any]


def map_record(options: CloudEventsOptions, record: Record) -> Mapped:
    """Return the outcome or score in one CloudEvent."""
    if type(record) is UnreadBatch:
        return fault(record.reason, record.detail)
    if record.value is None:
        return fault(reasons.NULL_VALUE, "the record has no value; expected a CloudEvent")
    event = _read(record.headers, record.value)
    if isinstance(event, Fault):
        return Mapped([], [event])
    if event.type in options.outcome_types:
        return _mapped(_outcome(event, record.timestamp), m.Invocation)
    if event.type in options.score_types:
        return _mapped(_score(event, record.timestamp), m.Feedback)
    known = ", ".join((*options.outcome_types, *options.score_types))
    return fault(reasons.UNKNOWN_TYPE, f"type: expected one of {known[:200]}, not {event.type[:100]!r}")


def _mapped(fields: dict[str, Any], kind: type) -> Mapped:
    try:
        return Mapped([Message(msgspec.convert(fields, kind))], [])
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        return fault(*explain(error, kind))


# -- modes ---------------------------------------------------------------------------------------------
def _read(headers: Headers, value: bytes) -> _Event | Fault:
    found: dict[str, str] = {}
    for name, content in headers or ():
        found.setdefault(name.lower(), (content or b"").decode("utf-8", "replace"))
    kind = found.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(_BATCHED):
        return Fault(reasons.NOT_A_CLOUDEVENT, "the record is a batch of events; write each event as its own record")
    if kind.startswith(_STRUCTURED) and kind.endswith(_JSON):
        return _structured(value)
    if "ce_specversion" in found:
        return _binary(found, kind, value)
    why = "the record has neither the header ce_specversion nor the content-type application/cloudevents+json"
    return Fault(reasons.NOT_A_CLOUDEVENT, why)


def _structured(value: bytes) -> _Event | Fault:
    page = parse_object(value)
    if isinstance(page, Bad):
        return Fault(page.reason, plain(page.detail))
    data = page.get("data")
    if data is None and isinstance(page.get("data_base64"), str):
        try:
            data = orjson.loads(base64.b64decode(page["data_base64"], validate=True))
        except (binascii.Error, ValueError):
            return Fault(reasons.NOT_JSON, "data_base64: expected a JSON object in base64")
    return _event(page, data)


def _binary(headers: Mapping[str, str], kind: str, value: bytes) -> _Event | Fault:
    if kind and kind.rpartition("/")[2].rpartition("+")[2] != "json":
        return Fault(reasons.NOT_JSON, f"content-type: expected application/json, not {kind[:100]!r}")
    data = parse_object(value)
    if isinstance(data, Bad):
        return Fault(data.reason, plain(data.detail))
    return _event({name.removeprefix("ce_"): text for name, text in headers.items() if name.startswith("ce_")}, data)


def _event(attributes: Mapping[str, Any], data: Any) -> _Event | Fault:
    version = attributes.get("specversion")
    if version != "1.0":
        return Fault(reasons.NOT_A_CLOUDEVENT, f"specversion: expected 1.0, not {version!r:.40}")
    for name in ("id", "source", "type"):
        if not isinstance(text := attributes.get(name), str) or not text:
            return Fault(reasons.MISSING_FIELD, f"{name}: required in every CloudEvent")
    if not isinstance(data, dict):
        return Fault(reasons.NOT_AN_OBJECT, "data: expected a JSON object")
    time, subject = attributes.get("time"), attributes.get("subject")
    return _Event(
        attributes["id"],
        attributes["source"],
        attributes["type"],
        time if isinstance(time, str) else None,
        subject if isinstance(subject, str) else None,
        data,
    )


# -- messages --------------------------------------------------------------------------------------------
def _common(event: _Event, received: int, id_field: str) -> dict[str, Any]:
    """Return the data with what the event adds to it; names from elsewhere are mended."""
    fields = {"schema_version": 1} | event.data
    fields.setdefault(id_field, event.id if is_identifier(event.id) else derived_id("ce", event.source, event.id))
    fields["timestamp"] = _utc(fields.get("timestamp", event.time), received)
    agent_name, slash, task_type = (event.subject or "").partition("/")
    if slash:
        fields.setdefault("agent_name", agent_name)
        fields.setdefault("task_type", task_type)
    for name in ("agent_name", "task_type", "variant_id"):
        text = text_in(fields.get(name))
        if text is not None and (found := mended(text)) is not None:
            fields[name] = found
    return fields


def _outcome(event: _Event, received: int) -> dict[str, Any]:
    return _common(event, received, "invocation_id")


def _score(event: _Event, received: int) -> dict[str, Any]:
    return _common(event, received, "feedback_id") | {"type": _FEEDBACK}


def _utc(time: Any, received: int) -> Any:
    """Return a time as UTC, also one without an offset; the time of arrival if there is none; a wrong one unchanged."""
    if time is None:
        return to_text(max(0, received))
    found = None if isinstance(time, str) and time.endswith("Z") else milliseconds(time)
    return time if found is None else to_text(found)


OPTIONS = CloudEventsOptions
MAP = map_record
ARRIVES: Final = "kafka"
