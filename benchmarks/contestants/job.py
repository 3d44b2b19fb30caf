"""The equivalent job that the Python contestants do: parse, validate, a window of 20 and lifetime counts per variant.

State is kept per task and is plain JSON.  A snapshot is due as often as in our product: after outcomes 1, 2, 5 and 10
of a task, then whenever ten outcomes and ``seconds`` of log time have passed since the last snapshot.  The job has no
detectors, no learning, no duplicate detection and no facts except the snapshot.
"""

from __future__ import annotations

from typing import Any

WINDOW = 20
EARLY = frozenset((1, 2, 5, 10))
EVERY = 10
STATUSES = frozenset(("success", "failure", "error", "timeout"))
REQUIRED = ("invocation_id", "timestamp", "agent_name", "task_type", "variant_id")


def is_outcome(message: Any) -> bool:
    """Return whether a message has the fields that the job needs, with the right types; the job skips all others."""
    return (
        type(message) is dict
        and message.get("schema_version") == 1
        and message.get("status") in STATUSES
        and all(type(message.get(name)) is str for name in REQUIRED)
    )


def step(state: dict[str, Any] | None, message: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a task after one more outcome; changes ``state`` in place."""
    if state is None:
        state = {"n": 0, "variants": {}, "shown_n": 0, "shown_time": 0}
    state["n"] += 1
    variant = state["variants"].get(message["variant_id"])
    if variant is None:
        variant = state["variants"][message["variant_id"]] = {"n": 0, "successes": 0, "window": []}
    success = message["status"] == "success"
    variant["n"] += 1
    variant["successes"] += success
    window = variant["window"]
    window.append([int(success), message.get("quality", 0.0), int(message.get("error_count", 0) > 0)])
    if len(window) > WINDOW:
        del window[0]
    return state


def publish(task: str, state: dict[str, Any], time: int, seconds: float) -> dict[str, Any] | None:
    """Return the snapshot that is due after the last outcome, or None; ``time`` is the outcome's, in milliseconds."""
    n = state["n"]
    late = n - state["shown_n"] >= EVERY and time - state["shown_time"] >= seconds * 1_000
    if not late and n not in EARLY:
        return None
    state["shown_n"], state["shown_time"] = n, time
    return snapshot(task, state)


def snapshot(task: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return the snapshot of a task."""
    variants = {}
    for name, variant in state["variants"].items():
        window = variant["window"]
        size = len(window)
        variants[name] = {
            "n": variant["n"],
            "successes": variant["successes"],
            "window": size,
            "success_rate": sum(entry[0] for entry in window) / size,
            "quality": sum(entry[1] for entry in window) / size,
            "error_rate": sum(entry[2] for entry in window) / size,
        }
    return {"task": task, "n": state["n"], "variants": variants}
