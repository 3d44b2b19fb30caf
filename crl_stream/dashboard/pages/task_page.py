"""The page of one task: what is active, how it does, why nothing else is active, who follows, what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from crl_stream.core import messages as m
from crl_stream.core.figures import counted, number
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text
from crl_stream.core.monitor.evidence import threshold
from crl_stream.core.policy import Degradation, Policy
from crl_stream.dashboard.fleet import Fleet, active_of
from crl_stream.dashboard.pages import marks, orders
from crl_stream.dashboard.pages.conditions import state_of
from crl_stream.dashboard.pages.fleet_page import last_time, touches
from crl_stream.dashboard.pages.frame import Scene, page
from crl_stream.dashboard.pages.happenings import ORDERED, Happening, happening_of
from crl_stream.dashboard.pages.missing import missing_page
from crl_stream.dashboard.pages.phrases import age, day_of, percent, plural
from crl_stream.dashboard.pages.rows import level_of, safe_json
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.explaining.adoption import followed
from crl_stream.explaining.fates import fates_of, status_of
from crl_stream.proposals.page import stands

HISTORY: Final = 60
"""How many events the history lists."""
RARE: Final = ("accept", "register", "retire", "rollout-start")
"""Commands that are seldom needed at night; they are folded away."""
VERDICTS: Final = {"HEALTHY": ("check", "ok"), "DEGRADED": ("warn", "bad"), "INCONCLUSIVE": ("dots", "")}


class VariantLine(msgspec.Struct, frozen=True, kw_only=True):
    """One variant in the table."""

    variant: m.VariantSnapshot
    strip: tuple[str, str]
    tags: list[tuple[str, str, str]]
    """Icon, colour and word of what the variant is."""
    recent: str
    level: str
    verdict: tuple[str, str]
    why_not: str
    """Why the variant is not the active one, as the engine says it."""


class RuntimeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One runtime that has moved, or has not."""

    name: str
    icon: str
    css: str
    where: str
    words: str


def task_page(
    fleet: Fleet,
    key: TaskKey,
    viewer: Viewer,
    now: int,
    *,
    policy: Policy | None = None,
    troubles: Sequence[str] = (),
    parts: bool = False,
) -> str:
    """Return the page of one task at ``now``; a page that says so if the fleet does not know the task.

    ``policy`` is the one that judges the task, for the limits in the charts; without it, they show none. ``parts``
    changes nothing here; every page takes it.
    """
    snapshot = fleet.tasks.get(key)
    if snapshot is None:
        return missing_page(viewer, f"Nothing is known of {key}.", "The fleet's page lists all tasks.", "crl status")
    scene = Scene(fleet=fleet, viewer=viewer, now=now, troubles=troubles, orders=[])
    active, latest = active_of(snapshot), next(iter(fleet.rollbacks_of(key)), None)
    history = history_of(fleet, key)
    return page(
        scene,
        "task.html",
        title=str(key),
        current="fleet",
        key=key,
        task=snapshot,
        active=active,
        state=state_of(fleet, key, now),
        facts=_facts(snapshot, active, now),
        adopted="" if snapshot.adoption is None else followed(msgspec.to_builtins(snapshot.adoption)),
        touches=touches(fleet, key),
        latest=latest,
        fate="" if latest is None else status_of(latest, fates_of([latest], fleet.facts_of(key))[latest.rollback_id]),
        variants=[_variant(snapshot, variant, explored=explores(fleet, key)) for variant in _sorted(snapshot)],
        acts=[scene.order(order) for order in acts_of(fleet, snapshot, latest, now)],
        rare=RARE,
        nexts=list(nexts_of(snapshot, now)),
        runtimes=list(_runtimes(fleet, key, snapshot, now)),
        history=[(day, list(items)) for day, items in groupby(history[:HISTORY], lambda one: _day(one, now))],
        older=max(0, len(history) - HISTORY),
        series=safe_json(series_of(fleet, key, policy)),
        points=len(fleet.points_of(key)),
        parts=parts,
    )


def _day(one: Happening, now: int) -> str:
    return day_of(from_text(one.timestamp), now)


def _facts(snapshot: m.TaskSnapshot, active: m.VariantSnapshot | None, now: int) -> list[tuple[str, str, str]]:
    """Return the six figures on top: name, figure, remark."""
    if active is None:
        return [("Active variant", "none", "no outcome yet")]
    waits = f"promotion waits {plural(snapshot.cooldown_left, 'outcome')}" if snapshot.cooldown_left else ""
    if promotions_stopped(snapshot, now) is not None:
        waits = "no promotions; rollbacks happen"
    window = active.window
    return [
        ("Active variant", active.variant_id, f"epoch {snapshot.epoch}"),
        (
            f"Success, last {len(window.outcomes)}",
            percent(window.success_rate) if window.outcomes else "-",
            f"of {percent(level_of(active))}; lifetime {_lifetime(active)} of {active.n_visits:,}",
        ),
        ("Q-value", f"{active.q_value:.2f}", f"n = {active.n_visits:,}"),
        ("Verdict", active.verdict, f"e-value {number(active.e_value)}"),
        ("Runtimes moved", f"{snapshot.runtimes_current} of {snapshot.runtimes}", "use this epoch"),
        ("Mode", snapshot.mode, snapshot.no_rollback or waits or "rollbacks and promotions happen"),
    ]


def _sorted(snapshot: m.TaskSnapshot) -> list[m.VariantSnapshot]:
    return sorted(snapshot.variants, key=lambda v: (not v.active, v.retired, v.quarantined, -v.n_visits, v.variant_id))


def _lifetime(variant: m.VariantSnapshot) -> str:
    return percent(variant.success_rate) if variant.n_visits else "-"


def explores(fleet: Fleet, key: TaskKey) -> bool:
    """Return whether runtimes try other variants than the active one; True if that is not known."""
    active = fleet.actives.get(key)
    return active is None or active.exploration > 0.0


def _variant(snapshot: m.TaskSnapshot, variant: m.VariantSnapshot, *, explored: bool) -> VariantLine:
    tags = []
    if variant.active:
        tags.append(("check", "ok", "active"))
    if variant.quarantined:
        tags.append(("undo", "bad", "quarantined"))
    if variant.retired:
        tags.append(("minus", "", "retired"))
    if variant.degraded and not variant.active:
        tags.append(("warn", "warn", "degraded, not recovered"))
    if snapshot.rollout is not None and snapshot.rollout.variant_id == variant.variant_id:
        tags.append(("up", "info", "rolling out"))
    if not tags:
        tags.append(("dots", "", "may be explored" if explored else "exploration is off: gets no invocations"))
    return VariantLine(
        variant=variant,
        strip=marks.cells_of(variant.window),
        tags=tags,
        recent=percent(variant.window.success_rate) if variant.window.outcomes else "-",
        level=_lifetime(variant),
        verdict=VERDICTS[variant.verdict],
        why_not="" if variant.active else variant.not_applied or variant.reasoning,
    )


def acts_of(fleet: Fleet, snapshot: m.TaskSnapshot, latest: m.RollbackEvent | None, now: int) -> Iterator[orders.Order]:
    """Return what a person can do about a task now, the undo first."""
    key = TaskKey(snapshot.agent_name, snapshot.task_type)
    reach = touches(fleet, key)
    if latest is not None and latest.enforced and latest.epoch == snapshot.epoch:
        yield orders.undo(latest, last_time(latest), reach=reach)
        yield orders.confirm(latest, reach)
    if snapshot.held is not None and snapshot.held.scope == "task" and stands(snapshot.held, now):
        yield orders.resume(key, snapshot.held, reach=reach)
    else:
        yield orders.hold(key, reach)
    if snapshot.pinned is not None and stands(snapshot.pinned, now):
        yield orders.unpin(key, snapshot.pinned, reach)
    elif snapshot.active_variant is not None:
        yield orders.pin(key, snapshot.active_variant, snapshot.epoch, reach)
    yield from _about_variants(fleet, key, snapshot)


def _about_variants(fleet: Fleet, key: TaskKey, snapshot: m.TaskSnapshot) -> Iterator[orders.Order]:
    """Return what a person can do with the variants of a task."""
    choices = [v.variant_id for v in snapshot.variants if not v.active and not v.retired]
    reach, active = touches(fleet, key), snapshot.active_variant is not None
    if choices:
        yield orders.activate(key, choices, snapshot.epoch, reach)
    if snapshot.rollout is not None:
        yield from orders.steer_rollout(key, snapshot.rollout, reach)
    elif choices and active:
        yield orders.start_rollout(key, choices, snapshot.epoch, reach)
    if quarantined := [v.variant_id for v in snapshot.variants if v.quarantined and not v.retired]:
        yield orders.lift(key, quarantined, reach)
    if degraded := [v.variant_id for v in snapshot.variants if v.degraded and not v.retired]:
        yield orders.accept(key, sorted(degraded, key=lambda name: name != snapshot.active_variant), reach)
    yield orders.register(key, [v.variant_id for v in snapshot.variants], reach, explored=explores(fleet, key))
    if choices:
        yield orders.retire(key, choices, reach)


def nexts_of(snapshot: m.TaskSnapshot, now: int) -> Iterator[tuple[str, str, str, str]]:
    """Return what may happen next and what prevents it: icon, colour, sentence, detail."""
    if snapshot.no_rollback:
        yield "pause", "hold", f"No rollback: {snapshot.no_rollback}", ""
    elif snapshot.no_target:
        yield "x-circle", "bad", "No rollback: the active variant is degraded, and there is no target.", ""
    else:
        yield "check", "ok", "A rollback happens once the active variant is degraded and a target is there.", ""
    if (check := snapshot.verification) is not None:
        words = f"{check.outcomes} of {counted(check.outcomes_needed, 'outcome')} of the target so far"
        yield (
            "eye",
            "",
            f"{check.rollback_id} is still compared with {check.left_variant}, and may be taken back.",
            words,
        )
    if snapshot.cooldown_left:
        yield "clock", "", f"No promotion for {plural(snapshot.cooldown_left, 'more outcome')}.", ""
    for words, order in (("Pinned", snapshot.pinned), ("Held", snapshot.held)):
        if order is not None and stands(order, now):
            rest = f", {plural(order.outcomes_left, 'outcome')} left" if order.outcomes_left else ""
            until = f" until {order.until}" if order.until else ""
            where = " with the fleet" if order.scope == "fleet" else ""
            yield (
                "pin" if words == "Pinned" else "pause",
                "hold",
                f"{words}{where} by {order.actor}{until}{rest}",
                (order.reason or "no reason given"),
            )
    if (fleet := promotions_stopped(snapshot, now)) is not None:
        until = f" until {fleet.until}" if fleet.until else ""
        words = f"Promotions are stopped in the whole fleet by {fleet.actor}{until}; a rollback still protects"
        yield "pause", "hold", words, fleet.reason or "no reason given"
    if (rollout := snapshot.rollout) is not None:
        share = f"{100 * rollout.share:.3g} %, stage {rollout.stage} of {len(rollout.stages)}"
        yield "up", "info", f"{rollout.variant_id} is rolled out by {rollout.actor}: {share}", rollout.waits_for
    if snapshot.one_runtime is not None:
        yield "eye", "warn", "Only one runtime reports the loss.", snapshot.one_runtime.text
    if (cause := snapshot.common_cause) is not None:
        yield (
            "warn",
            "bad",
            f"{cause.tag} is failing; this ends at the latest at {cause.until}",
            ", ".join(cause.variants),
        )
    for variant in snapshot.variants:
        if variant.not_applied:
            yield "up", "", f"{variant.variant_id} is not active yet: {variant.not_applied}", variant.reasoning


def promotions_stopped(snapshot: m.TaskSnapshot, now: int) -> m.Order | None:
    """Return the hold of the fleet that stops only promotions, if there is one."""
    fleet = snapshot.fleet_held
    return fleet if fleet is not None and fleet.stops == "promotions" and stands(fleet, now) else None


def _runtimes(fleet: Fleet, key: TaskKey, snapshot: m.TaskSnapshot, now: int) -> Iterator[RuntimeLine]:
    behind = {one.runtime_id: one for one in snapshot.runtimes_behind or ()}
    for one in behind.values():
        seen = "" if one.last_seen is None else f"; last outcome {age(now - from_text(one.last_seen))} ago"
        late = f"; {plural(one.late_invocations, 'outcome')} since the change" if one.late_invocations else ""
        yield RuntimeLine(
            name=one.runtime_id,
            icon="x-circle" if one.stuck else "clock",
            css="bad" if one.stuck else "warn",
            where=f"epoch {one.epoch}" if one.epoch else "no epoch named",
            words=("stuck" if one.stuck else "not moved") + late + seen,
        )
    for receipt in fleet.receipts_of(key).values():
        if receipt.epoch == snapshot.epoch and receipt.runtime_id not in behind:
            late = f", {plural(receipt.late_invocations, 'outcome')} late" if receipt.late_invocations else ""
            yield RuntimeLine(
                name=receipt.runtime_id,
                icon="check",
                css="ok",
                where=receipt.variant_id,
                words=f"moved {receipt.milliseconds / 1_000:.3g} s after the change{late}",
            )


def history_of(fleet: Fleet, key: TaskKey) -> list[Happening]:
    """Return what is known to have happened to a task, newest first; a rollback appears once."""
    facts: list[Any] = [*fleet.facts_of(key), *fleet.rollbacks_of(key), *fleet.degradations_of(key)]
    told = [happening_of(fact) for fact in facts if not _is_told_otherwise(fact)]
    return sorted(told, key=lambda one: (from_text(one.timestamp), one.epoch or 0), reverse=True)


def _is_told_otherwise(fact: Any) -> bool:
    """Return whether another line tells the same, or nothing follows from it."""
    if isinstance(fact, m.Activation):
        return fact.cause == "rollback" or fact.cause in ORDERED
    return isinstance(fact, m.Decision) and fact.decision == "no_action"


def series_of(fleet: Fleet, key: TaskKey, policy: Policy | None = None) -> dict[str, Any]:
    """Return the course of the active variant for the charts: one list of numbers for each line.

    ``limit`` is the success rate below which the rule calls the active variant degraded, ``needed`` the evidence that a
    rollback needs besides; empty and None if the policy is not known, or needs no evidence.
    """
    points = fleet.points_of(key)
    limits = None if policy is None else policy.degradation
    return {
        "time": [point.time / 1_000 for point in points],
        "success": [point.success_rate for point in points],
        "baseline": [point.baseline for point in points],
        "limit": [] if limits is None else [_limit_of(point.baseline, limits) for point in points],
        "needed": threshold(limits) if limits is not None and limits.guard == "evidence" else None,
        "reward": [point.avg_reward for point in points],
        "q": [point.q_value for point in points],
        "evidence": [min(point.e_value, 1e12) for point in points],
        "epoch": [point.epoch for point in points],
        "variant": [point.variant_id for point in points],
        "rollbacks": [
            [from_text(event.timestamp) / 1_000, event.rollback_id]
            for event in fleet.rollbacks_of(key)
            if event.enforced
        ],
    }


def _limit_of(baseline: float, limits: Degradation) -> float:
    """Return the success rate below which a full window is degraded: its drop exceeds both the share and the floor."""
    by_drop = baseline * (1.0 - limits.success_drop)
    return max(0.0, min(by_drop, baseline - limits.success_floor / limits.lookback_window))
