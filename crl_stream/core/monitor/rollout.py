"""A rollout: a candidate replaces the active variant in stages, as long as it does not deliver less.

Both are compared over the same time, so a problem of both does not count against the candidate.  The candidate is
judged like a newcomer whose baseline is what the active variant delivers meanwhile; if it is degraded, the rollout is
aborted.  This module decides; ``lifecycle`` makes the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.figures import counted
from crl_stream.core.monitor.changes import (
    Activated,
    Change,
    RolloutAborted,
    RolloutStalled,
    RolloutStarted,
    StagePassed,
    WouldPromote,
)
from crl_stream.core.monitor.decision_matrix import barred
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.promise import Promise, compare, is_better, leads
from crl_stream.core.monitor.row import RETIRED, SEEN, Rollout, StandingOrder, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules, shares_of
from crl_stream.core.monitor.staging import control_of, delivered_lately, delivered_so_far
from crl_stream.core.monitor.standing_orders import stops_all
from crl_stream.core.monitor.targets import CLEARLY
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.policy import Policy

STAGES: Final = (0.05, 0.25, 0.5)
"""Stages of a rollout that a person starts, if the policy defines none."""
MONITOR: Final = "monitor"
"""The ``actor`` of steps that the monitor takes automatically."""
WHOLE: Final = 1_000
"""The share of all invocations, in thousandths."""


def start(
    turn: Turn,
    candidate: Variant,
    *,
    cause: str,
    cause_id: str,
    actor: str,
    words: str,
    stages: Sequence[float] | None = None,
    min_outcomes: int | None = None,
) -> RolloutStarted:
    """Return the beginning of a rollout under the policy, or with the stages and outcomes that a person requests."""
    rollout_id = turn.identify("ro", "rollout", candidate.variant_id)
    shares = shares_of(stages) if stages is not None else turn.rules.shares or shares_of(STAGES)
    needed = turn.policy.rollout.min_outcomes if min_outcomes is None else min_outcomes
    return RolloutStarted(rollout_id, candidate, shares, needed, cause, cause_id, actor, words)


def in_stages(turn: Turn, promoted: Activated | WouldPromote) -> Change:
    """Return an automatic promotion as a rollout if the policy has stages, else unchanged."""
    if not turn.rules.shares or isinstance(promoted, WouldPromote):
        return promoted
    return start(turn, promoted.to, cause="auto_apply", cause_id=promoted.cause_id, actor=MONITOR, words=promoted.words)


def advance(turn: Turn) -> Sequence[Change]:
    """Return the next stage of the rollout in progress if it is due, or what follows if it is overdue.

    After the last stage, the candidate becomes active.  A rollout that a person started continues if the candidate is
    not worse.  In an automatic rollout, the candidate must be better by ``rollback.confidence`` for the last step.  If
    a stage takes longer than ``rollout.patience`` outcomes at its share, operators are alerted, or an automatic rollout
    is aborted.
    """
    row, policy = turn.row, turn.policy
    rollout = row.rollout
    assert rollout is not None
    is_long = takes_long(row, rollout, policy)
    if rollout.candidate.n < rollout.min_outcomes and (not is_long or rollout.stalled):
        return ()
    why = waits_for(row, policy, turn.at.fleet)
    if why is None:
        better = "better" if needs_lead(rollout) else "not worse"
        return [
            next_stage(row, MONITOR, f"{better} in {counted(delivered_so_far(row)[0].n, 'outcome')}: {_compared(row)}")
        ]
    if rollout.stalled or not is_long or not turn.rules.enforced or is_held(turn) or turn.at.fleet is not None:
        return ()
    if rollout.cause == "auto_apply" and rollout.paused is None:
        step_id = turn.identify("step", "aborted", rollout.variant_id)
        return [RolloutAborted(row.variants[rollout.variant_id], MONITOR, f"it waited too long: {why}", step_id)]
    return [RolloutStalled(why)]


def takes_long(row: TaskRow, rollout: Rollout, policy: Policy) -> bool:
    """Return whether the present stage has had more outcomes than ``rollout.patience``, measured at its share."""
    return (row.n - rollout.stage_n) * rollout.shares[rollout.stage] >= policy.rollout.patience * WHOLE


def next_stage(row: TaskRow, actor: str, words: str, *, full: bool = False) -> StagePassed | Activated:
    """Return the change that begins the next stage, or that makes the candidate active after the last one."""
    rollout = row.rollout
    assert rollout is not None
    if full or is_last(rollout):
        return Activated(row.variants[rollout.variant_id], "rollout", rollout.rollout_id, words)
    return StagePassed(actor, words)


def abort(turn: Turn, candidate: Variant, grounds: Grounds, alert_id: str) -> RolloutAborted | None:
    """Return the end of the rollout because its ``candidate`` is degraded; None if the rollout continues.

    The verdict is about the last outcomes of the candidate.  Over the same time, the active variant must also have
    delivered more by two standard errors, in any of the three means: since the rollout began, or lately.  Chance
    decides which variant an invocation uses, so an outage that affects both rarely makes one look that much worse.
    Under a hold, the rollout continues.
    """
    row = turn.row
    if row.rollout is None or not turn.rules.enforced or is_held(turn):
        return None
    if not is_behind(row, turn.rules, grounds.metric):
        return None
    rollback_id = turn.identify("rb", "rollback", candidate.variant_id)
    return RolloutAborted(candidate, MONITOR, grounds.reason, rollback_id, grounds, alert_id)


def is_behind(row: TaskRow, rules: Rules, metric: str | None) -> bool:
    """Return whether the candidate is clearly behind, or degraded in a ``metric`` that an added detector defines."""
    if any(metric == detector.name for detector, *_ in rules.further):
        return True
    return any(leads(two, one, CLEARLY) for one, two in (delivered_so_far(row), delivered_lately(row)))


def waits_for(row: TaskRow, policy: Policy, fleet: StandingOrder | None) -> str | None:
    """Return what the next stage waits for, with figures; None if it is due."""
    rollout, mode = row.rollout, policy.operations.mode
    assert rollout is not None and row.active is not None
    if rollout.paused is not None:
        return f"paused by {rollout.paused.actor}"
    if mode != "enforce":
        return f"{mode} mode: nothing happens automatically"
    if (order := barred(row, policy, fleet, rollout=False)) is not None:
        return order
    for name in (rollout.variant_id, row.active):
        if row.variants[name].degraded:
            return f"{name} is degraded; {_compared(row)}"
    if rollout.candidate.n < rollout.min_outcomes:
        return f"{rollout.candidate.n} of {counted(rollout.min_outcomes, 'outcome')}"
    if not control_of(row).n:
        return f"no outcome of {row.active} in this stage"
    candidate, control = delivered_so_far(row)
    if needs_lead(rollout):
        errors = policy.rollback.confidence
        if not is_better(candidate, control, errors):
            return f"not better by {errors:g} standard errors: {_compared(row)}"
    elif is_worse(candidate, control):
        return f"worse than {row.active}: {_compared(row)}"
    return None


def is_worse(candidate: Promise, control: Promise) -> bool:
    """Return whether the candidate delivers less than the active variant, so that a stage does not end."""
    return is_better(control, candidate, 0.0) or leads(control, candidate, 1.0)


def needs_lead(rollout: Rollout) -> bool:
    """Return whether the candidate must be better for the next step, which makes it active automatically."""
    return rollout.cause == "auto_apply" and is_last(rollout)


def is_last(rollout: Rollout) -> bool:
    """Return whether the last stage is in progress."""
    return rollout.stage + 1 >= len(rollout.shares)


def weights_of(row: TaskRow, exploration: float = 0.0) -> dict[str, int] | None:
    """Return the share of each variant in thousandths, the active one last; None if the active one gets everything.

    Without a rollout, the variants that may be explored share ``exploration`` (0 to 1) equally. Each gets at least a
    thousandth; the remainder goes to the first ones by name.
    """
    rollout = row.rollout
    if row.active is None:
        return None
    if rollout is not None:
        share = rollout.shares[rollout.stage]
        return {rollout.variant_id: share, row.active: WHOLE - share}
    explored = sorted(name for name, variant in row.variants.items() if name != row.active and is_explored(variant))
    if not exploration or not explored:
        return None
    share, left = divmod(max(round(exploration * WHOLE), len(explored)), len(explored))
    weights = {name: share + (place < left) for place, name in enumerate(explored)}
    return {**weights, row.active: WHOLE - sum(weights.values())}


def is_offered(variant: Variant) -> bool:
    """Return whether runtimes know the variant: one with only shadow outcomes is not listed."""
    return variant.life.n > 0 or variant.state != SEEN


def is_explored(variant: Variant) -> bool:
    """Return whether runtimes may explore the variant while another one is active."""
    return is_offered(variant) and variant.state != RETIRED and not variant.quarantined


def is_held(turn: Turn) -> bool:
    """Return whether the task or the fleet is held, so that nothing automatic happens, not even a rollback."""
    return turn.row.held is not None or stops_all(turn.at.fleet)


def _compared(row: TaskRow) -> str:
    return compare(*delivered_so_far(row))
