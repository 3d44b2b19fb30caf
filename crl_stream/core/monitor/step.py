"""One step of the engine: record a message, judge the variant, and publish what follows.

A step first records the outcome.  Then it judges the variant and rolls it back if necessary, so the rollback happens on
the outcome that reveals the degradation.  Next it looks at the guardrail metrics, such as the cost.  Finally it applies
the decision matrix and, if nothing was rolled back, continues the rollout in progress or promotes the best candidate.
Nothing here uses Kafka, a clock or a batch: time and position come with the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Feedback, Invocation
from crl_stream.core.monitor.benefit import look_after
from crl_stream.core.monitor.changes import RolledBack, TakenBack
from crl_stream.core.monitor.commands import apply_command
from crl_stream.core.monitor.common_cause import follow, overdue
from crl_stream.core.monitor.decision_matrix import decision, promotion
from crl_stream.core.monitor.feedback import take_feedback
from crl_stream.core.monitor.guardrails import keep
from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.protection import protect
from crl_stream.core.monitor.publishing import publish_state
from crl_stream.core.monitor.record import record
from crl_stream.core.monitor.rollout import advance, in_stages
from crl_stream.core.monitor.row import (
    TaskRow,
    decode_row,
    encode_row,
    new_row,
)
from crl_stream.core.monitor.scorecard import look_back
from crl_stream.core.monitor.standing_orders import expired, noticed
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.monitor.verification import verify
from crl_stream.core.policy import Policy

__all__ = ["Context", "Step", "fold", "follow_fleet", "pass_time", "step"]


class Step(NamedTuple):
    """The result of one step: what happened to the message, and what to publish."""

    disposition: Literal["applied", "duplicate", "too_late", "rejected"]
    reason: str | None
    facts: Sequence[Any]


_QUIET: Final = Step("applied", None, ())
"""The result of most outcomes: applied, with nothing to publish."""


def step(row: TaskRow, message: Any, at: Context, policy: Policy) -> Step:
    """Fold one Invocation, Feedback or task command into ``row``, in place."""
    row.offset, row.incarnation = at.offset, at.incarnation
    time = at.timestamp_ms
    if time > row.time:
        row.time = time
    turn = Turn(row, at, policy)
    if row.pinned is not None or row.held is not None:
        apply(turn, expired(row))
    if row.incident is not None:
        apply(turn, overdue(turn))
    if at.fleet is not None or row.shown_fleet:
        apply(turn, noticed(row, at.fleet))
    disposition: Literal["applied", "duplicate", "too_late", "rejected"]
    kind, variant, reason, judged = type(message), None, None, True
    if kind is Invocation:
        disposition, reason, variant, judged = record(turn, message)
    elif kind is Feedback:
        disposition, variant = take_feedback(turn, message)
    else:
        disposition = apply_command(turn, message)
    if variant is not None:
        active, changed = variant.variant_id == row.active, False
        if row.incident is not None:
            apply(turn, follow(turn, variant))
        if judged:
            if active and row.left is not None:
                changes = verify(turn, variant)
                apply(turn, changes)
                changed = any(type(change) is TakenBack for change in changes)
            if not changed:
                changes = protect(turn, variant, outcome=kind is Invocation)
                if changes:
                    apply(turn, changes)
                    changed = any(type(change) is RolledBack for change in changes)
        if turn.measured and not changed:
            broken = keep(turn, variant)
            apply(turn, broken)
            changed = any(type(change) is RolledBack for change in broken)
        said = decision(turn, variant)
        if said is not None:
            apply(turn, [said])
        if judged and not changed:
            if row.rollout is not None:
                apply(turn, advance(turn))
            elif active:
                promoted = promotion(turn)
                if promoted is not None:
                    apply(turn, [in_stages(turn, promoted)])
    if row.watched is not None:
        apply(turn, look_back(turn))
    if row.prediction is not None and (helped := look_after(turn)) is not None:
        apply(turn, [helped])
    publish_state(turn)
    if disposition == "applied" and not turn.facts:
        return _QUIET
    return Step(disposition, reason, turn.facts)


def _moved_on(row: TaskRow, at: Context, policy: Policy) -> Turn:
    """Advance a row to ``at`` without an outcome: what has expired ends, and a hold on the fleet is noticed."""
    row.offset, row.incarnation = at.offset, at.incarnation
    if at.timestamp_ms > row.time:
        row.time = at.timestamp_ms
    turn = Turn(row, at, policy)
    apply(turn, expired(row))
    apply(turn, overdue(turn, ticks=True))
    apply(turn, noticed(row, at.fleet))
    return turn


def pass_time(row: TaskRow, at: Context, policy: Policy) -> Sequence[Any]:
    """Advance a row whose ``wake`` time has passed to ``at.timestamp_ms``; return the facts.

    Expired pins, holds and incidents end, and unpublished state is published.  Nothing is judged: a rollback or
    promotion that a hold prevented waits for the next outcome.
    """
    turn = _moved_on(row, at, policy)
    publish_state(turn, due=True)
    return turn.facts


def follow_fleet(row: TaskRow, at: Context, policy: Policy) -> Step:
    """Publish the state of the task when a hold on the fleet begins or ends."""
    turn = _moved_on(row, at, policy)
    turn.active_changed = True  # ``noticed`` overlooks a new hold that begins in the same millisecond
    publish_state(turn, due=True)
    return Step("applied", None, turn.facts)


def fold(
    data: bytes | None, key: TaskKey, messages: Sequence[tuple[Any, Context]], policy: Policy
) -> tuple[bytes, list[Any]]:
    """Apply ``step`` as a pure function: row bytes and messages in, row bytes and facts out."""
    row = new_row(key) if data is None else decode_row(data)
    facts: list[Any] = []
    for message, at in messages:
        facts += step(row, message, at, policy).facts
    return encode_row(row), facts
