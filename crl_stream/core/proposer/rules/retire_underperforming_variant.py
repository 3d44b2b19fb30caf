"""Retire: a variant that is not active has performed badly for a long time, or was rolled back repeatedly.

Exploring such a variant wastes invocations, and it clutters every list of candidates.  The active variant is never
proposed, because the monitor refuses to retire it.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages import Change, VariantSnapshot
from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.monitor.decision_matrix import show
from crl_stream.core.proposer.draft import Draft, View, confidence

NAME: Final = "retire_underperforming_variant"
ORDER: Final = 4
TITLE: Final = "Retire {target} of {task}"
TRIGGERS: Final = ("low_q", "rolled_back")
MAKES: Final = False


def propose(view: View) -> list[Draft]:
    """Return a draft for each variant that qualifies, in the order of their names."""
    drafts = []
    for name in sorted(view.variants.keys() - {view.active.variant_id}):
        variant, limits = view.variants[name], view.limits
        if variant.rollbacks >= limits.retire_after_rollbacks:
            words = f"it was rolled back {_times(variant.rollbacks)} (limit {limits.retire_after_rollbacks})"
            drafts.append(_draft(view, variant, "rolled_back", words, f"rolled back {_times(variant.rollbacks)}"))
        elif variant.n_visits >= limits.min_invocations and variant.q_value < limits.retire_below_q:
            shown = show(variant.q_value, limits.retire_below_q)
            words = f"Q-value {shown} < {limits.retire_below_q:g} after {variant.n_visits} invocations"
            drafts.append(_draft(view, variant, "low_q", words, f"{variant.n_visits} invocations, Q-value {shown}"))
    return drafts


def lapse(view: View, target: str, trigger: Trigger) -> str | None:
    """Return why the proposal lapses: the variant is retired, gone or active, or has recovered."""
    variant = view.variants.get(target)
    if variant is None:
        return f"{target} is retired or gone"
    if variant is view.active:
        return f"{target} is active"
    limit = view.limits.retire_below_q
    if trigger == "low_q" and variant.q_value >= limit:
        return f"Q-value {show(variant.q_value, limit)} >= {limit:g} after {variant.n_visits} invocations"
    return None


def _draft(view: View, variant: VariantSnapshot, trigger: Trigger, words: str, evidence: str) -> Draft:
    active = view.active
    return Draft(
        trigger,
        variant.variant_id,
        variant.n_visits,
        confidence(variant.n_visits),
        f"{view.subject} are poorly served by {variant.variant_id}: {words}; the active {active.variant_id} "
        f"has Q-value {active.q_value:.2f} after {active.n_visits} invocations.\n"
        f"Suggest retiring {variant.variant_id}.",
        evidence,
        active.q_value,
        max(0.0, active.q_value - variant.q_value),
        variant.reward_variance,
        Change(action="retire", variant_id=variant.variant_id),
        [],
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
