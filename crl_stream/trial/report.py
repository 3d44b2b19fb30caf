"""A comparison as one JSON document; topics/README.md does not cover it, since it is printed and never published."""

from __future__ import annotations

from typing import Any, Final

from crl_stream import __version__
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.trial.comparison import Comparison, Side, TaskComparison
from crl_stream.trial.estimate import ASSUMPTION, Stretch
from crl_stream.trial.matching import Change, Placed
from crl_stream.trial.record import Recorded

CUT: Final = (
    "Older records of the log are gone, so both folds begin without the state of that time. The first decisions about "
    "each task may differ from those that were made."
)


def report(comparison: Comparison) -> dict[str, Any]:
    """Return the document; equal comparisons give equal documents."""
    return {
        "same": comparison.is_same,
        "unchanged": comparison.same,
        "counts": comparison.counts(),
        "against": _side(comparison.against),
        "policy": _side(comparison.policy),
        "settings": [{"setting": d.setting, "against": d.one, "policy": d.other} for d in comparison.settings],
        "tasks": [_task(task) for task in comparison.differing()],
        "tasks_compared": len(comparison.tasks),
        "bad_invocations": _rounded(comparison.estimate._asdict()) | {"assumption": ASSUMPTION},
        "recorded": None if comparison.recorded is None else _recorded(comparison.recorded),
        "input": _input(comparison),
        "engine_version": ENGINE_VERSION,
        "version": __version__,
    }


def _side(side: Side) -> dict[str, Any]:
    return {"from": side.label, "policy_hash": side.last.digest(), "policy_hashes": list(side.judged_by)}


def _input(comparison: Comparison) -> dict[str, Any]:
    source = comparison.source
    found = source._asdict() | {"partitions": [one._asdict() for one in source.partitions]}
    return found | {"cut": source.is_cut, "note": CUT if source.is_cut else None}


def _task(task: TaskComparison) -> dict[str, Any]:
    return {
        "task": task.task,
        "outcomes": len(task.traffic),
        "unchanged": task.same,
        "changes": [_change(change) for change in task.changes],
        "stretches": [_stretch(stretch) for stretch in task.stretches],
    }


def _change(change: Change) -> dict[str, Any]:
    decided = change.decided
    return {
        "change": change.change,
        "outcomes": change.outcomes,
        "kind": decided.kind,
        "name": decided.name or None,
        "from_variant": decided.from_variant,
        "to_variant": decided.to_variant,
        "against": _placed(change.against),
        "policy": _placed(change.policy),
    }


def _placed(placed: Placed | None) -> dict[str, Any] | None:
    if placed is None:
        return None
    number, one = placed
    return {
        "outcome": number,
        "partition": one.partition,
        "offset": one.offset,
        "timestamp": one.time,
        "reason": one.reason,
        "id": one.fact_id,
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return _rounded(stretch._asdict())


def _recorded(recorded: Recorded) -> dict[str, Any]:
    return {
        "same": recorded.is_same,
        "compared": recorded.compared,
        "missing": [_published(*one) for one in recorded.missing],
        "extra": [_published(*one) for one in recorded.extra],
        "engine_versions": recorded.engines,
    }


def _published(task: str, one: Any) -> dict[str, Any]:
    return {
        "task": task,
        "decision": one.words,
        "partition": one.partition,
        "offset": one.offset,
        "timestamp": one.time,
        "id": one.fact_id,
    }


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Round to the precision that an estimate supports, so that readers do not rely on meaningless digits."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}
