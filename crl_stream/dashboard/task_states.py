"""The state of a task in words, for ``crl status`` and for the pages.

The words describe a task in the form of ``/api/tasks``; ``brief`` brings a snapshot into that form.
"""

from __future__ import annotations

from typing import Any

from crl_stream.core import messages as m
from crl_stream.core.figures import counted
from crl_stream.core.reach import last_time_words, touches_words
from crl_stream.proposals.page import stands
from crl_stream.stages.fleet_summary import ON_ADOPTION, ON_CARD


def state_of(task: dict[str, Any]) -> str:
    """Return the state of a task in one line, such as ``DEGRADED, no target; held``."""
    return "; ".join(remarks_of(task))


def remarks_of(task: dict[str, Any]) -> list[str]:
    """Return the verdict on the active variant and other remarks; only a judged variant is called healthy."""
    verdict = task.get("verdict")
    if not task["n_outcomes"]:
        first = ["no outcome yet"]
    elif verdict == "HEALTHY" and not is_trouble(task):
        first = ["healthy"] if not wrongs(task) else []
    else:
        first = [] if is_trouble(task) else [verdict or "not judged"]
    mode = [f"{task['mode']} mode"] if task.get("mode", "enforce") != "enforce" else []
    brake = ["promotions stopped with the fleet"] if task.get("fleet_stops") == "promotions" else []
    return [*first, *wrongs(task), *_rollout(task), *brake, *mode]


def _rollout(task: dict[str, Any]) -> list[str]:
    running = task.get("rollout")
    if running is None:
        return []
    paused = ", paused" if running["paused"] else ""
    return [f"rolling out {running['variant_id']} ({100 * running['share']:.3g} %{paused})"]


def is_trouble(task: dict[str, Any]) -> bool:
    """Return whether the active variant is known to be bad: degraded, or without a single success."""
    return task["active_variant"] in task["degraded"] or task.get("verdict") == "DEGRADED" or _never_succeeds(task)


def _never_succeeds(task: dict[str, Any]) -> bool:
    return bool(task.get("judged", 0) >= 10 and not task.get("successes", 1))


def wrongs(task: dict[str, Any]) -> list[str]:
    """Return remarks about a task besides its verdict."""
    words = []
    if task["active_variant"] in task["degraded"] or task.get("verdict") == "DEGRADED":
        words.append("DEGRADED, no target" if task["no_target"] else "DEGRADED")
    rollout = task.get("rollout")
    if rollout is not None and rollout["variant_id"] in task["degraded"]:
        words.append(f"{rollout['variant_id']} DEGRADED in its rollout")
    if _never_succeeds(task):
        words.append(f"no success in {counted(task['judged'], 'outcome')}")
    if task.get("common_cause"):
        words.append(f"{task['common_cause']} is failing")
    if task["held"]:
        words.append("fleet held" if is_held_with_fleet(task) else "held")
    if task["pinned"]:
        words.append("pinned")
    if task["quarantined"]:
        words.append(f"quarantine: {', '.join(task['quarantined'])}")
    return words


def is_held_with_fleet(task: dict[str, Any]) -> bool:
    """Return whether a hold of the fleet stops everything in a task; workers of old versions know no other hold."""
    return bool(task.get("fleet_held")) and (task.get("fleet_stops") or "all") == "all"


def brief(task: m.TaskSnapshot, now: int) -> dict[str, Any]:
    """Return a snapshot in the form of ``/api/tasks``; ``now`` is in milliseconds since the epoch."""
    held, pinned, fleet = (
        order if order is not None and stands(order, now) else None
        for order in (task.held, task.pinned, task.fleet_held)
    )
    active = next((v for v in task.variants if v.variant_id == task.active_variant), None)
    return {
        "agent_name": task.agent_name,
        "task_type": task.task_type,
        "active_variant": task.active_variant,
        "epoch": task.epoch,
        "q_value": None if active is None else active.q_value,
        "verdict": None if active is None else active.verdict,
        "judged": 0 if active is None else active.window.judged,
        "successes": 0 if active is None else _successes(active.window),
        "n_outcomes": task.n_outcomes,
        "variants": len(task.variants),
        "degraded": [v.variant_id for v in task.variants if v.degraded],
        "quarantined": [v.variant_id for v in task.variants if v.quarantined],
        "pinned": pinned is not None,
        "held": held is not None,
        "fleet_held": fleet is not None,
        "fleet_stops": None if fleet is None else fleet.stops,
        "held_by": None if held is None else held.actor,
        "rollout": None
        if task.rollout is None
        else {
            "variant_id": task.rollout.variant_id,
            "share": task.rollout.share,
            "paused": task.rollout.paused is not None,
        },
        "mode": task.mode,
        "no_rollback": task.no_rollback
        if held or task.mode != "enforce" or task.one_runtime or task.common_cause
        else None,
        "reason": None if active is None else active.reason,
        "degraded_since": None if active is None else active.degraded_since,
        "no_target": task.no_target,
        "touches": touches_words(task.touches),
        "last_time": last_time_words(next((one for one in task.last_times if one.change == "rollback"), None)),
        "scorecard": _scorecard(task),
        "adoption": None if task.adoption is None else {name: getattr(task.adoption, name) for name in ON_ADOPTION},
        "common_cause": None if task.common_cause is None else task.common_cause.tag,
        "timestamp": task.timestamp,
        "as_of": {"partition": task.as_of.partition, "offset": task.as_of.offset},
    }


def _scorecard(task: m.TaskSnapshot) -> dict[str, int] | None:
    card = task.scorecard
    return None if card is None or task.mode != "shadow" else {name: getattr(card, name) for name in ON_CARD}


def _successes(window: m.WindowSnapshot) -> int:
    """Count successes among the judged outcomes; snapshots of older engines do not say which are judged."""
    judged = window.judged_outcomes or "J" * len(window.outcomes)
    return sum(pair == ("S", "J") for pair in zip(window.outcomes, judged, strict=False))
