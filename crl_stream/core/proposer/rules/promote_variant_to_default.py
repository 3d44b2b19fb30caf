"""Promote: another variant performs better than the active one.

There are two triggers: the guide's gap ("Best variant Q-value > default Q-value by > 20 %", absolute, strictly more),
and a decision of the matrix that requires a person's approval.  The second needs no ``min_invocations``, because the
matrix has its own limits.  If the monitor would promote the candidate on its own, nothing is proposed until the
candidate has waited for ``min_invocations``.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages import Change, VariantSnapshot
from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.proposer.draft import Draft, View, confidence, leads_by_more

NAME: Final = "promote_variant_to_default"
ORDER: Final = 3
TITLE: Final = "Promote {target} to default of {task}"
TRIGGERS: Final = ("performance_gap", "medium_confidence")
MAKES: Final = False
_WIDE: Final = 0.3
_BONUS: Final = 0.15
"""How much a gap wider than ``_WIDE`` adds to the confidence."""


def propose(view: View) -> list[Draft]:
    """Return a draft for the best rival, with the stronger of the two triggers, or none; a pin prevents promotions."""
    active, limits = view.active, view.limits
    if active.n_visits < limits.promote_min_samples or view.snapshot.pinned is not None:
        return []
    ranked = sorted(view.rivals, key=lambda rival: (-rival.q_value, -rival.n_visits, rival.variant_id))
    if not ranked or _applies_itself(view, ranked[0]):
        return []
    if view.snapshot.n_outcomes >= limits.min_invocations:
        best = ranked[0]
        if leads_by_more(best, active, limits.promote_gap):
            gap = _show_above(best.q_value - active.q_value, limits.promote_gap)
            words = f"{best.variant_id} leads {active.variant_id} by {gap} > {limits.promote_gap:g}"
            return [_draft(view, best, "performance_gap", words)]
    for rival in ranked:
        if rival.decision == "human_approval" and rival.q_value > active.q_value:
            return [_draft(view, rival, "medium_confidence", rival.reasoning)]
    return []


def lapse(view: View, target: str, _: Trigger) -> str | None:
    """Return why the proposal lapses: the candidate is gone, is no longer fit to be active, or no longer leads."""
    active, rival = view.active, view.variants.get(target)
    if rival is None:
        return f"{target} is retired or gone"
    if rival.quarantined:
        return f"{target} is quarantined"
    if rival not in view.rivals:
        return (
            f"{target} is degraded"
            if rival.n_visits >= view.limits.promote_min_samples
            else f"{target} has started over"
        )
    if rival.q_value <= active.q_value:
        return f"{target} no longer leads: Q-value {rival.q_value:.2f} against {active.q_value:.2f}"
    return None


def _draft(view: View, rival: VariantSnapshot, trigger: Trigger, words: str) -> Draft:
    active = view.active
    gap = rival.q_value - active.q_value
    # The confidence depends on whichever of the two variants has fewer outcomes.
    n = min(rival.n_visits, active.n_visits)
    wide = leads_by_more(rival, active, _WIDE)
    figures = (
        f"Q-value {rival.q_value:.2f} over {rival.n_visits} invocations "
        f"against {active.q_value:.2f} over {active.n_visits}"
    )
    return Draft(
        trigger,
        rival.variant_id,
        n,
        confidence(n, bonus=_BONUS if wide else 0.0),
        f"{view.subject} show {view.lower(gap)} with {active.variant_id} variant than with "
        f"{rival.variant_id}: {figures}. {words}.\n"
        f"Suggest making {rival.variant_id} the default variant.",
        figures,
        active.q_value,
        gap,
        rival.reward_variance,
        Change(action="activate", variant_id=rival.variant_id),
        [],
    )


def _show_above(gap: float, limit: float) -> str:
    """Format ``gap`` with the fewest decimals, at least two, that show it above ``limit``."""
    return next((text for d in range(2, 17) if float(text := f"{gap:.{d}f}") > limit), repr(gap))


def _applies_itself(view: View, rival: VariantSnapshot) -> bool:
    """Return whether the monitor is about to activate the variant on its own."""
    snapshot = view.snapshot
    return (
        rival.decision == "auto_apply"
        and rival.n_visits < view.limits.min_invocations
        and snapshot.mode == "enforce"
        and snapshot.held is None
        and snapshot.fleet_held is None
    )
