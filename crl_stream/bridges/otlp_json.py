"""Reads spans and events from OTLP as JSON, the encoding ``otlp_json`` of the Collector's Kafka exporter.

Ids are hex, and 64-bit numbers are text or numbers. Unknown fields are skipped, and a field of another type counts as
absent. Only if the structure itself is wrong, ``Malformed`` is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from crl_stream.bridges.protobuf import Malformed
from crl_stream.bridges.spans import Event, Scalar, Span

_ERROR: Final = (2, "2", "STATUS_CODE_ERROR")
_MOST: Final = 2**64
_DIGITS: Final = 20


def read_spans(page: dict[str, Any]) -> list[Span]:
    """Return the spans of a ``TracesData`` object, in order."""
    return [_span(found, resource) for found, resource in _scoped(page, "resourceSpans", "scopeSpans", "spans")]


def read_events(page: dict[str, Any]) -> list[Event]:
    """Return the records of a ``LogsData`` object, in order."""
    return [_log_record(one, resource) for one, resource in _scoped(page, "resourceLogs", "scopeLogs", "logRecords")]


def _scoped(page: dict[str, Any], outer: str, inner: str, items: str) -> Iterator[tuple[dict[str, Any], Any]]:
    for whole in _objects(page, outer):
        resource = whole.get("resource")
        attributes = _attributes(resource.get("attributes")) if isinstance(resource, dict) else {}
        for scope in _objects(whole, inner):
            for item in _objects(scope, items):
                yield item, attributes


def _objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = holder.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Malformed(f"{name} is not a list of objects")
    return found


def _span(data: dict[str, Any], resource: dict[str, Scalar]) -> Span:
    status = data.get("status")
    events = (
        Event(_text(one.get("name")), _time(one.get("timeUnixNano")), _attributes(one.get("attributes")))
        for one in _objects(data, "events")
    )
    return Span(
        _id(data.get("traceId")),
        _id(data.get("spanId")),
        _id(data.get("parentSpanId")),
        _time(data.get("startTimeUnixNano")),
        _time(data.get("endTimeUnixNano")),
        isinstance(status, dict) and status.get("code") in _ERROR,
        _attributes(data.get("attributes")),
        resource,
        tuple(events),
    )


def _log_record(data: dict[str, Any], resource: dict[str, Scalar]) -> Event:
    return Event(
        _text(data.get("eventName")),
        _time(data.get("timeUnixNano")) or _time(data.get("observedTimeUnixNano")),
        _attributes(data.get("attributes")),
        resource,
        _id(data.get("traceId")),
        _id(data.get("spanId")),
    )


def _attributes(entries: Any) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        key, value = entry.get("key"), _scalar(entry.get("value"))
        if isinstance(key, str) and value is not None:
            found.setdefault(key, value)
    return found


def _scalar(value: Any) -> Scalar | None:
    """Return the value of an attribute; None for lists, maps and bytes."""
    if not isinstance(value, dict):
        return None
    if isinstance(text := value.get("stringValue"), str):
        return text
    if isinstance(truth := value.get("boolValue"), bool):
        return truth
    if (whole := value.get("intValue")) is not None:
        return _integer(whole)
    number = value.get("doubleValue")
    if isinstance(number, str):
        return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.get(number)
    return float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None


def _integer(value: Any) -> int | None:
    """Return a 64-bit number that is written as a number or as text."""
    if isinstance(value, str) and len(value) <= _DIGITS and value.removeprefix("-").isascii():
        return int(value) if value.removeprefix("-").isdigit() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: Any) -> int:
    found = _integer(value)
    return found if found is not None and 0 <= found < _MOST else 0


def _id(value: Any) -> str:
    return value.lower() if isinstance(value, str) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
