"""The content of the file that ``crl sync`` writes. Everything is sorted, so the same state makes the same bytes.

``docs/openfeature.md`` describes the formats; ``format`` and ``version`` change when a reader would have to change.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from crl_stream.cli.sync.yaml_text import yaml_of
from crl_stream.client.following import View
from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey

FORMAT: Final = "crl-sync"
VERSION: Final = 1
BUCKET: Final = "crl_bucket"
"""An attribute of the evaluation context: the session's bucket as ``topics/README.md`` says, 0 to 999."""
VARIANT: Final = "variant"
"""The last part of a flag key whose value is the variant's id: ``agent/task/variant``."""


def plain(view: View) -> dict[str, Any]:
    """Return the tasks as a document for programs that choose for themselves."""
    tasks = {str(key): _task(active, _variants(view, key)) for key, active in _tasks(view)}
    return {"format": FORMAT, "version": VERSION, "tasks": tasks}


def flagd(view: View) -> dict[str, Any]:
    """Return the tasks as flags of flagd."""
    flags: dict[str, Any] = {}
    for key, active in _tasks(view):
        variants = _variants(view, key)
        ids = sorted({active.variant_id, *(active.weights or {}), *(v for v, one in variants.items() if _usable(one))})
        flags[f"{key}/{VARIANT}"] = _flag(active, {name: name for name in ids})
        objects = {name: variants[name].configuration for name in ids if name in variants}
        objects = {name: value for name, value in objects.items() if value is not None}
        if active.variant_id in objects:
            flags[str(key)] = _flag(active, objects)
    return {
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "metadata": {"format": FORMAT, "version": VERSION},
        "flags": dict(sorted(flags.items())),
    }


def without_configuration(view: View) -> list[str]:
    """Return the tasks whose active variant has no configuration, so that flagd has no object for them."""
    found = []
    for key, active in _tasks(view):
        variant = _variants(view, key).get(active.variant_id)
        if variant is None or variant.configuration is None:
            found.append(str(key))
    return found


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


FORMATS: Final[dict[str, Callable[[View], str]]] = {
    "flagd": lambda view: _json(flagd(view)),
    "json": lambda view: _json(plain(view)),
    "yaml": lambda view: yaml_of(plain(view)),
}
"""The text of each format."""


def _tasks(view: View) -> list[tuple[TaskKey, m.ActiveVariant]]:
    """Return the tasks that runtimes work on, without drill tasks, sorted by name."""
    return sorted((key, active) for key, active in view.active.items() if not is_drill(key.agent_name))


def _variants(view: View, key: TaskKey) -> dict[str, m.RegisteredVariant]:
    known = view.known.get(key)
    return {} if known is None else {variant.variant_id: variant for variant in known.variants}


def _usable(variant: m.RegisteredVariant) -> bool:
    return variant.state != "retired"


def _task(active: m.ActiveVariant, variants: dict[str, m.RegisteredVariant]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "agent_name": active.agent_name,
        "task_type": active.task_type,
        "variant_id": active.variant_id,
        "epoch": active.epoch,
        "since": active.since,
        "cause": active.cause,
        "on_change": active.on_change,
        "quarantined": sorted(active.quarantined),
        "variants": {name: _variant(one) for name, one in sorted(variants.items())},
    }
    if active.weights is not None:
        found["weights"] = dict(sorted(active.weights.items()))
    if active.rollback_id is not None:
        found["rollback_id"] = active.rollback_id
    return found


def _variant(variant: m.RegisteredVariant) -> dict[str, Any]:
    known = {"configuration": variant.configuration, "ref": variant.ref, "model": variant.model}
    return {"state": variant.state} | {name: value for name, value in known.items() if value is not None}


def _flag(active: m.ActiveVariant, values: dict[str, Any]) -> dict[str, Any]:
    # A rule answers TARGETING_MATCH for every variant, so only this tells a runtime whether it has got the active one.
    metadata: dict[str, Any] = {"epoch": active.epoch, "source": "file", "active_variant": active.variant_id}
    if active.rollback_id is not None:
        metadata["rollback_id"] = active.rollback_id
    flag: dict[str, Any] = {
        "state": "ENABLED",
        "variants": values,
        "defaultVariant": active.variant_id,
        "metadata": metadata,
    }
    if active.weights is not None:
        flag["targeting"] = _targeting(active, active.weights, values)
    return flag


def _targeting(active: m.ActiveVariant, weights: dict[str, int], values: dict[str, Any]) -> dict[str, Any]:
    """Return a rule that gives the shares: exactly ours if the context has ``crl_bucket``, else by flagd's own hash.

    The variants other than the active one come first in both, so that a session keeps the candidate in later stages.
    A variant without a value in this flag leaves its share to the active one.
    """
    shares = [(name, weights[name] if name in values else 0) for name in sorted(weights) if name != active.variant_id]
    ends, end = [], 0
    for name, share in shares:
        # Buckets are counted as if every variant had a value, so that no session changes when one gets it.
        end += weights[name]
        ends += [{"<": [{"var": BUCKET}, end]}, name if share else active.variant_id]
    ours: Any = {"if": [*ends, active.variant_id]} if ends else active.variant_id
    rest = 1_000 - sum(share for _, share in shares)
    split = [[name, share] for name, share in (*shares, (active.variant_id, rest)) if share]
    return {"if": [{"missing": [BUCKET]}, {"fractional": [{"var": "targetingKey"}, *split]}, ours]}
