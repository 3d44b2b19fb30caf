"""Generates JSON Schemas of the messages from their classes, for programs in any language.

Each file is self-contained. A schema expresses all checks that the codec makes on a single value, except three that
JSON Schema cannot express: that an integer is written without a fraction, that a time exists in the calendar, and that
the record's key matches its task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FieldDocs = Mapping[type, Mapping[str, str]]
"""Maps a class and a field to the field's description."""


def schema_name(topic: str, kind: type) -> str:
    """Return the file name of the schema of ``kind`` on ``topic``."""
    return f"{topic}.{kind.__name__}.v{m.SCHEMA_VERSION}.json"


def message_schema(topic: str, kind: type, docs: FieldDocs) -> dict[str, Any]:
    """Return the self-contained schema of one message."""
    (reference,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = components.pop(reference["$ref"].rpartition("/")[2])
    classes = {name: _class_named(kind, name) for name in components}
    for name, component in components.items():
        known = classes[name]
        _describe(component, {} if known is None else docs[known])
    _describe(own, docs[kind])
    if rule := _RULES.get(kind):
        own |= rule
    schema = {
        "$schema": DIALECT,
        "$id": f"urn:crl-stream:{topic}:{kind.__name__}:v{m.SCHEMA_VERSION}",
        **own,
    }
    if components:
        schema["$defs"] = dict(sorted(components.items()))
    return schema


def _describe(schema: dict[str, Any], docs: Mapping[str, str]) -> None:
    for name, field in schema.get("properties", {}).items():
        # From draft 2019-09 on, a description is allowed next to a reference, so the field keeps its own description.
        if name in docs:
            field["description"] = docs[name]
        if field.get("default", ...) is None:
            del field["default"]


def _class_named(root: type, name: str) -> type | None:
    """Return the struct called ``name`` among those used by ``root``."""
    found: dict[str, type] = {}

    def walk(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ in found:
                return
            found[info.cls.__name__] = info.cls
            for field in info.fields:
                walk(field.type)
        for part in ("type", "item_type", "value_type"):
            if inner := getattr(info, part, None):
                walk(inner)
        for inner in getattr(info, "types", ()):
            walk(inner)

    walk(msgspec.inspect.type_info(root))
    return found.get(name)


def _given(name: str, kind: str) -> dict[str, Any]:
    return {"properties": {name: {"type": kind}}, "required": [name]}


def _absent(*names: str) -> dict[str, Any]:
    return {"properties": {name: {"type": "null"} for name in names}}


_RULES: Final[dict[type, dict[str, Any]]] = {
    m.Invocation: {"not": {"required": ["type"]}},
    m.Feedback: {"anyOf": [_given("reward", "number"), _given("quality", "number")]},
    m.CommandRef: {
        "anyOf": [
            {"allOf": [_given("agent_name", "string"), _given("task_type", "string")]},
            _absent("agent_name", "task_type"),
        ]
    },
}
"""Constraints between fields."""
