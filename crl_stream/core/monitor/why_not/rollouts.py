"""Whether the next stage of a rollout begins, or the rollout takes too long."""

from __future__ import annotations

from crl_stream.core.instant import to_text
from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor.promise import compare, is_better
from crl_stream.core.monitor.rollout import (
    advance,
    is_last,
    is_worse,
    needs_lead,
    takes_long,
    waits_for,
)
from crl_stream.core.monitor.staging import control_of, delivered_so_far
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.why_not.conditions import (
    Condition,
    Question,
    has,
    hold_conditions,
    mode_condition,
    no_incident,
    nothing_before,
    pin_condition,
)


def about_rollout(turn: Turn, acted: str | None) -> list[Question]:
    """Return whether the next stage of the rollout begins, or the rollout takes too long."""
    row, rollout = turn.row, turn.row.rollout
    running = "no rollout is in progress" if rollout is None else f"{rollout.variant_id}, {rollout.rollout_id}"
    begin = [Condition("rollout", "a rollout is in progress", rollout is not None, running), nothing_before(acted)]
    if rollout is None:
        begin = begin[:1]
        return [
            Question("stage_passed", "", "the next stage of a rollout begins", False, begin),
            Question("stage_overdue", "", "a rollout is reported as stalled, or ended", False, begin),
        ]
    name, policy = rollout.variant_id, turn.policy
    changes = advance(turn) if acted is None else ()
    due = waits_for(row, policy, turn.at.fleet)
    spent = (row.n - rollout.stage_n) * rollout.shares[rollout.stage] / 1_000
    last = "becomes active, after the last stage" if is_last(rollout) else "gets its next share"
    late = [
        Condition("waiting", "the stage is not due", due is not None, due or "it is due"),
        Condition("told", "it was not told before", not rollout.stalled, "told" if rollout.stalled else "not told"),
        Condition(
            "patience",
            "rollout.patience is used up",
            takes_long(row, rollout, policy),
            f"{spent:.1f} outcomes at its share, {policy.rollout.patience:g} allowed",
            spent,
            float(policy.rollout.patience),
        ),
        mode_condition(turn, "rollouts"),
        *hold_conditions(turn, promotes=True),
    ]
    passes = has(changes, c.StagePassed) or has(changes, c.Activated)
    ends = has(changes, c.RolloutStalled) or has(changes, c.RolloutAborted)
    return [
        Question("stage_passed", name, f"{name} {last}", passes, [*begin, *_stage_conditions(turn)]),
        Question(
            "stage_overdue", name, f"the rollout of {name} is reported as stalled, or ended", ends, [*begin, *late]
        ),
    ]


def _stage_conditions(turn: Turn) -> list[Condition]:
    """Return what the next stage needs, in the order of ``waits_for``."""
    row, rollout = turn.row, turn.row.rollout
    assert rollout is not None and row.active is not None
    paused, control = rollout.paused, control_of(row).n
    found = [
        Condition(
            "paused",
            "it is not paused",
            paused is None,
            "not paused" if paused is None else f"paused by {paused.actor} since {to_text(paused.since)}",
        ),
        mode_condition(turn, "rollouts"),
        pin_condition(row),
        *hold_conditions(turn, promotes=True),
        no_incident(row),
    ]
    for key, name in (("candidate", rollout.variant_id), ("active", row.active)):
        degraded = row.variants[name].degraded
        words = "degraded" if degraded else "not degraded"
        found.append(Condition(f"{key}_healthy", f"{name} is not degraded", not degraded, words))
    n, needed = rollout.candidate.n, rollout.min_outcomes
    found += [
        Condition("outcomes", "enough outcomes in this stage", n >= needed, f"{n}, {needed} needed", float(n), needed),
        Condition(
            "control",
            f"outcomes of {row.active} in this stage",
            control > 0,
            f"{control}, 1 needed",
            float(control),
            1.0,
        ),
    ]
    one, two = delivered_so_far(row)
    if needs_lead(rollout):
        errors = turn.policy.rollback.confidence
        label, holds = f"better by {errors:g} standard errors", is_better(one, two, errors)
    else:
        label, holds = f"not worse than {row.active}", not is_worse(one, two)
    found.append(Condition("compared", label, holds, compare(one, two)))
    return found
