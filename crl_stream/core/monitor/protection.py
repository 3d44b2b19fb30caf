"""What follows from an outcome: verdict, alert, rollback, else promotion.

Alerts are edges, a rollback is a level: while the active variant stays degraded each of its outcomes tries again, so
that a hold or a missing target does not use up the one rollback of an activation.
"""

from __future__ import annotations

from crl_stream.core.instant import to_text
from crl_stream.core.monitor.decision_matrix import LEVELS, NO_ACTION, best_candidate, blocked, decide, reasoning
from crl_stream.core.monitor.evidence import forget
from crl_stream.core.monitor.row import MICRO, Variant
from crl_stream.core.monitor.targets import candidates
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verdict import DEGRADED, HEALTHY, Verdict, is_suspect, judge, sentence

_BITS = {level: 1 << number for number, level in enumerate(LEVELS)}
_PROMOTED_IN_SHADOW = 1 << len(LEVELS)


def review(turn: Turn, variant: Variant, *, outcome: bool) -> None:
    """Verdict, then rollback, else promotion; ``outcome`` says whether an outcome or a late score is the reason."""
    row = turn.row
    active = variant.variant_id == row.active
    fired = protect(turn, variant, outcome=outcome)
    state_decision(turn, variant)
    if active and not fired:
        _promote(turn)


def protect(turn: Turn, variant: Variant, *, outcome: bool) -> bool:
    """Verdict, alert and rollback of one variant; True when it was rolled back.

    Only an ``outcome`` counts towards a recovery: a score or another look says nothing new of a healthy variant.
    """
    if variant.degraded or is_suspect(variant, turn.rules):
        return _act(turn, variant, variant.variant_id == turn.row.active, outcome)
    return False


def _act(turn: Turn, variant: Variant, active: bool, outcome: bool) -> bool:
    """What follows from a verdict that may be bad, or that may end a bad time; True when it was rolled back."""
    row, verdict = turn.row, judge(variant, turn.rules)
    fired = False
    if verdict.kind == DEGRADED:
        variant.degraded_at, variant.clean = variant.life.n, 0
        started = not variant.degraded
        if started:
            variant.degraded, variant.degraded_since = True, row.time
            turn.degradation(variant, verdict, recovered=False)
        # Where rollbacks are enforced the activation ends the latch; one taken in shadow mode must not outlive it.
        if active and (turn.enforced or not row.latch) and turn.policy.operations.mode != "observe":
            fired = _roll_back(turn, variant, verdict)
        # Where it is not enforced, it is degraded still, and the alert of a rollback is never open.
        if started and not (fired and turn.enforced):
            _alert_degradation(turn, variant, verdict)
    elif variant.degraded and verdict.kind == HEALTHY and outcome:
        _count_clean(turn, variant, verdict, active)
    return fired


def _alert_degradation(turn: Turn, variant: Variant, verdict: Verdict) -> None:
    number, limit = _figures(turn, variant, verdict)
    variant.alerted = True
    turn.alert(
        "degradation",
        "critical" if variant.variant_id == turn.row.active else "warning",
        sentence(variant, verdict, turn.rules),
        about=variant.variant_id,
        number=number,
        limit=limit,
        cause_id=variant.alert_id,
    )


def _figures(turn: Turn, variant: Variant, verdict: Verdict) -> tuple[float, float]:
    """Number and limit of an alert: the worst metric's change, or the outcomes without a success."""
    if verdict.absolute:
        return float(variant.judged.n), float(turn.rules.size)
    assert verdict.worst is not None and verdict.finding is not None
    return verdict.finding.change, verdict.worst.limit(turn.policy.degradation) / MICRO


def _count_clean(turn: Turn, variant: Variant, verdict: Verdict, active: bool) -> None:
    row = turn.row
    variant.clean += 1
    needed = turn.policy.degradation.clean_verdicts
    if variant.clean < needed:
        return
    variant.degraded = False
    turn.degradation(variant, verdict, recovered=True)
    forget(variant)
    words = f"recovered: {variant.clean} healthy verdicts in a row of {needed}"
    turn.close_alert(variant, words, number=float(variant.clean), limit=float(needed))
    if active:
        row.latch, row.held_n = False, -1
        if row.no_target_n >= 0:
            row.no_target_n = -1
            turn.alert(
                "no_target",
                "info",
                "over: it recovered",
                about=variant.variant_id,
                cause_id=variant.alert_id,
                resolved=True,
            )


def _roll_back(turn: Turn, variant: Variant, verdict: Verdict) -> bool:
    """Leave the degraded active variant; False when somebody holds the task or there is nowhere to go."""
    row, policy = turn.row, turn.policy
    if turn.hold is not None:
        if row.held_n < 0 or row.n - row.held_n >= policy.rollback.renotify:
            row.held_n = row.n
            turn.alert(
                "held_degradation",
                "critical",
                f"degraded, and not rolled back: {_who_holds(turn)}",
                about=variant.variant_id,
                cause_id=variant.alert_id,
            )
        return False
    ranked = candidates(row, turn.rules)
    chosen = next((candidate.variant_id for candidate in ranked if candidate.chosen), None)
    if chosen is None:
        if row.no_target_n < 0 or row.n - row.no_target_n >= policy.rollback.renotify:
            row.no_target_n = row.n
            why = ", ".join(f"{c.variant_id} ({c.why_not})" for c in ranked) or "no other variant is known"
            turn.alert(
                "no_target",
                "critical",
                f"degraded, and nothing to roll back to: {why}; register or fix a variant",
                about=variant.variant_id,
                cause_id=variant.alert_id,
            )
        return False
    rollback_id = turn.identify("rb", "rollback", variant.variant_id)
    row.latch = True
    epoch = row.epoch + 1 if turn.enforced else row.epoch
    event = turn.rollback(variant, chosen, verdict, ranked, rollback_id, epoch)
    if turn.enforced:
        variant.quarantined, turn.catalogue_changed = True, True
        variant.rollbacks += 1
        turn.activate(row.variants[chosen], "rollback", rollback_id, event.reason)
    number, limit = _figures(turn, variant, verdict)
    turn.alert(
        "rollback",
        "critical",
        f"{'rolled back' if turn.enforced else 'would be rolled back'} to {chosen}: {event.reason}",
        about=variant.variant_id,
        number=number,
        limit=limit,
        cause_id=rollback_id,
        undo=turn.enforced,
    )
    return True


def _who_holds(turn: Turn) -> str:
    """Each hold with the command that releases it; both must be released before anything happens."""
    row, fleet, words = turn.row, turn.at.fleet, []
    if row.held is not None:
        releases = f"crl resume {row.agent_name}/{row.task_type} releases the hold"
        words.append(f"held by {row.held.actor} since {to_text(row.held.since)}; {releases}")
    if fleet is not None:
        words.append(
            f"the fleet is held by {fleet.actor} since {to_text(fleet.since)}; crl resume --all releases the fleet"
        )
    return "; ".join(words)


def _promote(turn: Turn) -> None:
    """Auto-apply the best ready candidate."""
    row, policy = turn.row, turn.policy
    best = best_candidate(row, policy)
    if best is None or blocked(row, policy, turn.at.fleet) is not None:
        return
    words = reasoning(best, active=False, policy=policy)
    # Its decision was stated with one of its own outcomes, unless the policy has changed since.
    cause_id = best.auto_apply_id or turn.identify("dec", "auto_apply", best.variant_id)
    if turn.enforced:
        turn.activate(best, "auto_apply", cause_id, words)
    elif not best.decided & _PROMOTED_IN_SHADOW or best.decided_epoch != row.epoch:
        _open_epoch(best, row.epoch)
        best.decided |= _PROMOTED_IN_SHADOW
        turn.state_activation(best, "auto_apply", cause_id, words, enforced=False, epoch=row.epoch)


def _open_epoch(variant: Variant, epoch: int) -> None:
    if variant.decided_epoch != epoch:
        variant.decided_epoch, variant.decided = epoch, 0


def state_decision(turn: Turn, variant: Variant) -> None:
    """The matrix's word, at most once per variant, level and epoch."""
    row, policy = turn.row, turn.policy
    active, epoch = variant.variant_id == row.active, row.epoch
    # Most outcomes are of the active variant or of one that nobody would promote.
    level = NO_ACTION if active or variant.q < turn.rules.least_q else decide(variant, active=active, policy=policy)
    bit = _BITS[level]
    if variant.decided_epoch == epoch and variant.decided & bit:
        return
    _open_epoch(variant, epoch)
    variant.decided |= bit
    if turn.rules.mode != "observe":
        decision_id = turn.decision(variant, level, reasoning(variant, active=active, policy=policy))
        if level == "auto_apply":
            variant.auto_apply_id = decision_id
