"""Modify: the active variant has performed badly for a long time (guide: "Default variant Q < 0.6 with n >= 50").

This rule applies only if there are other variants; ``create_specialized_variant`` handles a single variant.  Only one
experiment runs at a time: nothing more is proposed while a variant made from the active one has too few outcomes.
Likewise, nothing is proposed while another variant leads by so much that ``promote_variant_to_default`` applies.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.monitor.decision_matrix import show
from crl_stream.core.proposer.draft import (
    Draft,
    View,
    confidence,
    leads_by_more,
    next_variant_id,
    prescription,
    registration,
)
from crl_stream.core.proposer.remedies import WORDS

NAME: Final = "modify_variant_parameters"
ORDER: Final = 2
TITLE: Final = "Modify the active variant of {task}: {target}"
TRIGGERS: Final = ("underperformance",)
MAKES: Final = True


def propose(view: View) -> list[Draft]:
    """Return one draft; none if outcomes are too few, Q is fine, no other variant exists, or nothing is left to try."""
    active, limits = view.active, view.limits
    if len(view.variants) < 2 or active.n_visits < limits.min_invocations or active.q_value >= limits.modify_below_q:
        return []
    rivals = view.rivals
    if any(leads_by_more(rival, active, limits.promote_gap) for rival in rivals) or _experiment(view) is not None:
        return []
    best = max((rival.q_value for rival in rivals), default=active.q_value)
    kind, count, modifications = prescription(view)
    if not modifications or not view.has_room:
        return []
    target = next_variant_id(view)
    shown = show(active.q_value, limits.modify_below_q)
    cause = f"; {count} of {active.n_visits} outcomes were {WORDS[kind]}" if count else ""
    return [
        Draft(
            "underperformance",
            target,
            active.n_visits,
            confidence(active.n_visits),
            f"{view.subject} underperform with {active.variant_id} variant: Q-value {shown} < "
            f"{limits.modify_below_q:g} after {active.n_visits} invocations, and no other variant is more than "
            f"{limits.promote_gap:g} better{cause}.\n"
            f"Suggest trying {active.variant_id} with different parameters as {target}.",
            f"{active.n_visits} invocations, Q-value {shown}",
            active.q_value,
            best - active.q_value if best > active.q_value else max(0.0, limits.expected_q - active.q_value),
            active.reward_variance,
            registration(view, target, modifications),
            modifications,
        )
    ]


def lapse(view: View, target: str, _: Trigger) -> str | None:
    """Return why the proposal lapses: Q is fine, only the active variant is left, or something else is being tried."""
    active, limit = view.active, view.limits.modify_below_q
    if any(variant.variant_id == target for variant in view.snapshot.variants):
        return f"{target} already exists"
    if len(view.variants) < 2:
        return f"{active.variant_id} is the only variant left"
    if active.q_value >= limit:
        return f"Q-value {show(active.q_value, limit)} >= {limit:g} after {active.n_visits} invocations"
    if (trial := _experiment(view)) is not None:
        return f"{trial} is already being tried"
    return None


def _experiment(view: View) -> str | None:
    """Return the id of a variant made from the active one that has too few outcomes to be judged, if any."""
    for variant in view.variants.values():
        known = variant.configuration
        if (
            known is not None
            and known.parent == view.active.variant_id
            and not variant.quarantined
            and variant.n_visits < view.limits.min_invocations
        ):
            return variant.variant_id
    return None
