"""What many tasks of one world gained and lost with one contestant."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.detection.limit import greatest_gain, least_delay
from benchmarks.detection.loop import Change, Result
from benchmarks.detection.worlds import World

WORSE = 0.02
"""A variant is worse if its true value is lower by more than this."""


KINDS = ("healthy", "collapse", "only_worse", "newcomer", "rollout", "outage", "alone", "guardrail")
A_DAY = 100
"""Number of outcomes of a variant per simulated day, for rates per 1,000 variant-days."""


def figures(world: World, results: Sequence[Result]) -> dict[str, Any]:
    """Return the figures of a cell: shares of good outcomes, and rates per 1,000 outcomes."""
    live, outcomes = sum(r.live for r in results), sum(r.outcomes for r in results)
    got, never, oracle = (sum(getattr(r, name) for r in results) / live for name in ("got", "never", "oracle"))
    changes = [change for r in results for change in r.changes]
    rollbacks = [change for change in changes if change.cause == "rollback"]
    taken_back = [change for change in changes if change.cause == "rollback_verified_worse"]
    promotions = [change for change in changes if change.cause in {"auto_apply", "rollout"}]
    found: dict[str, Any] = {
        "tasks": len(results),
        "got": got,
        "never": never,
        "oracle": oracle,
        "lost_per_1000": 1_000 * (never - got),
        "lost_error": _error([1_000 * (r.never - r.got) / r.live for r in results]),
        "rollbacks_per_1000": 1_000 * len(rollbacks) / outcomes,
        "false_rollbacks_per_1000": 1_000 * sum(not _is_due(world, c) for c in rollbacks) / outcomes,
        "cascades": sum(_cascades(world, r.changes) for r in results),
        "rollbacks_to_worse_per_1000": 1_000 * sum(_is_worse(c) for c in rollbacks) / outcomes,
        "taken_back_per_1000": 1_000 * len(taken_back) / outcomes,
        "promotions": len(promotions),
        "promotions_to_worse": sum(_is_worse(c) for c in promotions),
        "no_target_alerts_per_1000": 1_000 * sum(r.alerts["no_target"] for r in results) / outcomes,
        "ends_on_best": sum(r.last == _best(world) for r in results) / len(results),
    }
    if world.kind in {"alone", "guardrail"}:
        found = {"tasks": len(results), "outcomes": outcomes} | _alarms(world, results)
        return found if (delay := least_delay(world)) is None else found | {"least_delay": delay}
    if world.kind == "rollout":
        return found | _rolled_out(world, results)
    if world.changes_at is not None and world.kind != "outage":
        found |= _delays(world, results)
        if oracle > never:
            found |= _gain(results)
        if (most := greatest_gain(world)) is not None:
            found |= {"least_delay": least_delay(world), "greatest_gain": most}
    return found


def summary(cells: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the goals' figures by contestant, each over the worlds of a kind that were played.

    Standard errors show how much a figure depends on chance; they are None for a single task.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(cell["contestant"] for cell in cells):
        of = {kind: [c["figures"] for c in cells if (c["contestant"], c["kind"]) == (name, kind)] for kind in KINDS}
        page = found[name] = {}
        if healthy := of["healthy"]:
            page["healthy: mean loss per 1,000"] = _mean(healthy, "lost_per_1000")
            page["healthy: standard error of the mean loss"] = _error_of_mean(healthy, "lost_error")
            page["healthy: worst loss per 1,000"] = max(each["lost_per_1000"] for each in healthy)
            page["healthy: false rollbacks per 1,000"] = _mean(healthy, "false_rollbacks_per_1000")
            page["healthy: rollbacks to a worse variant per 1,000"] = _mean(healthy, "rollbacks_to_worse_per_1000")
            page["healthy: promotions"] = sum(each["promotions"] for each in healthy)
            page["healthy: promotions to a worse variant"] = sum(each["promotions_to_worse"] for each in healthy)
        if of["only_worse"]:
            page["only worse alternatives: mean loss per 1,000"] = _mean(of["only_worse"], "lost_per_1000")
        if of["collapse"]:
            page["collapse: share of the oracle's gain"] = _mean(of["collapse"], "gain_of_oracle")
            page["collapse: standard error of the share"] = _error_of_mean(of["collapse"], "gain_error")
            page["collapse: least share of the oracle's gain"] = min(c["gain_of_oracle"] for c in of["collapse"])
        if gains := [each for each in of["newcomer"] if "gain_of_oracle" in each]:
            page["newcomer: share of the oracle's gain"] = _mean(gains, "gain_of_oracle")
            page["newcomer: standard error of the share"] = _error_of_mean(gains, "gain_error")
        if of["rollout"]:
            page["rollout: good outcomes lost per task"] = _mean(of["rollout"], "lost_per_task")
        if of["outage"]:
            page["outage: mean loss per 1,000"] = _mean(of["outage"], "lost_per_1000")
            page["outage: ends on the best variant"] = _mean(of["outage"], "ends_on_best")
        if closed := [each for kind in KINDS if kind not in {"alone", "guardrail", "outage"} for each in of[kind]]:
            page["all but outages: cascades"] = sum(each["cascades"] for each in closed)
        if steady := [each["alarms_per_1000_days"] for each in of["alone"] if "alarms_per_1000_days" in each]:
            page["alone: mean false alarms per 1,000 days"] = statistics.fmean(steady)
            page["alone: worst false alarms per 1,000 days"] = max(steady)
        if falls := [each for each in of["alone"] if "caught" in each]:
            page["alone: falls that were found"] = _mean(falls, "caught")
        if steady := [each["alarms_per_1000_days"] for each in of["guardrail"] if "alarms_per_1000_days" in each]:
            page["guardrail: worst false alarms per 1,000 days"] = max(steady)
        if rises := [each for each in of["guardrail"] if "caught" in each]:
            page["guardrail: increases that were found"] = _mean(rises, "caught")
    return found


def _mean(figures: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.fmean(each[name] for each in figures)


def _error_of_mean(figures: Sequence[dict[str, Any]], name: str) -> float | None:
    errors = [each[name] for each in figures]
    return None if None in errors else math.hypot(*errors) / len(errors)


def _error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _gain(results: Sequence[Result]) -> dict[str, Any]:
    """Return the share of the oracle's gain, and its standard error as a ratio of two sums (the delta method)."""
    gains = [r.got - r.never for r in results]
    possible = [r.oracle - r.never for r in results]
    share = sum(gains) / sum(possible)
    error = _error([gain - share * most for gain, most in zip(gains, possible, strict=True)])
    return {
        "gain_of_oracle": share,
        "gain_error": None if error is None else error / statistics.fmean(possible),
    }


def _alarms(world: World, results: Sequence[Result]) -> dict[str, Any]:
    """Return how often a variant that is alone raises a false alarm, or how soon the alarm comes after its fall."""
    if world.changes_at is None:
        outcomes = sum(result.outcomes for result in results)
        return {"alarms_per_1000_days": 1_000 * A_DAY * sum(len(result.alarms) for result in results) / outcomes}
    first = [[at for at in result.alarms if at >= world.changes_at] for result in results]
    delays = sorted(found[0] - world.changes_at + 1 for found in first if found)
    return {"caught": len(delays) / len(results)} | _quantiles(delays)


def _quantiles(delays: list[int]) -> dict[str, Any]:
    """Return median and 90th percentile of sorted delays, in outcomes; None without any."""
    return {
        "delay_median": statistics.median(delays) if delays else None,
        "delay_p90": delays[int(len(delays) * 0.9)] if delays else None,
    }


def _delays(world: World, results: Sequence[Result]) -> dict[str, Any]:
    """Return how many outcomes after the change the variant that became worse was replaced."""
    delays = []
    for result in results:
        due = [
            c.at - (world.changes_at or 0) + 1 for c in result.changes if c.cause == "rollback" and _is_due(world, c)
        ]
        delays += due[:1]
    delays.sort()
    return {"caught": len(delays) / len(results)} | _quantiles(delays)


def _rolled_out(world: World, results: Sequence[Result]) -> dict[str, Any]:
    """Return what the change cost, how often the new variant is in use at the end, and how soon it came into use."""
    began = world.changes_at or 0
    moved = [[c.at for c in r.changes if c.chosen == world.activates and c.at >= began] for r in results]
    taken = sorted(
        found[0] - began + 1
        for found, result in zip(moved, results, strict=True)
        if found and result.last == world.activates
    )
    lost = [result.oracle - result.got for result in results]
    return {
        "lost_per_task": statistics.fmean(lost),
        "lost_per_task_error": _error(lost),
        "completed": sum(result.last == world.activates for result in results) / len(results),
        "until_completed": statistics.median(taken) if taken else None,
    }


def _is_due(world: World, change: Change) -> bool:
    """Return whether the replaced variant had become worse by then, so that replacing it was right."""
    if world.changes_at is None or change.at < world.changes_at or world.kind == "outage":
        return False
    watched = world.activates or world.first
    before, after = world.phases[0][1][world.first]().p, world.phases[-1][1][watched]().p
    return change.left == watched and after < before - WORSE


def _cascades(world: World, changes: Sequence[Change]) -> int:
    """Return how many rollbacks after the first one left a variant that had not become worse."""
    rollbacks = [change for change in changes if change.cause == "rollback"]
    return sum(not _is_due(world, change) for change in rollbacks[1:])


def _is_worse(change: Change) -> bool:
    return change.chosen_p < change.left_p - WORSE


def _best(world: World) -> str:
    sources = {name: make().p for name, make in world.phases[-1][1].items()}
    return max(sources, key=lambda name: sources[name])
