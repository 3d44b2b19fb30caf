"""Why a variant that is ahead of the active one is not applied yet, from a task's snapshot and its policy.

A snapshot does not say when a variant was last active, so ``min_outcomes_since_active`` is named only where nothing
else stands in the way.
"""

from __future__ import annotations

from crl_stream.core.activation import show
from crl_stream.core.messages import Order, TaskSnapshot, VariantSnapshot
from crl_stream.core.policy import Policy


def leaders(snapshot: TaskSnapshot) -> list[VariantSnapshot]:
    """The variants with a higher Q-value than the active one, the best first."""
    active = _active(snapshot)
    if active is None:
        return []
    ahead = [v for v in snapshot.variants if v is not active and v.n_visits and v.q_value > active.q_value]
    return sorted(ahead, key=lambda v: (-v.q_value, -v.n_visits, v.variant_id))


def obstacles(snapshot: TaskSnapshot, candidate: VariantSnapshot, policy: Policy) -> list[str]:
    """What keeps a leading variant from being applied automatically, each with its figure and its setting.

    Empty when nothing that a snapshot shows stands in its way.
    """
    active = _active(snapshot)
    assert active is not None
    return [*_of_the_variant(candidate, policy), *_of_the_lead(candidate, active, policy), *_of_the_task(snapshot)]


def sentence(snapshot: TaskSnapshot, candidate: VariantSnapshot, policy: Policy) -> str:
    """One sentence for people about one of the ``leaders``."""
    found = obstacles(snapshot, candidate, policy)
    name = candidate.variant_id
    if found:
        return f"{name} leads and is not applied: {'; '.join(found)}"
    rest = policy.auto_apply.min_outcomes_since_active
    return (
        f"{name} leads and is applied with an outcome of {snapshot.active_variant}, once it has {rest} outcomes "
        "since it was last active itself"
    )


def _active(snapshot: TaskSnapshot) -> VariantSnapshot | None:
    return next((v for v in snapshot.variants if v.active), None)


def _of_the_variant(variant: VariantSnapshot, policy: Policy) -> list[str]:
    auto, found = policy.auto_apply, []
    if variant.retired:
        return ["it is retired"]
    if variant.quarantined:
        found.append("it is quarantined after a rollback (crl quarantine lift)")
    if variant.q_value < auto.q_threshold:
        found.append(f"Q {show(variant.q_value, auto.q_threshold)} < {auto.q_threshold:g} (auto_apply.q_threshold)")
    if variant.n_visits < auto.min_samples:
        found.append(f"n_visits {variant.n_visits} < {auto.min_samples} (auto_apply.min_samples)")
    window = policy.degradation.lookback_window
    if variant.degraded_at is not None and variant.n_visits - variant.degraded_at < window:
        found.append(f"it was degraded within its last {window} outcomes (degradation.lookback_window)")
    return found


def _of_the_lead(variant: VariantSnapshot, active: VariantSnapshot, policy: Policy) -> list[str]:
    if variant.retired:
        return []
    needed, found = policy.auto_apply.min_lead, []
    for what, lead in (
        ("in Q", variant.q_value - active.q_value),
        ("in mean reward", variant.avg_reward - active.avg_reward),
    ):
        if lead < needed:
            found.append(f"its lead {what} is {show(lead, needed)} < {needed:g} (auto_apply.min_lead)")
    return found


def _of_the_task(snapshot: TaskSnapshot) -> list[str]:
    found = []
    if snapshot.mode != "enforce":
        found.append(f"the mode is {snapshot.mode}: nothing is applied (operations.mode)")
    if snapshot.pinned is not None:
        found.append(f"the task is pinned by {snapshot.pinned.actor}{_until(snapshot.pinned)} (crl unpin)")
    own = snapshot.held if snapshot.held is not None and snapshot.held.scope == "task" else None
    if own is not None:
        found.append(f"the task is held by {own.actor}{_until(own)} (crl resume)")
    if snapshot.fleet_held is not None:
        fleet = snapshot.fleet_held
        found.append(f"the fleet is held by {fleet.actor}{_until(fleet)} (crl resume --all)")
    if snapshot.cooldown_left:
        found.append(f"cooling down for {snapshot.cooldown_left} more outcomes (auto_apply.cooldown)")
    return found


def _until(order: Order) -> str:
    if order.until is not None:
        return f" until {order.until}"
    return "" if order.outcomes_left is None else f" for {order.outcomes_left} more outcomes"
