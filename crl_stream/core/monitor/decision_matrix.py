"""The decision matrix, and which variant may be promoted automatically.  This module changes no state."""

from __future__ import annotations

from typing import Final

from crl_stream.core.figures import counted
from crl_stream.core.instant import to_text
from crl_stream.core.messages.parts import DecisionKind
from crl_stream.core.monitor.baseline import lifetime_of
from crl_stream.core.monitor.changes import Activated, Decided, WouldPromote
from crl_stream.core.monitor.promise import compare, is_better, promise_of
from crl_stream.core.monitor.row import DECIDED, MICRO, PROMOTED_IN_SHADOW, RETIRED, StandingOrder, TaskRow, Variant
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.standing_orders import stops_all, words_of_fleet
from crl_stream.core.monitor.tags import covers
from crl_stream.core.monitor.targets import rank
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.witnesses import contradicted, sole_source
from crl_stream.core.policy import Policy

NO_ACTION: Final = "no_action"


def decision(turn: Turn, variant: Variant) -> Decided | None:
    """Return the matrix's decision on ``variant``; None if it was already published in this epoch."""
    row, policy = turn.row, turn.policy
    active = variant.variant_id == row.active
    # Call ``decide`` only if needed: most outcomes belong to the active variant, or to one far from a promotion.
    level = NO_ACTION if active or variant.q < turn.rules.least_q else decide(variant, active=active, policy=policy)
    if variant.decided_epoch == row.epoch and variant.decided & DECIDED[level]:
        return None
    words = "" if turn.rules.mode == "observe" else reasoning(variant, active=active, policy=policy)
    return Decided(variant, level, turn.identify("dec", level, variant.variant_id), words)


def promotion(turn: Turn) -> Activated | WouldPromote | None:
    """Return the promotion of the best candidate; shadow mode only reports it.  None if nothing is promoted."""
    row, policy = turn.row, turn.policy
    best = best_candidate(row, policy)
    if best is None or blocked(row, policy, turn.at.fleet) is not None:
        return None
    words = reasoning(best, active=False, policy=policy)
    # The decision was already published with one of the candidate's own outcomes, unless the policy has changed since.
    cause_id = best.auto_apply_id or turn.identify("dec", "auto_apply", best.variant_id)
    if turn.rules.enforced:
        return Activated(best, "auto_apply", cause_id, words)
    if best.decided_epoch == row.epoch and best.decided & PROMOTED_IN_SHADOW:
        return None
    return WouldPromote(best, cause_id, words)


def decide(variant: Variant, *, active: bool, policy: Policy) -> DecisionKind:
    """Apply the guide's table: auto_apply for Q >= .9 and n >= 10, human_approval for Q >= .7 and n >= 5.

    A recent degradation or a quarantine turns auto_apply into human_approval.  The active variant needs no decision: it
    is already the default.
    """
    q, n = variant.q, variant.life.n
    if active or variant.state == RETIRED:
        return "no_action"
    if q >= policy.auto_apply.q_threshold and n >= policy.auto_apply.min_samples:
        if variant.quarantined or recently_degraded(variant, policy):
            return "human_approval"
        return "auto_apply"
    if q >= policy.human_approval.q_threshold and n >= policy.human_approval.min_samples:
        return "human_approval"
    return "no_action"


def recently_degraded(variant: Variant, policy: Policy) -> bool:
    """Return whether there was a DEGRADED verdict within the variant's last ``lookback_window`` outcomes."""
    at = variant.degraded_at
    return at >= 0 and variant.life.n - at < policy.degradation.lookback_window


def reasoning(variant: Variant, *, active: bool, policy: Policy) -> str:
    """Return the reason for the decision that ``decide`` returns, in the guide's style."""
    q, n = variant.q, variant.life.n
    if active:
        return "Already the default variant"
    if variant.state == RETIRED:
        return "Retired"
    auto, human = policy.auto_apply, policy.human_approval
    if q >= auto.q_threshold and n >= auto.min_samples:
        words = _reached(q, auto.q_threshold, n, auto.min_samples)
        if variant.quarantined:
            return f"Quarantined after a rollback: {words}"
        if recently_degraded(variant, policy):
            return f"Recent degradation {counted(n - variant.degraded_at, 'outcome')} ago: {words}"
        return f"High confidence: {words}"
    if n < human.min_samples:
        return f"Insufficient samples: n_visits {n} < {human.min_samples}"
    if q >= human.q_threshold:
        return f"Medium confidence: {_reached(q, human.q_threshold, n, human.min_samples)}"
    return f"Low confidence: Q-value {show(q, human.q_threshold)} < {human.q_threshold:g}"


def _reached(q: float, q_threshold: float, n: int, min_samples: int) -> str:
    return f"Q-value {show(q, q_threshold)} >= {q_threshold:g} and n_visits {n} >= {min_samples}"


def show(value: float, limit: float) -> str:
    """Format ``value`` with the fewest decimals, at least two, that show it on the same side of ``limit``."""
    for decimals in range(2, 17):
        text = f"{value:.{decimals}f}"
        if (float(text) >= limit) == (value >= limit):
            return text
    return repr(value)


def blocked(row: TaskRow, policy: Policy, fleet: StandingOrder | None = None) -> str | None:
    """Return what prevents every promotion in the task now, such as a hold on the ``fleet``; None if nothing does.

    One runtime that makes the active variant look bad must not cause its replacement by a promotion either.
    """
    order = barred(row, policy, fleet)
    if order is None and (left := cooldown_left(row, policy)):
        return f"cooling down: {counted(left, 'outcome')} left"
    if order is None and (found := contradicted(row, rules_of(policy))) is not None:
        return f"one runtime against the others: {found.words}"
    return order


def barred(row: TaskRow, policy: Policy, fleet: StandingOrder | None, *, rollout: bool = True) -> str | None:
    """Return the mode, pin, hold, incident or ``rollout`` that blocks every promotion in the task, or None."""
    if policy.operations.mode == "observe":
        return "observe mode: alerts only"
    if row.pinned is not None:
        return f"pinned by {row.pinned.actor}"
    if row.held is not None:
        return f"held by {row.held.actor}"
    if fleet is not None:
        return words_of_fleet(fleet)
    if rollout and row.rollout is not None:
        return f"a rollout of {row.rollout.variant_id} is in progress"
    if row.incident is not None:
        return f"{row.incident.tag} is failing ({row.incident.incident_id})"
    return None


def no_rollback(row: TaskRow, policy: Policy, fleet: StandingOrder | None) -> str | None:
    """Return what prevents a rollback of the active variant: mode, holds, one runtime, an incident; or None."""
    mode, why = policy.operations.mode, list[str]()
    if mode == "observe":
        why.append("observe mode: alerts only")
    elif mode == "shadow":
        why.append("shadow mode: rollbacks are only reported")
    if row.held is not None:
        why.append(f"held by {row.held.actor} {span_of(row.held, row)}")
    if fleet is not None and stops_all(fleet):
        why.append(f"{words_of_fleet(fleet)} {span_of(fleet, row)}")
    if row.one_runtime is not None:
        why.append(f"one runtime against the others: {row.one_runtime.words}")
    incident = row.incident
    if incident is not None and row.active is not None and covers(incident, row.variants[row.active]):
        left = incident.until_n - row.n
        why.append(
            f"{incident.tag} is failing ({incident.incident_id}): held until a variant that uses it recovers, for at "
            f"most {left} {'outcome' if left == 1 else 'outcomes'}; only a better variant that does not use it may be "
            "chosen"
        )
    return "; ".join(why) if why else None


def span_of(order: StandingOrder, row: TaskRow) -> str:
    """Return how much longer a pin or hold lasts: ``until 2025-11-19T14:30:00.000Z``, ``for 40 outcomes``, or both."""
    ends = []
    if order.until is not None:
        ends.append(f"until {to_text(order.until)}")
    if order.until_n is not None and (order.until is None or row.n < order.until_n):
        ends.append(f"for {counted(max(0, order.until_n - row.n), 'outcome')}")
    return " and ".join(ends) if ends else "until it is released"


def cooldown_left(row: TaskRow, policy: Policy) -> int:
    """Return how many more outcomes must pass before anything may be promoted again."""
    if row.active is None:
        return 0
    return max(0, policy.auto_apply.cooldown - (row.n - row.changed_n))


def best_candidate(row: TaskRow, policy: Policy) -> Variant | None:
    """Return the best variant with the decision auto_apply, a lead in Q and mean reward, and enough outcomes."""
    if row.active is None:
        return None
    auto, active, best = policy.auto_apply, row.variants[row.active], None
    for variant in row.variants.values():
        if variant.q < auto.q_threshold or variant is active:
            continue
        if decide(variant, active=False, policy=policy) != "auto_apply":
            continue
        if since_active(variant) < auto.min_outcomes_since_active or not may_try_again(variant):
            continue
        if lead_in_q(variant, active) < auto.min_lead or lead_in_reward(variant, active) < auto.min_lead:
            continue
        if not promises_more(variant, active, policy):
            continue
        if sole_source(row, variant, rules_of(policy)) is not None:
            continue
        if best is None or rank(variant) < rank(best):
            best = variant
    return best


def since_active(variant: Variant) -> int:
    """Return how many outcomes a variant has had since it was last the active one."""
    return variant.life.n - variant.left_at


def may_try_again(variant: Variant) -> bool:
    """Return whether enough outcomes have passed since the variant's rollout ended without a degradation."""
    return variant.life.n >= 2 * variant.declined


def lead_in_q(variant: Variant, active: Variant) -> float:
    """Return how far a candidate is ahead of the active variant in Q; negative if it is behind."""
    return variant.q - active.q


def lead_in_reward(variant: Variant, active: Variant) -> float:
    """Return how far a candidate is ahead of the active variant in mean reward; negative if it is behind."""
    return mean_reward(variant) - mean_reward(active)


def promises_more(variant: Variant, active: Variant, policy: Policy) -> bool:
    """Return whether a candidate's lifetime is better than the active variant's by ``auto_apply.confidence``."""
    promised, present = promise_of(lifetime_of(variant)), promise_of(lifetime_of(active))
    return is_better(promised, present, policy.auto_apply.confidence)


def not_applied(row: TaskRow, variant: Variant, policy: Policy, fleet: StandingOrder | None = None) -> str | None:
    """Return why a variant whose decision is ``auto_apply`` is not active yet; None for any other variant."""
    if row.active is None or variant.variant_id == row.active:
        return None
    if decide(variant, active=False, policy=policy) != "auto_apply":
        return None
    auto, active = policy.auto_apply, row.variants[row.active]
    since, needed = since_active(variant), auto.min_outcomes_since_active
    if since < needed:
        return f"{counted(since, 'outcome')} since it was last active, {needed} needed"
    if not may_try_again(variant):
        ended = counted(variant.declined, "outcome")
        return f"its rollout ended at {ended}; it may be promoted again at {2 * variant.declined}"
    leads = (("Q-value", lead_in_q(variant, active)), ("mean reward", lead_in_reward(variant, active)))
    for name, lead in leads:
        if lead < auto.min_lead:
            what = "ahead of" if lead >= 0 else "behind"
            far = show(abs(lead), auto.min_lead)
            return f"{far} {what} {active.variant_id} in {name}, {auto.min_lead:g} ahead needed"
    if not promises_more(variant, active, policy):
        words = compare(promise_of(lifetime_of(variant)), promise_of(lifetime_of(active)))
        return f"not better than {active.variant_id} by {auto.confidence:g} standard errors: {words}"
    alone = sole_source(row, variant, rules_of(policy))
    if alone is not None:
        return alone
    block = blocked(row, policy, fleet)
    if block is not None:
        return block
    best = best_candidate(row, policy)
    if best is not None and best is not variant:
        return f"{best.variant_id} is ahead of it"
    if policy.operations.mode == "shadow":
        return "shadow mode: nothing is activated"
    return f"applied with the next outcome of {active.variant_id}"


def mean_reward(variant: Variant) -> float:
    """Return the mean reward over the variant's lifetime, or since its level was accepted; 0 without outcomes."""
    life = lifetime_of(variant)
    return life.reward / MICRO / life.n if life.n else 0.0
