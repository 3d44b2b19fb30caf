"""Whether a candidate is promoted: the decision matrix, the lead, and what stands in the way."""

from __future__ import annotations

from crl_stream.core.figures import counted
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor.baseline import lifetime_of
from crl_stream.core.monitor.decision_matrix import (
    best_candidate,
    cooldown_left,
    decide,
    lead_in_q,
    lead_in_reward,
    may_try_again,
    mean_reward,
    promises_more,
    promotion,
    recently_degraded,
    show,
    since_active,
)
from crl_stream.core.monitor.promise import compare, promise_of
from crl_stream.core.monitor.row import Variant
from crl_stream.core.monitor.targets import rank
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.why_not.conditions import (
    Condition,
    Question,
    free,
    hold_conditions,
    in_use,
    mode_condition,
    no_incident,
    nothing_before,
    pin_condition,
)
from crl_stream.core.monitor.witnesses import contradicted, sole_source
from crl_stream.core.policy import Policy


def about_promotion(turn: Turn, acted: str | None) -> list[Question]:
    """Return for each other variant whether it is promoted, the best one first."""
    row = turn.row
    made = promotion(turn) if acted is None and row.rollout is None and row.active is not None else None
    chosen = made.to.variant_id if type(made) is c.Activated else None
    others = sorted((one for one in row.variants.values() if one.variant_id != row.active), key=rank)
    return [
        Question(
            "promoted",
            variant.variant_id,
            f"{variant.variant_id} is promoted" + (" in stages" if turn.rules.shares else ""),
            chosen == variant.variant_id,
            [
                *matrix_conditions(variant, turn.policy),
                *lead_conditions(turn, variant),
                *promotion_conditions(turn, acted),
            ],
        )
        for variant in others
    ]


def matrix_conditions(variant: Variant, policy: Policy) -> list[Condition]:
    """Return what the decision matrix needs for ``auto_apply``."""
    auto, q, n = policy.auto_apply, variant.q, variant.life.n
    window, fell, ago = policy.degradation.lookback_window, recently_degraded(variant, policy), n - variant.degraded_at
    person = ""
    if decide(variant, active=False, policy=policy) == "human_approval":
        person = f"; with {policy.human_approval.q_threshold:g}, a person may approve it: crl proposals"
    return [
        in_use(variant),
        Condition(
            "q",
            "Q is high enough",
            q >= auto.q_threshold,
            f"Q {show(q, auto.q_threshold)}, {auto.q_threshold:g} needed{person}",
            q,
            auto.q_threshold,
        ),
        Condition(
            "n", "enough outcomes", n >= auto.min_samples, f"{n}, {auto.min_samples} needed", n, auto.min_samples
        ),
        free(variant),
        Condition(
            "degradation",
            f"no degradation in its last {counted(window, 'outcome')}",
            not fell,
            f"degraded {counted(ago, 'outcome')} ago" if fell else "none",
            float(ago) if variant.degraded_at >= 0 else None,
            window,
        ),
    ]


def lead_conditions(turn: Turn, variant: Variant) -> list[Condition]:
    """Return what else a variant needs to be the best candidate: outcomes of its own, and a lead."""
    row, policy, n = turn.row, turn.policy, variant.life.n
    assert row.active is not None
    auto, active = policy.auto_apply, row.variants[row.active]
    lead_q, lead_r, since = lead_in_q(variant, active), lead_in_reward(variant, active), since_active(variant)
    alone, best = sole_source(row, variant, turn.rules), best_candidate(row, policy)
    least = auto.min_outcomes_since_active
    first = best is None or rank(variant) <= rank(best)
    words = compare(promise_of(lifetime_of(variant)), promise_of(lifetime_of(active)))
    ended = (
        f"it ended at {counted(variant.declined, 'outcome')}; again at {2 * variant.declined}"
        if variant.declined
        else "none"
    )
    return [
        Condition(
            "since_active",
            "enough outcomes since it was last active",
            since >= least,
            f"{since}, {least} needed",
            since,
            least,
        ),
        Condition(
            "declined", "its last rollout is long enough ago", may_try_again(variant), ended, n, 2 * variant.declined
        ),
        Condition(
            "lead_q",
            f"ahead of {active.variant_id} in Q",
            lead_q >= auto.min_lead,
            f"{variant.q:.2f} against {active.q:.2f}: {lead_in_words(lead_q, auto.min_lead)}",
            lead_q,
            auto.min_lead,
        ),
        Condition(
            "lead_reward",
            f"ahead of {active.variant_id} in mean reward",
            lead_r >= auto.min_lead,
            f"{mean_reward(variant):.2f} against {mean_reward(active):.2f}: {lead_in_words(lead_r, auto.min_lead)}",
            lead_r,
            auto.min_lead,
        ),
        Condition(
            "better", f"better by {auto.confidence:g} standard errors", promises_more(variant, active, policy), words
        ),
        Condition("sources", "several runtimes have tried it", alone is None, alone or "not all from one runtime"),
        Condition(
            "best", "no other candidate is better", first, "the best" if first or best is None else best.variant_id
        ),
    ]


def promotion_conditions(turn: Turn, acted: str | None) -> list[Condition]:
    """Return what else must be true before a candidate is promoted: orders, incidents, the cooldown, the mode."""
    row, policy = turn.row, turn.policy
    left, against, rollout = cooldown_left(row, policy), contradicted(row, turn.rules), row.rollout
    mode, since = mode_condition(turn, "promotions"), row.n - row.changed_n
    return [
        nothing_before(acted),
        pin_condition(row),
        *hold_conditions(turn, promotes=True),
        Condition(
            "rollout",
            "no rollout is in progress",
            rollout is None,
            "none" if rollout is None else f"the rollout of {rollout.variant_id} is in progress",
        ),
        no_incident(row),
        Condition(
            "cooldown",
            "the cooldown is over",
            not left,
            f"{counted(since, 'outcome')} since the latest change, {policy.auto_apply.cooldown} needed",
            float(since),
            float(policy.auto_apply.cooldown),
        ),
        Condition(
            "one_runtime",
            "no single runtime makes the active variant look bad",
            against is None,
            "none does" if against is None else against.words,
        ),
        mode,
    ]


def lead_in_words(lead: float, least: float) -> str:
    """Return a lead over the active variant in words.

    >>> lead_in_words(0.13, 0.05), lead_in_words(-0.04, 0.05)
    ('0.13 ahead, 0.05 needed', '0.04 behind, 0.05 ahead needed')
    """
    if lead < 0:
        return f"{show(-lead, least)} behind, {least:g} ahead needed"
    return f"{show(lead, least)} ahead, {least:g} needed"
