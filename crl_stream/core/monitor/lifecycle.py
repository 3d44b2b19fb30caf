"""The lifecycle of a task and its variants: every transition in one table.

Only this module writes which variant is active, which are degraded, quarantined or retired, which task is pinned or
held, and what was reported about them.  Other modules write other parts of a row: ``record``, ``feedback``,
``variants`` and ``runtimes`` store what has arrived, ``commands`` the reviews of proposals, ``past`` what people read
as "last time", and ``publishing`` what was published.  Every row of ``TRANSITIONS`` is tested, and
``docs/lifecycle.md`` is generated from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core.messages.parts import ActivationCause
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor import facts, past
from crl_stream.core.monitor.adoption import expect
from crl_stream.core.monitor.baseline import lifetime_of
from crl_stream.core.monitor.benefit import PROMOTIONS, conclude, predict
from crl_stream.core.monitor.evidence import PLACES
from crl_stream.core.monitor.gauges import accept, left_behind, restart
from crl_stream.core.monitor.row import (
    DECIDED,
    PROMOTED_IN_SHADOW,
    REGISTERED,
    RETIRED,
    Card,
    Frozen,
    Gauge,
    Kept,
    Left,
    PastRollback,
    Rollout,
    Spread,
    StandingOrder,
    Stratum,
    Sums,
    TaskRow,
    Variant,
)
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.sources import start_again
from crl_stream.core.monitor.staging import control_of
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verdict import is_newcomer, own_baseline_of
from crl_stream.core.monitor.window import forget, restart_judging, unstage

REVIEWABLE: Final = 8
"""How many rollbacks of a task are remembered for a later review."""
_KNOWN: Final = frozenset(("rollback", "rollback_verified_worse", "common_cause", "undo", "rollout"))
"""Causes of an activation of an already known variant, so the evidence against it gets no head start."""


def apply(turn: Turn, changes: Sequence[c.Change]) -> None:
    """Publish the facts about all changes, then apply the changes one by one."""
    for change in changes:
        turn.facts += _EFFECTS[type(change)][0](turn, change)
    for change in changes:
        _EFFECTS[type(change)][1](turn, change)


# -- earlier rollbacks -------------------------------------------------------------------------------
def find_past(row: TaskRow, rollback_id: str | None) -> PastRollback | None:
    """Return the remembered rollback with this id; None if there is none."""
    return next((one for one in row.rollbacks if one.rollback_id == rollback_id), None)


# -- a variant's condition ---------------------------------------------------------------------------
def _become_degraded(turn: Turn, change: c.BecameDegraded) -> None:
    variant = change.variant
    variant.degraded, variant.degraded_since, variant.alert_id = True, turn.row.time, change.alert_id
    variant.degraded_at, variant.clean = variant.life.n, 0


def _stay_degraded(_: Turn, change: c.StayedDegraded) -> None:
    change.variant.degraded_at, change.variant.clean = change.variant.life.n, 0


def _count_healthy(_: Turn, change: c.CountedHealthy) -> None:
    change.variant.clean += 1


def _recover(turn: Turn, change: c.Recovered) -> None:
    variant, row = change.variant, turn.row
    variant.degraded = variant.alerted = False
    variant.clean += 1
    forget(variant)
    if variant.variant_id == row.active:
        row.latch, row.held_n, row.no_target_n = False, -1, -1
        row.one_runtime = None


def _give_up(_: Turn, change: c.GivenUp) -> None:
    variant = change.variant
    variant.degraded, variant.alerted, variant.clean = False, False, 0


def _accept_level(turn: Turn, change: c.LevelAccepted) -> None:
    variant, row = change.variant, turn.row
    variant.baseline = Frozen(variant.variant_id, msgspec.structs.replace(variant.judged))
    variant.origin, variant.past = msgspec.structs.replace(variant.life), Sums()
    variant.degraded, variant.alerted, variant.clean, variant.degraded_at = False, False, 0, -1
    restart_judging(variant)
    _accept_broken(variant)
    if variant.variant_id == row.active:
        row.latch, row.held_n, row.no_target_n, row.left = False, -1, -1, None
        row.one_runtime = None
        for runtime in row.runtimes.values():
            start_again(runtime)


def _open_alert(_: Turn, change: c.AlertOpened) -> None:
    change.variant.alerted = True


# -- protection of the active variant ----------------------------------------------------------------
def _hold_back(turn: Turn, _: c.HeldBack) -> None:
    turn.row.held_n = turn.row.n


def _find_no_target(turn: Turn, _: c.FoundNoTarget) -> None:
    turn.row.no_target_n = turn.row.n


def _find_one_runtime(turn: Turn, change: c.FoundOneRuntime) -> None:
    turn.row.one_runtime = change.found


def _end_one_runtime(turn: Turn, _: c.OneRuntimeEnded) -> None:
    turn.row.one_runtime = None


def _break_guardrail(turn: Turn, change: c.GuardrailBroken) -> None:
    gauge = change.variant.gauges[change.metric]
    if change.leads and turn.rules.enforced:
        return  # the activation, or the end of the rollout, starts from scratch
    gauge.open_alert, gauge.since_alert, gauge.evidence = change.alert_id, 0, [0.0] * 3


def _accept_guardrails(_: Turn, change: c.GuardrailsAccepted) -> None:
    _accept_broken(change.variant)


def _accept_broken(variant: Variant) -> None:
    """Accept the level of the broken metrics only: a person was told nothing about the others."""
    for gauge in variant.gauges.values():
        if gauge.open_alert:
            accept(gauge)


def _keep_guardrail(_: Turn, change: c.GuardrailKept) -> None:
    gauge = change.variant.gauges[change.metric]
    gauge.open_alert, gauge.evidence = "", [0.0] * 3


def _roll_back(turn: Turn, change: c.RolledBack) -> None:
    if not turn.rules.enforced:
        _begin_watch(turn, change)
        return
    variant = change.variant
    variant.quarantined, turn.catalogue_changed = True, True
    variant.rollbacks += 1
    _activate(turn, change.target, "rollback", change.rollback_id)
    if change.left is not None:
        turn.row.left = Left(change.rollback_id, variant.variant_id, *change.left)


def _begin_watch(turn: Turn, change: c.RolledBack) -> None:
    """Record that shadow mode has reported the rollback, and keep what is needed to judge the rollback later."""
    row, watched = turn.row, change.watched
    row.latch, row.watched = True, watched
    if watched is not None and (row.card is None or row.card.judging != watched.judging):
        # Rollbacks that were reported under other settings say nothing about the settings in force.
        row.card = Card(watched.judging)


def _look_back(turn: Turn, change: c.LookedBack) -> None:
    row = turn.row
    row.watched = None
    card = row.card
    if card is None:
        return
    card.right += change.finding == "right"
    card.wrong += change.finding == "wrong"
    card.open += change.finding == "open"
    card.avoidable += change.avoidable
    card.caused += change.caused
    if change.finding != "open":
        card.outcomes += change.outcomes


def _judge_benefit(turn: Turn, change: c.Benefited) -> None:
    change.prediction.told = change.delivered.n
    _note_finding(turn.row, change)
    if change.final:
        turn.row.prediction = None
        _count_benefit(turn.row, change)


def _note_finding(row: TaskRow, change: c.Benefited) -> None:
    past.note_finding(row, change.prediction.epoch, row.active or "", change.finding)


def _count_benefit(row: TaskRow, change: c.Benefited) -> None:
    """Count the last judgement of a change for the types of proposals that it speaks for; call this while it stands."""
    cause, variant = change.prediction.cause, row.variants.get(row.active or "")
    if change.finding == "open":
        return
    if cause in PROMOTIONS:
        row.promotions = _counted(row.promotions, change)
    if cause == "rollback":
        _count_for(row, "enforce_task", change)
    if variant is not None and variant.proposed_as and (cause in PROMOTIONS or cause == "command"):
        _count_for(row, variant.proposed_as, change)
        variant.proposed_as = ""


def _count_for(row: TaskRow, kind: str, change: c.Benefited) -> None:
    row.kept = row.kept | {kind: _counted(row.kept.get(kind), change)}


def _counted(kept: Kept | None, change: c.Benefited) -> Kept:
    kept, finding = Kept() if kept is None else kept, change.finding
    return Kept(
        kept.helped + (finding == "helped"), kept.no_change + (finding == "no_change"), kept.hurt + (finding == "hurt")
    )


def _take_back(turn: Turn, change: c.TakenBack) -> None:
    known = find_past(turn.row, change.rollback_id)
    if known is not None:
        known.review = known.review or "taken_back"
    _activate(turn, change.to, change.cause, change.rollback_id)


def _end_verification(turn: Turn, _: c.VerificationEnded) -> None:
    turn.row.left = None


def _find_common_cause(turn: Turn, change: c.CommonCauseFound) -> None:
    turn.row.incident, turn.row.no_target_n = change.incident, -1


def _end_common_cause(turn: Turn, change: c.CommonCauseEnded) -> None:
    row = turn.row
    row.incident = None
    for variant in change.cleared:
        restart_judging(variant)
        variant.degraded, variant.alerted, variant.clean, variant.degraded_at = False, False, 0, -1
        if variant.variant_id == row.active:
            row.latch, row.held_n, row.no_target_n = False, -1, -1
    if change.back is not None and change.left is not None and row.active is not None:
        left = Left(change.incident.incident_id, row.active, *change.left)
        _activate(turn, change.back, "common_cause", left.rollback_id)
        row.left = left if turn.policy.rollback.verify else None


# -- changes of the active variant -------------------------------------------------------------------
def _activate_for(turn: Turn, change: c.Activated) -> None:
    _activate(turn, change.to, change.cause, change.cause_id)


def _activate(turn: Turn, to: Variant, cause: ActivationCause, cause_id: str) -> None:
    """Begin a new epoch with another active variant, and reset latch, judging and alerts; no other function does so."""
    row = turn.row
    old = row.variants.get(row.active) if row.active is not None else None
    judged = conclude(turn)
    if judged is not None:
        _note_finding(row, judged)
        _count_benefit(row, judged)
    past.note_activation(row, to.variant_id, cause, cause_id)
    row.prediction = None if old is None else predict(row, old, to, cause, cause_id, turn.rules)
    _leave_rollout(row)
    # A level that a person accepted stays the baseline until the variant has one of its own.
    if to.baseline is not None and (to.origin is None or to.baseline.variant_id != to.variant_id):
        to.baseline = None
    if old is not None:
        old.left_at, old.left_n = old.life.n, row.n
        if to.baseline is None and lifetime_of(to).n < turn.rules.own_baseline:
            to.baseline = _frozen(old, turn.rules)
    row.previous, row.active, row.since = row.active, to.variant_id, row.time
    _begin_epoch(turn, cause, cause_id)
    row.rollback_id = cause_id if cause == "rollback" else None
    if cause == "rollback" and row.previous is not None:
        _remember_rollback(row, cause_id, row.previous)
    row.latch, row.held_n, row.no_target_n, row.left = False, -1, -1, None
    row.one_runtime = None
    for runtime in row.runtimes.values():
        start_again(runtime)
    restart_judging(to)
    _restart_gauges(turn, to, old, as_newcomer=cause not in _KNOWN or cause == "rollout")
    for gauge in () if old is None else old.gauges.values():
        gauge.open_alert = ""
    if turn.rules.head_start and to.baseline is not None and cause not in _KNOWN:
        to.evidence = [turn.rules.head_start] * PLACES
    to.epoch, to.degraded, to.alerted, to.clean = row.epoch, False, False, 0


def _restart_gauges(turn: Turn, to: Variant, old: Variant | None, *, as_newcomer: bool) -> None:
    """Judge the guardrail metrics of ``to`` from scratch, against those of ``old`` if ``to`` was chosen to replace it.

    A variant that returns was judged before, and is compared with its own past.
    """
    memory, signs = turn.rules.gauge_memory, turn.rules.signs
    frozen: dict[str, Spread] = {}
    if old is not None and as_newcomer:
        found = {
            name: left_behind(gauge, memory) for name, gauge in old.gauges.items() if gauge.sign == signs.get(name)
        }
        frozen = {name: level for name, level in found.items() if level is not None}
    # A gauge of a metric that has changed its direction is about to be forgotten, so it cannot take the level.
    missing = [name for name in frozen if name not in to.gauges or to.gauges[name].sign != signs[name]]
    if missing:
        to.gauges = to.gauges | {name: Gauge(sign=signs[name]) for name in missing}
    for name, gauge in to.gauges.items():
        restart(gauge, memory, frozen.get(name), turn.rules.head_start if name in frozen else 0.0)


def _begin_epoch(turn: Turn, cause: ActivationCause, cause_id: str) -> None:
    """Begin a new epoch, which every runtime has to adopt."""
    row = turn.row
    row.epoch, row.epoch_since, row.changed_n = row.epoch + 1, row.time, row.n
    row.cause, row.cause_id = cause, cause_id
    expect(row)
    row.receipted, row.strangers = bytearray(), 0
    turn.active_changed = True


def _frozen(old: Variant, rules: Rules) -> Frozen | None:
    """Return the baseline of a newcomer: its predecessor's outcomes, or the predecessor's baseline if that is longer.

    None if that baseline is shorter than ``min_baseline`` outcomes.  With such a short baseline, the newcomer would
    never be judged; so it is judged against its own lifetime, as soon as that is long enough.
    """
    own = own_baseline_of(old, rules) if rules.recent else lifetime_of(old)
    known = Frozen(old.variant_id, own)
    if old.baseline is not None and is_newcomer(old, rules) and own.n < old.baseline.sums.n:
        known = old.baseline
    return Frozen(known.variant_id, msgspec.structs.replace(known.sums)) if known.sums.n >= rules.min_baseline else None


def _remember_rollback(row: TaskRow, rollback_id: str, from_variant: str) -> None:
    """Remember an enforced rollback for review; if there are too many, drop a reviewed one, otherwise the oldest."""
    rollbacks = [*row.rollbacks, PastRollback(rollback_id, from_variant, time=row.time)]
    if len(rollbacks) > REVIEWABLE:
        del rollbacks[next((at for at, one in enumerate(rollbacks) if one.review), 0)]
    row.rollbacks = rollbacks


def _would_promote(turn: Turn, change: c.WouldPromote) -> None:
    _note_decision(turn, change.to, PROMOTED_IN_SHADOW)


def _decide(turn: Turn, change: c.Decided) -> None:
    _note_decision(turn, change.variant, DECIDED[change.level])
    if change.level == "auto_apply" and turn.rules.mode != "observe":
        change.variant.auto_apply_id = change.decision_id


def _note_decision(turn: Turn, variant: Variant, bit: int) -> None:
    if variant.decided_epoch != turn.row.epoch:
        variant.decided_epoch, variant.decided = turn.row.epoch, 0
    variant.decided |= bit


def _review_rollback(turn: Turn, change: c.ReviewedRollback) -> None:
    known = find_past(turn.row, change.rollback_id)
    if known is not None:
        known.review = known.review or change.review
    past.note_review(turn.row, change.rollback_id, change.review, change.actor)


# -- rollouts ----------------------------------------------------------------------------------------
def _start_rollout(turn: Turn, change: c.RolloutStarted) -> None:
    row, candidate = turn.row, change.candidate
    kept = candidate.baseline
    candidate.degraded, candidate.alerted, candidate.clean = False, False, 0
    candidate.epoch = row.epoch  # outcomes of an earlier rollout or activation say nothing about this one
    _restart_gauges(turn, candidate, row.variants[row.active] if row.active else None, as_newcomer=True)
    row.rollout = Rollout(
        change.rollout_id,
        candidate.variant_id,
        list(change.shares),
        change.min_outcomes,
        change.cause,
        change.cause_id,
        change.actor,
        since=row.time,
        stage_since=row.time,
        stage_n=row.n,
        kept=kept,
    )
    _begin_stage(turn, candidate)
    turn.catalogue_changed = True


def _begin_stage(turn: Turn, candidate: Variant) -> None:
    """Compare only outcomes from here on: both variants meet the same conditions only within a stage."""
    row = turn.row
    assert row.active is not None
    active = row.variants[row.active]
    candidate.baseline = Frozen(active.variant_id, Sums(), concurrent=True)
    restart_judging(candidate)
    if turn.rules.head_start:
        candidate.evidence = [turn.rules.head_start] * PLACES
    unstage(active)
    unstage(candidate)
    turn.active_changed = True


def _pass_stage(turn: Turn, _: c.StagePassed) -> None:
    row, rollout = turn.row, _running(turn)
    candidate = row.variants[rollout.variant_id]
    rollout.past = [*rollout.past, Stratum(rollout.candidate, control_of(row))]
    rollout.candidate, rollout.recent = Sums(), []
    rollout.stage, rollout.stage_since, rollout.stage_n = rollout.stage + 1, row.time, row.n
    rollout.paused, rollout.stalled = None, False
    _begin_stage(turn, candidate)


def _pause_rollout(turn: Turn, change: c.RolloutPaused) -> None:
    _running(turn).paused, turn.active_changed = change.order, True


def _resume_rollout(turn: Turn, _: c.RolloutResumed) -> None:
    _running(turn).paused, turn.active_changed = None, True


def _note_stall(turn: Turn, _: c.RolloutStalled) -> None:
    _running(turn).stalled = True


def _abort_rollout(turn: Turn, change: c.RolloutAborted) -> None:
    row, candidate = turn.row, change.candidate
    _leave_rollout(row)
    _begin_epoch(turn, "rollout_aborted", change.rollback_id)
    row.rollback_id, candidate.alerted = None, False
    _restart_gauges(turn, candidate, None, as_newcomer=False)
    if change.grounds is None:
        candidate.declined = candidate.life.n
        candidate.degraded, candidate.clean = False, 0
        restart_judging(candidate)
    else:
        candidate.quarantined, turn.catalogue_changed = True, True
        candidate.rollbacks += 1
        row.rollback_id = change.rollback_id
        _remember_rollback(row, change.rollback_id, candidate.variant_id)
        past.note(row, "rollback", change.rollback_id, row.active or "", candidate.variant_id, row.epoch)


def _running(turn: Turn) -> Rollout:
    rollout: Rollout | None = turn.row.rollout
    assert rollout is not None
    return rollout


def _leave_rollout(row: TaskRow) -> None:
    """End the rollout, if there is one: its candidate is judged against its own baseline again."""
    rollout = row.rollout
    if rollout is not None:
        candidate = row.variants.get(rollout.variant_id)
        if candidate is not None:
            candidate.baseline = rollout.kept
            forget(candidate)
            for gauge in candidate.gauges.values():
                gauge.open_alert = ""
        row.rollout = None


# -- operators' commands -----------------------------------------------------------------------------
def _pin(turn: Turn, change: c.Pinned) -> None:
    turn.row.pinned, turn.active_changed = change.order, True


def _unpin(turn: Turn, _: c.Unpinned) -> None:
    turn.row.pinned, turn.active_changed = None, True


def _hold(turn: Turn, change: c.Held) -> None:
    turn.row.held, turn.row.held_n, turn.active_changed = change.order, -1, True


def _prolong_hold(turn: Turn, change: c.HoldProlonged) -> None:
    held: StandingOrder | None = turn.row.held
    assert held is not None
    held.until_n = change.until_n


def _end_hold(turn: Turn, _: c.HoldEnded) -> None:
    # Reset ``held_n``: if the fleet is still held, operators waiting for a rollback are alerted at once.
    turn.row.held, turn.row.held_n, turn.active_changed = None, -1, True


def _notice_fleet_hold(turn: Turn, change: c.FleetHoldNoticed) -> None:
    turn.row.shown_fleet, turn.row.held_n, turn.active_changed = change.since, -1, True


# -- the variants of a task --------------------------------------------------------------------------
def _register(turn: Turn, change: c.Registered) -> None:
    change.variant.state, change.variant.configuration = REGISTERED, change.configuration
    turn.catalogue_changed = True
    past.note(turn.row, "registration", change.command_id, change.variant.variant_id)


def _retire(turn: Turn, change: c.Retired) -> None:
    change.variant.state, turn.catalogue_changed = RETIRED, True
    past.note(turn.row, "retirement", change.command_id, change.variant.variant_id)


def _lift_quarantine(turn: Turn, change: c.QuarantineLifted) -> None:
    change.variant.quarantined = False
    turn.active_changed = turn.catalogue_changed = True


# -- the tables --------------------------------------------------------------------------------------
_EFFECTS: Final[dict[type, tuple[Callable[[Turn, Any], Sequence[Any]], Callable[[Turn, Any], None]]]] = {
    c.BecameDegraded: (facts.became_degraded, _become_degraded),
    c.StayedDegraded: (facts.nothing, _stay_degraded),
    c.CountedHealthy: (facts.nothing, _count_healthy),
    c.Recovered: (facts.recovered, _recover),
    c.GivenUp: (facts.given_up, _give_up),
    c.LevelAccepted: (facts.level_accepted, _accept_level),
    c.AlertOpened: (facts.alert_opened, _open_alert),
    c.HeldBack: (facts.held_back, _hold_back),
    c.FoundNoTarget: (facts.found_no_target, _find_no_target),
    c.FoundOneRuntime: (facts.found_one_runtime, _find_one_runtime),
    c.OneRuntimeEnded: (facts.one_runtime_ended, _end_one_runtime),
    c.GuardrailBroken: (facts.guardrail_broken, _break_guardrail),
    c.GuardrailKept: (facts.guardrail_kept, _keep_guardrail),
    c.GuardrailsAccepted: (facts.guardrails_accepted, _accept_guardrails),
    c.RolledBack: (facts.rolled_back, _roll_back),
    c.TakenBack: (facts.taken_back, _take_back),
    c.LookedBack: (facts.looked_back, _look_back),
    c.Benefited: (facts.benefited, _judge_benefit),
    c.VerificationEnded: (facts.verification_ended, _end_verification),
    c.CommonCauseFound: (facts.common_cause_found, _find_common_cause),
    c.CommonCauseEnded: (facts.common_cause_ended, _end_common_cause),
    c.Activated: (facts.activated, _activate_for),
    c.WouldPromote: (facts.would_promote, _would_promote),
    c.Decided: (facts.decided, _decide),
    c.ReviewedRollback: (facts.nothing, _review_rollback),
    c.RolloutStarted: (facts.rollout_started, _start_rollout),
    c.StagePassed: (facts.stage_passed, _pass_stage),
    c.RolloutPaused: (facts.rollout_paused, _pause_rollout),
    c.RolloutResumed: (facts.rollout_resumed, _resume_rollout),
    c.RolloutStalled: (facts.rollout_stalled, _note_stall),
    c.RolloutAborted: (facts.rollout_aborted, _abort_rollout),
    c.Pinned: (facts.nothing, _pin),
    c.Unpinned: (facts.nothing, _unpin),
    c.Held: (facts.task_hold_changed, _hold),
    c.HoldProlonged: (facts.nothing, _prolong_hold),
    c.HoldEnded: (facts.task_hold_changed, _end_hold),
    c.FleetHoldNoticed: (facts.fleet_hold_changed, _notice_fleet_hold),
    c.Registered: (facts.nothing, _register),
    c.Retired: (facts.nothing, _retire),
    c.QuarantineLifted: (facts.nothing, _lift_quarantine),
}
"""For each kind of change: the function that builds its facts, and the function that applies it."""


class Transition(NamedTuple):
    """One row of the table: when ``machine`` is in ``source``, ``event`` takes it to ``target``."""

    machine: str
    source: str
    event: type
    target: str
    when: str = ""
    """The condition for the transition, in words; empty if there is none."""


MACHINES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "condition": ("Is the variant healthy?", ("healthy", "degraded")),
    "alert": ("Do operators have an open alert about the variant?", ("silent", "alerted")),
    "guardrail": ("Do operators have an open alert about its cost, duration or other metrics?", ("kept", "broken")),
    "quarantine": ("May the variant be chosen?", ("free", "quarantined")),
    "registration": ("What have people registered about the variant?", ("seen", "registered", "retired")),
    "activation": ("Does the task have an active variant?", ("none", "active")),
    "verification": ("Is the latest rollback still being verified?", ("settled", "verifying")),
    "rollout": ("Is a variant replacing the active one in stages?", ("none", "running", "paused")),
    "cause": ("Is something failing that variants of the task share?", ("clear", "failing")),
    "latch": ("Has shadow mode already reported that the active variant would be rolled back?", ("armed", "latched")),
    "hindsight": ("Is a rollback that shadow mode reported waiting to be judged?", ("nothing", "watching")),
    "benefit": ("Is it still open whether the latest change helped?", ("settled", "open")),
    "pin": ("Is the active variant pinned?", ("unpinned", "pinned")),
    "hold": ("Does anything happen automatically?", ("automatic", "held")),
}
"""The state machines, five for a variant and eight for a task: the question that each answers, and its states."""

_VERDICT: Final = "DEGRADED verdict"
TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition("condition", "healthy", c.BecameDegraded, "degraded", _VERDICT),
    Transition("condition", "degraded", c.StayedDegraded, "degraded", _VERDICT),
    Transition("condition", "degraded", c.CountedHealthy, "degraded", "HEALTHY verdict on an outcome"),
    Transition("condition", "degraded", c.Recovered, "healthy", "enough HEALTHY verdicts in a row (clean_verdicts)"),
    Transition("condition", "degraded", c.Activated, "healthy", "judging starts from scratch"),
    Transition("condition", "degraded", c.TakenBack, "healthy", "judging starts from scratch"),
    Transition("condition", "degraded", c.RolloutStarted, "healthy", "judging starts from scratch"),
    Transition("condition", "degraded", c.RolloutAborted, "healthy", "by a person, or because it had no lead"),
    Transition("condition", "degraded", c.GivenUp, "healthy", "retired or forgotten"),
    Transition("condition", "degraded", c.LevelAccepted, "healthy", "judging starts from scratch"),
    Transition("condition", "degraded", c.CommonCauseEnded, "healthy", "unless its last outcomes are still bad"),
    Transition("alert", "silent", c.AlertOpened, "alerted", "became degraded, and was not rolled back at once"),
    Transition("alert", "alerted", c.Recovered, "silent"),
    Transition("alert", "alerted", c.Activated, "silent"),
    Transition("alert", "alerted", c.TakenBack, "silent"),
    Transition("alert", "alerted", c.RolloutStarted, "silent"),
    Transition("alert", "alerted", c.RolloutAborted, "silent"),
    Transition("alert", "alerted", c.GivenUp, "silent"),
    Transition("alert", "alerted", c.LevelAccepted, "silent"),
    Transition("alert", "alerted", c.CommonCauseEnded, "silent", "unless its last outcomes are still bad"),
    Transition("guardrail", "kept", c.GuardrailBroken, "broken", "no enforced rollback follows"),
    Transition("guardrail", "broken", c.GuardrailBroken, "broken", "in another metric"),
    Transition("guardrail", "broken", c.GuardrailKept, "kept", "the last one"),
    Transition("guardrail", "broken", c.GuardrailsAccepted, "kept"),
    Transition("guardrail", "broken", c.LevelAccepted, "kept"),
    Transition("guardrail", "broken", c.Activated, "kept", "of this variant, or of another variant in its place"),
    Transition("guardrail", "broken", c.RolledBack, "kept", "enforced"),
    Transition("guardrail", "broken", c.TakenBack, "kept"),
    Transition("guardrail", "broken", c.RolloutStarted, "kept", "of the variant"),
    Transition("guardrail", "broken", c.RolloutAborted, "kept", "of the variant"),
    Transition("quarantine", "free", c.RolledBack, "quarantined", "enforced"),
    Transition("quarantine", "free", c.RolloutAborted, "quarantined", "candidate degraded"),
    Transition(
        "quarantine", "quarantined", c.QuarantineLifted, "free", "lifted, undone, approved, activated or chosen again"
    ),
    Transition("registration", "seen", c.Registered, "registered"),
    Transition("registration", "registered", c.Registered, "registered", "no outcome yet"),
    Transition("registration", "retired", c.Registered, "registered"),
    Transition("registration", "seen", c.Retired, "retired", "not active"),
    Transition("registration", "registered", c.Retired, "retired", "not active"),
    Transition("activation", "none", c.Activated, "active", "first_seen, command, approval"),
    Transition("activation", "active", c.Activated, "active", "auto_apply, command, approval, undo"),
    Transition("activation", "active", c.RolledBack, "active", "enforced"),
    Transition(
        "activation", "active", c.TakenBack, "active", "its target delivers less than the variant that it replaced"
    ),
    Transition("verification", "settled", c.RolledBack, "verifying", "enforced"),
    Transition("verification", "verifying", c.RolledBack, "verifying", "enforced"),
    Transition("verification", "verifying", c.TakenBack, "settled"),
    Transition(
        "verification",
        "verifying",
        c.VerificationEnded,
        "settled",
        "full window, confirmed, or no variant to return to",
    ),
    Transition("verification", "verifying", c.Activated, "settled"),
    Transition("verification", "verifying", c.LevelAccepted, "settled", "of the active variant"),
    Transition("rollout", "none", c.RolloutStarted, "running"),
    Transition("rollout", "running", c.RolloutPaused, "paused"),
    Transition("rollout", "paused", c.RolloutPaused, "paused"),
    Transition("rollout", "paused", c.RolloutResumed, "running"),
    Transition("rollout", "running", c.StagePassed, "running", "not worse than the active variant, or by a person"),
    Transition("rollout", "paused", c.StagePassed, "running", "by a person"),
    Transition("rollout", "running", c.RolloutAborted, "none", "candidate degraded, or by a person"),
    Transition("rollout", "paused", c.RolloutAborted, "none", "candidate degraded, or by a person"),
    Transition(
        "rollout", "running", c.Activated, "none", "candidate passed the last stage, or another variant was activated"
    ),
    Transition("rollout", "paused", c.Activated, "none", "by a person"),
    Transition("rollout", "running", c.RolledBack, "none", "enforced"),
    Transition("rollout", "paused", c.RolledBack, "none", "enforced"),
    Transition("rollout", "running", c.TakenBack, "none"),
    Transition("rollout", "paused", c.TakenBack, "none"),
    Transition("cause", "clear", c.CommonCauseFound, "failing", "variants with the same tag fell together"),
    Transition("cause", "failing", c.CommonCauseFound, "failing", "with a wider tag"),
    Transition("cause", "failing", c.CommonCauseEnded, "clear", "one recovered, released, or no recovery in time"),
    Transition("latch", "armed", c.RolledBack, "latched", "shadow mode"),
    Transition("latch", "latched", c.RolledBack, "armed", "enforced"),
    Transition("latch", "latched", c.TakenBack, "armed"),
    Transition("latch", "latched", c.Activated, "armed"),
    Transition("latch", "latched", c.Recovered, "armed", "of the active variant"),
    Transition("latch", "latched", c.CommonCauseEnded, "armed", "of the active variant, judged from scratch"),
    Transition("latch", "latched", c.LevelAccepted, "armed", "of the active variant"),
    Transition("hindsight", "nothing", c.RolledBack, "watching", "shadow mode"),
    Transition("hindsight", "watching", c.RolledBack, "watching", "shadow mode"),
    Transition("hindsight", "watching", c.LookedBack, "nothing", "enough outcomes, or nothing more to learn"),
    Transition("benefit", "settled", c.RolledBack, "open", "enforced"),
    Transition("benefit", "settled", c.TakenBack, "open"),
    Transition("benefit", "settled", c.Activated, "open", "another variant was active"),
    Transition("benefit", "settled", c.CommonCauseEnded, "open", "with a return"),
    Transition("benefit", "open", c.RolledBack, "open", "enforced"),
    Transition("benefit", "open", c.TakenBack, "open"),
    Transition("benefit", "open", c.Activated, "open"),
    Transition("benefit", "open", c.Benefited, "settled", "enough outcomes, or another change"),
    Transition("pin", "unpinned", c.Pinned, "pinned"),
    Transition("pin", "pinned", c.Pinned, "pinned"),
    Transition("pin", "pinned", c.Unpinned, "unpinned", "released or expired"),
    Transition("hold", "automatic", c.Held, "held"),
    Transition("hold", "held", c.Held, "held"),
    Transition("hold", "held", c.HoldProlonged, "held", "undo during a hold, or a hold after an undo"),
    Transition("hold", "held", c.HoldEnded, "automatic", "released or expired"),
)
"""All transitions.  No other change of state occurs: the tests try every change in every state.  A change that has no
effect, such as lifting the quarantine of a variant that is not quarantined, is not listed."""


def states_of(row: TaskRow, variant: Variant) -> dict[str, str]:
    """Return the state of ``variant`` and its task in each of ``MACHINES``."""
    return {
        "condition": "degraded" if variant.degraded else "healthy",
        "alert": "alerted" if variant.alerted else "silent",
        "guardrail": "broken" if any(gauge.open_alert for gauge in variant.gauges.values()) else "kept",
        "quarantine": "quarantined" if variant.quarantined else "free",
        "registration": ("seen", "registered", "retired")[variant.state],
        "activation": "none" if row.active is None else "active",
        "verification": "settled" if row.left is None else "verifying",
        "rollout": "none" if row.rollout is None else "running" if row.rollout.paused is None else "paused",
        "cause": "clear" if row.incident is None else "failing",
        "latch": "latched" if row.latch else "armed",
        "hindsight": "nothing" if row.watched is None else "watching",
        "benefit": "settled" if row.prediction is None else "open",
        "pin": "unpinned" if row.pinned is None else "pinned",
        "hold": "automatic" if row.held is None else "held",
    }
