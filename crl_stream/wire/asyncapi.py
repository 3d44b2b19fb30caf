"""The AsyncAPI 3.0 document: the whole contract, for tools.

Operations are described from crl-stream's side: it receives what others send. Payloads refer to the files in
``schemas/``, relative to the document.
"""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core import messages as m
from crl_stream.core.identity import IDENTIFIER_PATTERN
from crl_stream.wire import dead_letter, reasons
from crl_stream.wire.catalog import Catalog, TopicSpec
from crl_stream.wire.cloudevents import HEADER_MEANING
from crl_stream.wire.schemas import schema_name
from crl_stream.wire.topics import (
    BRIDGE_INBOX,
    DEAD_LETTERS,
    FLEET_KEY,
    INVOCATIONS,
    MESSAGES,
    MIRRORS,
    OVERVIEW_KEY,
    POLICY_KEY,
    PROPOSALS,
    TICK_KEY,
)

KAFKA_BINDING: Final = "0.5.0"
OUTSIDE: Final = frozenset(("runtime", "operator"))
"""Writers that are not part of crl-stream."""

_NAME: Final = IDENTIFIER_PATTERN[1:-1]
_TASK_KEY: Final = {
    "type": "string",
    "description": "The task: agent_name and task_type of the payload.",
    "pattern": f"^{_NAME}/{_NAME}$",
}
_POLICY_KEY: Final = {"type": "string", "const": POLICY_KEY.decode()}
_FLEET_KEY: Final = {"type": "string", "const": FLEET_KEY.decode()}
_MARK: Final = "dead_letters.ReplayMark"
_FOR_ALL_TASKS: Final = frozenset((m.SetPolicy,))
_FOR_THE_FLEET: Final = frozenset((m.HoldAll, m.ResumeAll, m.ReportTag))
_FOR_ONE_OR_ALL: Final = frozenset((m.CommandRef, m.CommandResult))


def asyncapi_document(catalog: Catalog) -> dict[str, Any]:
    """Return the document for every topic of ``catalog``; it refers to files beside it, never to a host."""
    specs = catalog.topics
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "crl-stream",
            "version": f"{m.SCHEMA_VERSION}.0.0",
            "description": (
                "A safety layer for fleets of AI agents. Agent runtimes publish one event per finished "
                "invocation; degraded variants are rolled back, and every step is published. "
                "Readers ignore fields they do not know; a breaking change is a new topic."
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {_id(spec.name): _channel(spec) for spec in specs},
        "operations": {name: body for spec in specs for name, body in _operations(spec)},
        "components": {
            "messages": {
                _message_id(topic, kind): _message(topic, kind) for topic, kinds in MESSAGES.items() for kind in kinds
            }
            | {_id(DEAD_LETTERS): _dead_letter(), _MARK: _replay_mark(), _id(BRIDGE_INBOX): _bridge_input()},
            "messageTraits": {"cloudEvents": _cloud_events()},
        },
    }


def _id(topic: str) -> str:
    """Turn ``crl.active-variants`` into ``active_variants``, which is a valid identifier in any language."""
    return topic.removeprefix("crl.").replace("-", "_").replace(".", "_")


def _message_id(topic: str, kind: type) -> str:
    return f"{_id(topic)}.{kind.__name__}"


def _ids(topic: str) -> list[str]:
    found = [_message_id(topic, kind) for kind in MESSAGES[topic]] or [_id(topic)]
    return [*found, _MARK] if topic == DEAD_LETTERS else found


def _channel(spec: TopicSpec) -> dict[str, Any]:
    kafka: dict[str, Any] = {
        "topic": spec.name,
        "topicConfiguration": {
            "cleanup.policy": spec.cleanup.split(","),
            "max.message.bytes": spec.max_message_bytes,
        },
        "bindingVersion": KAFKA_BINDING,
    }
    if spec.retention_ms is not None:
        kafka["topicConfiguration"]["retention.ms"] = spec.retention_ms
    if spec.partitions != "log":
        kafka["partitions"] = spec.partitions
    return {
        "address": spec.name,
        "title": spec.name,
        "description": (
            f"{spec.what}\n\nKey: {spec.key}. Written by {_listed(spec.writers)}; read by "
            f"{_listed(spec.readers)}. {spec.guarantee}"
        ),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _ids(spec.name)},
        "bindings": {"kafka": kafka},
    }


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _operations(spec: TopicSpec) -> list[tuple[str, dict[str, Any]]]:
    """Return the operations of a topic: receive if others write it, send if crl-stream writes it."""
    channel = _id(spec.name)
    writers = frozenset(spec.writers)
    found = []
    if writers & OUTSIDE:
        found.append(("receive", "Received."))
    if writers - OUTSIDE:
        found.append(("send", "Published."))
    return [
        (
            f"{action}_{channel}",
            {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "summary": f"{how} {spec.what}",
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in _ids(spec.name)],
            },
        )
        for action, how in found
    ]


def _message(topic: str, kind: type) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": kind.__name__,
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "contentType": "application/json",
        "payload": {"$ref": f"./schemas/{schema_name(topic, kind)}"},
        "bindings": {"kafka": {"key": _key(topic, kind), "bindingVersion": KAFKA_BINDING}},
    }
    if topic == INVOCATIONS and kind not in {m.CommandRef, m.Tick}:
        body["traits"] = [{"$ref": "#/components/messageTraits/cloudEvents"}]
    return body


def _key(topic: str, kind: type) -> dict[str, Any]:
    if topic == PROPOSALS:
        return {"type": "string", "description": "The proposal_id.", "pattern": IDENTIFIER_PATTERN}
    if topic == MIRRORS:
        return {"type": "string", "description": "The store; for a label, followed by a colon and the task."}
    if kind in _FOR_ALL_TASKS:
        return _POLICY_KEY
    if kind in _FOR_THE_FLEET:
        return _FLEET_KEY
    if kind in _FOR_ONE_OR_ALL:
        return {"oneOf": [_TASK_KEY, _POLICY_KEY, _FLEET_KEY]}
    if kind is m.Tick:
        return {"type": "string", "const": TICK_KEY.decode()}
    if kind is m.Overview:
        return {"type": "string", "const": OVERVIEW_KEY.decode()}
    if kind in {m.Alert, m.AlertNote}:
        return {"type": "string", "description": "The task, or what the alert is about."}
    return _TASK_KEY


def _cloud_events() -> dict[str, Any]:
    return {
        "headers": {
            "type": "object",
            "description": "All optional: CloudEvents 1.0 in binary mode, and W3C trace context.",
            "properties": {
                name: {"type": "string", "description": meaning} for name, meaning in HEADER_MEANING.items()
            },
        }
    }


def _dead_letter() -> dict[str, Any]:
    texts = {
        dead_letter.MESSAGE: "One sentence for people.",
        dead_letter.TOPIC: "The topic that the record was read from.",
        dead_letter.PARTITION: "The partition that it was read from, in decimal digits.",
        dead_letter.OFFSET: "Its offset in that partition, in decimal digits.",
    }
    return {
        "name": "DeadLetter",
        "title": "DeadLetter",
        "summary": "A record that could not be used: its own key, value and headers, and why.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {
                dead_letter.REASON: {"type": "string", "enum": list(reasons.MEANING)},
                **{name: {"type": "string", "description": text} for name, text in texts.items()},
                dead_letter.CUT: {
                    "type": "string",
                    "description": "Sizes and SHA-256 of the whole key and value if only their beginning is kept, "
                    "and how many headers were left out.",
                },
                dead_letter.BATCH: {
                    "type": "string",
                    "description": "If the value is a whole unread batch: its offsets, number of records and codec.",
                },
            },
            "required": [dead_letter.REASON, *texts],
        },
        "payload": {"description": "The original bytes, whatever they were; only the beginning if they exceed 1 MiB."},
    }


def _bridge_input() -> dict[str, Any]:
    text = "How far the other system has been read, on the last record of each batch; only its bridge reads it."
    return {
        "name": "BridgeInput",
        "title": "BridgeInput",
        "summary": "One score that a bridge has fetched, or one call of its webhook, unchanged.",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "properties": {"crl-cursor": {"type": "string", "description": text}}},
        "payload": {"description": "The original bytes; empty for a record that has only a cursor."},
    }


def _replay_mark() -> dict[str, Any]:
    texts = {
        dead_letter.REPLAYED_TOPIC: "The topic that the record was originally read from, and was sent back to.",
        dead_letter.REPLAYED_PARTITION: "The partition that it was originally read from, in decimal digits.",
        dead_letter.REPLAYED_OFFSET: "Its original offset in that partition, in decimal digits.",
        dead_letter.REPLAYED_TO_PARTITION: "The partition that it was sent back to, in decimal digits.",
        dead_letter.REPLAYED_TO_OFFSET: "Its offset in that partition, in decimal digits.",
        dead_letter.REPLAYED_BY: "Who sent it back.",
    }
    return {
        "name": "ReplayMark",
        "title": "ReplayMark",
        "summary": "An earlier dead letter in the same partition was sent back to its topic.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {name: {"type": "string", "description": text} for name, text in texts.items()},
            "required": list(texts),
        },
        "payload": {"description": "Empty."},
    }
