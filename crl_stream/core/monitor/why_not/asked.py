"""Asks all questions about a task, or about one variant of it, in the order of the engine's step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crl_stream.core.monitor import changes as c
from crl_stream.core.monitor import gauges
from crl_stream.core.monitor.common_cause import (
    follow,
    overdue,
)
from crl_stream.core.monitor.decision_matrix import promotion
from crl_stream.core.monitor.guardrail import Guardrail
from crl_stream.core.monitor.guardrails import keep
from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.protection import protect
from crl_stream.core.monitor.rollout import advance, in_stages
from crl_stream.core.monitor.row import TaskRow, Variant, decode_row, encode_row
from crl_stream.core.monitor.standing_orders import expired, noticed
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.monitor.verification import verify
from crl_stream.core.monitor.why_not.conditions import (
    Question,
    has,
)
from crl_stream.core.monitor.why_not.costs import about_guardrails
from crl_stream.core.monitor.why_not.endings import (
    about_forgetting,
    about_time,
    benefit_judged,
    cause_recovered,
    first,
    forgotten,
    judged_afterwards,
)
from crl_stream.core.monitor.why_not.promotions import about_promotion
from crl_stream.core.monitor.why_not.rollouts import about_rollout
from crl_stream.core.monitor.why_not.verdicts import about_verdict
from crl_stream.core.monitor.why_not.verifications import about_verification
from crl_stream.core.policy import Policy


def why_not(data: bytes, at: Context, policy: Policy, variant_id: str | None = None) -> list[Question]:
    """Return every question about a task, as if it were judged at ``at``.

    Args:
        data: The task's row.
        at: The position, the time now, the hold on the fleet and the reports about tags.
        policy: The policy of the task.
        variant_id: Ask about this variant only; None asks about the active one, a rollout's candidate, and the
            promotion of every other variant.
    """
    row = decode_row(data)
    turn = Turn(row, at, policy)
    if at.timestamp_ms > row.time:
        row.time = at.timestamp_ms
    asked = list(about_time(turn))
    let_time_pass(turn)
    if variant_id is not None and variant_id not in row.variants:
        return asked
    if row.active is None:
        return [*asked, *(first(turn, variant) for variant in row.variants.values())]
    known, found = encode_row(row), dict[tuple[str, str, str], Question]()
    for name in _asked_about(row, variant_id):
        other = Turn(decode_row(known), at, policy)
        for one in about_outcome(other, other.row.variants[name], measured_in(other, other.row.variants[name])):
            place = one.key, one.variant_id, one.title
            if place not in found or one.acts:  # a stage may begin with an outcome of either variant
                found[place] = one
    asked += found.values()
    if variant_id is None:
        return [*asked, *about_forgetting(turn)]
    if variant_id == row.active:
        return [question for question in asked if question.variant_id in {"", variant_id}]
    return [question for question in asked if question.variant_id == variant_id] + [forgotten(turn, variant_id)]


def _asked_about(row: TaskRow, variant_id: str | None) -> list[str]:
    """Return the variants whose outcomes could lead to a step that is asked about; the active one comes first."""
    names = [row.active or ""]
    if variant_id not in {None, row.active}:
        names.append(variant_id or "")
    if variant_id is None and row.rollout is not None:
        names.append(row.rollout.variant_id)
    return names


def let_time_pass(turn: Turn) -> None:
    """End what is over by now, as a step does before it records an outcome."""
    row = turn.row
    apply(turn, expired(row))
    apply(turn, overdue(turn))
    apply(turn, noticed(row, turn.at.fleet))


def measured_in(turn: Turn, variant: Variant) -> list[Guardrail]:
    """Return the guardrails to look at if the next outcome has their values: broken ones, and those that may be."""
    found = []
    for guardrail in turn.rules.guardrails:
        gauge = variant.gauges.get(guardrail.name)
        if gauge is None or gauge.sign != guardrail.sign:
            continue
        if gauge.open_alert or gauges.e_value(gauge) >= turn.rules.threshold:
            found.append(guardrail)
    return found


def about_outcome(
    turn: Turn, variant: Variant, measured: Sequence[Guardrail], *, judged: bool = True, outcome: bool = True
) -> list[Question]:
    """Return what follows from an outcome of ``variant`` that is already recorded, in the order of a step.

    Applies what follows to the row of ``turn``, as the step does, because later questions depend on it.
    """
    row, asked = turn.row, list[Question]()
    acted = None if judged else "the outcome belongs to an earlier epoch, so it is not judged"
    active = variant.variant_id == row.active
    asked.append(cause_recovered(turn, variant))
    if row.incident is not None:
        apply(turn, follow(turn, variant))
    if active:
        asked += about_verification(turn, variant, acted)
        if judged and row.left is not None:
            changes = verify(turn, variant)
            apply(turn, changes)
            acted = "the latest rollback is taken back" if has(changes, c.TakenBack) else None
    verdict = judge(variant, turn.rules)
    changes = protect(turn, variant, outcome=outcome) if acted is None else ()
    asked += about_verdict(turn, variant, verdict, changes, acted)
    apply(turn, changes)
    if acted is None and has(changes, c.RolledBack):
        acted = f"{variant.variant_id} is rolled back, or would be in shadow mode"
    turn.measured = [*measured] if acted is None else []
    broken = keep(turn, variant) if turn.measured else ()
    asked += about_guardrails(turn, variant, broken, acted)
    apply(turn, broken)
    if acted is None and has(broken, c.RolledBack):
        acted = f"{variant.variant_id} is rolled back because of a guardrail"
    asked += about_rollout(turn, acted)
    if active:
        asked += about_promotion(turn, acted)
    if acted is None:
        apply(turn, _goes_on(turn, active=active))
    return [*asked, judged_afterwards(turn), benefit_judged(turn)]


def _goes_on(turn: Turn, *, active: bool) -> Sequence[Any]:
    """Return how the rollout in progress continues, or which candidate is promoted."""
    if turn.row.rollout is not None:
        return advance(turn)
    promoted = promotion(turn) if active else None
    return () if promoted is None else [in_stages(turn, promoted)]
