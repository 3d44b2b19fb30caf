"""Writes OTLP in both encodings, for tests: one description of a trace gives JSON and Protocol Buffers."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from crl_stream.bridges.kinds import KINDS
from crl_stream.bridges.mapping import Mapped, outputs_of
from crl_stream.wire.codec import decode
from crl_stream.wire.records import Output
from crl_stream.wire.topics import INVOCATIONS

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RECEIVED = 1_764_000_000_000
START = 1_763_562_600_000_000_000


def span(number: int, attributes: dict[str, Any], parent: int = 0, **more: Any) -> dict[str, Any]:
    """Describe a span; its id is ``number``, and 0 as ``parent`` means none."""
    return {
        "trace": TRACE,
        "id": f"{number:016x}",
        "parent": f"{parent:016x}" if parent else "",
        "start": START,
        "end": START + 2_000_000_000,
        "status": 0,
        "attributes": attributes,
        "events": [],
    } | more


def agent_span(number: int, parent: int = 0, name: str = "helper", **more: Any) -> dict[str, Any]:
    """Describe a span of an agent, with the attributes in ``own`` beside the usual ones."""
    own = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "gen_ai.agent.version": "v1",
        "crl.task_type": "task",
    }
    return span(number, own | more.pop("own", {}), parent, **more)


def evaluation(score: Any, name: str = "helpful", time: int = START, **more: Any) -> dict[str, Any]:
    """Describe an event with the result of an evaluator."""
    attributes = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": score} | more
    return {"name": "gen_ai.evaluation.result", "time": time, "attributes": attributes}


# -- JSON ----------------------------------------------------------------------------------------------
def _any_json(value: Any) -> Any:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _word(value)}
    if isinstance(value, bytes):
        return {"bytesValue": "AAAA"}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_json(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes_json(value)}}
    return {"stringValue": value}


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _attributes_json(attributes: dict[str, Any]) -> list[Any]:
    return [{"key": key, "value": _any_json(value)} for key, value in attributes.items()]


def _event_json(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": event["name"],
        "timeUnixNano": str(event["time"]),
        "attributes": _attributes_json(event["attributes"]),
    }


def as_json(spans: Iterable[dict[str, Any]], resource: dict[str, Any] | None = None) -> bytes:
    """Return spans as the Collector writes them with ``otlp_json``."""
    found = [
        {
            "traceId": one["trace"],
            "spanId": one["id"],
            "parentSpanId": one["parent"],
            "name": "span",
            "kind": 1,
            "startTimeUnixNano": str(one["start"]),
            "endTimeUnixNano": str(one["end"]),
            "attributes": _attributes_json(one["attributes"]),
            "events": [_event_json(event) for event in one["events"]],
            "status": {"code": one["status"]} if one["status"] else {},
        }
        for one in spans
    ]
    holder = {"resource": {"attributes": _attributes_json(resource or {})}, "scopeSpans": [{"spans": found}]}
    return json.dumps({"resourceSpans": [holder]}).encode("utf-8", "surrogatepass")


def logs_as_json(events: Iterable[dict[str, Any]], resource: dict[str, Any] | None = None) -> bytes:
    """Return log records with the ids in ``trace`` and ``id`` of each event."""
    found = [
        {
            "timeUnixNano": str(one["time"]),
            "observedTimeUnixNano": str(one.get("observed", 0)),
            "eventName": one["name"],
            "traceId": one.get("trace", TRACE),
            "spanId": one.get("id", ""),
            "attributes": _attributes_json(one["attributes"]),
        }
        for one in events
    ]
    holder = {"resource": {"attributes": _attributes_json(resource or {})}, "scopeLogs": [{"logRecords": found}]}
    return json.dumps({"resourceLogs": [holder]}).encode()


# -- Protocol Buffers ------------------------------------------------------------------------------------
def varint(value: int) -> bytes:
    """Return a number in Protocol Buffers' variable length."""
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def lengthy(number: int, data: bytes) -> bytes:
    """Return a field that holds bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def fixed(number: int, value: int) -> bytes:
    """Return a field that holds eight bytes."""
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def _any_proto(value: Any) -> bytes:
    if isinstance(value, bool):
        return varint(2 << 3) + varint(value)
    if isinstance(value, int):
        return varint(3 << 3) + varint(value)
    if isinstance(value, float):
        return varint(4 << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, bytes):
        return lengthy(7, value)
    if isinstance(value, list):
        return lengthy(5, b"".join(lengthy(1, _any_proto(one)) for one in value))
    if isinstance(value, dict):
        return lengthy(6, _attributes_proto(value, 1))
    return lengthy(1, value.encode())


def _attributes_proto(attributes: dict[str, Any], number: int) -> bytes:
    return b"".join(
        lengthy(number, lengthy(1, key.encode()) + lengthy(2, _any_proto(value))) for key, value in attributes.items()
    )


def _event_proto(event: dict[str, Any]) -> bytes:
    return fixed(1, event["time"]) + lengthy(2, event["name"].encode()) + _attributes_proto(event["attributes"], 3)


def as_proto(spans: Iterable[dict[str, Any]], resource: dict[str, Any] | None = None) -> bytes:
    """Return spans as the Collector writes them with ``otlp_proto``."""
    found = b"".join(
        lengthy(
            2,
            lengthy(1, bytes.fromhex(one["trace"]))
            + lengthy(2, bytes.fromhex(one["id"]))
            + lengthy(4, bytes.fromhex(one["parent"]))
            + lengthy(5, b"span")
            + fixed(7, one["start"])
            + fixed(8, one["end"])
            + _attributes_proto(one["attributes"], 9)
            + b"".join(lengthy(11, _event_proto(event)) for event in one["events"])
            + lengthy(15, varint(3 << 3) + varint(one["status"])),
        )
        for one in spans
    )
    return lengthy(1, lengthy(1, _attributes_proto(resource or {}, 1)) + lengthy(2, found))


def logs_as_proto(events: Iterable[dict[str, Any]], resource: dict[str, Any] | None = None) -> bytes:
    """Return log records like those of ``logs_as_json``."""
    found = b"".join(
        lengthy(
            2,
            fixed(1, one["time"])
            + fixed(11, one.get("observed", 0))
            + _attributes_proto(one["attributes"], 6)
            + lengthy(9, bytes.fromhex(one.get("trace", TRACE)))
            + lengthy(10, bytes.fromhex(one.get("id", "")))
            + lengthy(12, one["name"].encode()),
        )
        for one in events
    )
    return lengthy(1, lengthy(1, _attributes_proto(resource or {}, 1)) + lengthy(2, found))


# -- mapping ---------------------------------------------------------------------------------------------
def record(value: bytes | None, headers: Any = (), key: bytes | None = None) -> Any:
    """Return a consumed record."""
    return SimpleNamespace(offset=7, timestamp=RECEIVED, key=key, value=value, headers=headers)


def mapped(kind: str, value: bytes | None, headers: Any = (), **options: Any) -> Mapped:
    """Map one record with a bridge of ``kind``."""
    chosen = KINDS[kind].options.model_validate({"kind": kind} | options)
    return KINDS[kind].map(chosen, record(value, headers))


def written(found: Mapped, value: bytes | None) -> list[Output]:
    """Return what a bridge writes for a mapped record, after checking that the log accepts every message."""
    outputs = outputs_of("bridge", "topic", (0, 4), record(value), found)
    for output in outputs:
        if output.topic == INVOCATIONS:
            assert hasattr(decode(INVOCATIONS, output.value, output.key), "message")
    return outputs
