"""Reads spans and events from OTLP in Protocol Buffers, the default encoding of the Collector's Kafka exporter.

The numbers are those of opentelemetry-proto, release 1. Unknown fields are skipped. Every function raises ``Malformed``
for bytes that are not the message it reads, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from crl_stream.bridges.protobuf import BYTES, FIXED64, VARINT, Malformed, Value, double, fields, signed
from crl_stream.bridges.spans import Event, Scalar, Span


def read_spans(data: bytes) -> list[Span]:
    """Return the spans of a ``TracesData`` message, in order."""
    return [_span(found, resource) for found, resource in _scoped(data)]


def read_events(data: bytes) -> list[Event]:
    """Return the records of a ``LogsData`` message, in order."""
    return [_log_record(found, resource) for found, resource in _scoped(data)]


def _scoped(data: bytes) -> Iterator[tuple[bytes, dict[str, Scalar]]]:
    """Yield each span or log record with its resource's attributes; both signals are wrapped in the same way."""
    for whole in _messages(data, 1):
        resource: dict[str, Scalar] = {}
        for one in _messages(whole, 1):
            resource = _attributes(_messages(one, 1))
        for scope in _messages(whole, 2):
            for item in _messages(scope, 2):
                yield item, resource


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    for number, wire, value in fields(data):
        if number == wanted:
            yield _bytes(wire, value)


def _span(data: bytes, resource: dict[str, Scalar]) -> Span:
    ids = {1: "", 2: "", 4: ""}
    times = {7: 0, 8: 0}
    attributes, events, failed = list[bytes](), list[Event](), False
    for number, wire, value in fields(data):
        if number in ids:
            ids[number] = _bytes(wire, value).hex()
        elif number in times:
            times[number] = _number(wire, value, FIXED64)
        elif number == 9:
            attributes.append(_bytes(wire, value))
        elif number == 11:
            events.append(_event(_bytes(wire, value)))
        elif number == 15:
            failed = any(n == 3 and _number(w, v, VARINT) == 2 for n, w, v in fields(_bytes(wire, value)))
    return Span(ids[1], ids[2], ids[4], times[7], times[8], failed, _attributes(attributes), resource, tuple(events))


def _event(data: bytes) -> Event:
    name, time, attributes = "", 0, list[bytes]()
    for number, wire, value in fields(data):
        if number == 1:
            time = _number(wire, value, FIXED64)
        elif number == 2:
            name = _text(_bytes(wire, value))
        elif number == 3:
            attributes.append(_bytes(wire, value))
    return Event(name, time, _attributes(attributes))


def _log_record(data: bytes, resource: dict[str, Scalar]) -> Event:
    name, trace_id, span_id = "", "", ""
    times, attributes = {1: 0, 11: 0}, list[bytes]()
    for number, wire, value in fields(data):
        if number in times:
            times[number] = _number(wire, value, FIXED64)
        elif number == 6:
            attributes.append(_bytes(wire, value))
        elif number == 9:
            trace_id = _bytes(wire, value).hex()
        elif number == 10:
            span_id = _bytes(wire, value).hex()
        elif number == 12:
            name = _text(_bytes(wire, value))
    return Event(name, times[1] or times[11], _attributes(attributes), resource, trace_id, span_id)


def _attributes(entries: Iterator[bytes] | list[bytes]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for entry in entries:
        key, value = "", None
        for number, wire, content in fields(entry):
            if number == 1:
                key = _text(_bytes(wire, content))
            elif number == 2:
                value = _scalar(_bytes(wire, content))
        if value is not None:
            found.setdefault(key, value)
    return found


def _scalar(data: bytes) -> Scalar | None:
    """Return the value of an attribute; None for lists, maps and bytes."""
    found: Scalar | None = None
    for number, wire, value in fields(data):
        if number == 1:
            found = _text(_bytes(wire, value))
        elif number == 2:
            found = bool(_number(wire, value, VARINT))
        elif number == 3:
            found = signed(_number(wire, value, VARINT))
        elif number == 4:
            found = double(_number(wire, value, FIXED64))
        else:
            found = None
    return found


def _bytes(wire: int, value: Value) -> bytes:
    if wire != BYTES or not isinstance(value, bytes):
        raise Malformed("a field that should hold bytes holds a number")
    return value


def _number(wire: int, value: Value, wanted: int) -> int:
    if wire != wanted or not isinstance(value, int):
        raise Malformed("a field that should hold a number holds something else")
    return value


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None
