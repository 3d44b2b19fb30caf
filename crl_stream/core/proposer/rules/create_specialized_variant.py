"""Create: the only variant of a task performs badly (guide: "Task type has only default variant and Q < 0.6").

A variant is the only one if every other variant is retired or has only shadow outcomes.  If there are others,
``modify_variant_parameters`` applies instead.  The two rules must not apply together, because both would propose the
same registration.
"""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.monitor.decision_matrix import show
from crl_stream.core.proposer.draft import Draft, View, confidence, next_variant_id, prescription, registration
from crl_stream.core.proposer.remedies import WORDS

NAME: Final = "create_specialized_variant"
ORDER: Final = 1
TITLE: Final = "Create {target} for {task}"
TRIGGERS: Final = ("no_specialized_variant",)
MAKES: Final = True
_MOST: Final = 0.75
"""Highest confidence in a variant that does not exist yet; taken from the guide's example."""


def propose(view: View) -> list[Draft]:
    """Return one draft; none if Q is fine, outcomes are too few, or there is another variant, no room or no remedy."""
    active, limits = view.active, view.limits
    if len(view.variants) > 1 or active.n_visits < limits.min_invocations or active.q_value >= limits.create_below_q:
        return []
    kind, count, modifications = prescription(view)
    if not modifications or not view.has_room:
        return []
    target = next_variant_id(view)
    improvement = max(0.0, limits.expected_q - active.q_value)
    focus = view.remedies.for_task(view.snapshot.task_type).focus
    evidence = f"{active.n_visits} invocations, Q-value {show(active.q_value, limits.create_below_q)}"
    cause = f" {count} of {active.n_visits} outcomes were {WORDS[kind]}." if count else ""
    return [
        Draft(
            "no_specialized_variant",
            target,
            active.n_visits,
            confidence(active.n_visits, most=_MOST),
            f"{view.subject} show {view.lower(improvement)} with {active.variant_id} variant: "
            f"Q-value {show(active.q_value, limits.create_below_q)} < {limits.create_below_q:g} after "
            f"{active.n_visits} invocations, and there is no other variant.{cause}\n"
            f"Suggest creating {f'{focus}-focused' if focus else 'specialized'} variant.",
            evidence,
            active.q_value,
            improvement,
            active.reward_variance,
            registration(view, target, modifications),
            modifications,
        )
    ]


def lapse(view: View, target: str, _: Trigger) -> str | None:
    """Return why the proposal lapses: there is now another variant, or Q is fine."""
    active, limit = view.active, view.limits.create_below_q
    if any(variant.variant_id == target for variant in view.snapshot.variants):
        return f"{target} already exists"
    if len(view.variants) > 1:
        return f"there are other variants now: {', '.join(sorted(view.variants.keys() - {active.variant_id}))}"
    if active.q_value >= limit:
        return f"Q-value {show(active.q_value, limit)} >= {limit:g} after {active.n_visits} invocations"
    return None
