"""Measures each contestant's cost on the same outcomes, in turn: CPU nanoseconds per outcome, and bytes of state."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from benchmarks.detection.actuator import Actuator, reward
from benchmarks.detection.contestants import Contestant
from benchmarks.detection.engine import FIXED
from benchmarks.detection.sources import Rate, Source
from crl_stream.core import messages as m


def cost(contestants: Sequence[Contestant], outcomes: int = 4_000, rounds: int = 7) -> dict[str, dict[str, Any]]:
    """Return the cost of each contestant by name.

    ``ns`` and ``detector_ns`` are the median and the extremes over rounds in which all take turns: for the whole
    decision, and for a rival's detector alone.  ``ratio`` compares with the policy ``production``, or the first
    contestant if it does not take part, round by round.
    ``bytes`` is the state of a task with two variants, as a table would store it.
    """
    drawn = _outcomes(outcomes)
    whole: dict[str, list[float]] = {each.name: [] for each in contestants}
    alone: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for each in contestants:
            decider = each.make()
            started = time.thread_time_ns()
            for outcome in drawn:
                for _event in decider.take(outcome):
                    pass
            whole[each.name].append((time.thread_time_ns() - started) / outcomes)
            sizes[each.name] = decider.size()
            if isinstance(decider, Actuator):
                alone.setdefault(each.name, []).append(_detector(decider, drawn))
    base = whole.get("production", whole[contestants[0].name])
    return {
        name: {
            "ns": _spread(times),
            "ratio": _spread([one / other for one, other in zip(times, base, strict=True)]),
            "bytes": sizes[name],
        }
        | ({"detector_ns": _spread(alone[name])} if name in alone else {})
        for name, times in whole.items()
    }


def _outcomes(count: int) -> list[m.Invocation]:
    """Return outcomes of two variants that never change; the live one has nine times as many."""
    luck = Random("cost")
    sources: dict[str, Source] = {"a": Rate(0.92), "b": Rate(0.9)}
    found = []
    for number in range(count):
        name = "b" if number % 10 == 9 else "a"
        found.append(
            m.Invocation(
                invocation_id=f"i{number}",
                variant_id=name,
                variant_source="live" if name == "a" else "explore",
                **FIXED,
                **sources[name].draw(luck, number),
            )
        )
    return found


def _detector(actuator: Actuator, outcomes: Sequence[m.Invocation]) -> float:
    """Return the nanoseconds that an update of a fresh detector takes, without the actuator around it."""
    detector, earned = actuator.new_detector(), [reward(outcome) for outcome in outcomes]
    started = time.thread_time_ns()
    for outcome, each in zip(outcomes, earned, strict=True):
        detector.update(outcome, each)
    return (time.thread_time_ns() - started) / len(outcomes)


def _spread(found: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(found), "min": min(found), "max": max(found)}
