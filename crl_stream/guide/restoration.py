"""Restores a row from its public snapshot, so that a reader can judge it by other limits.

The restored row gives the same verdict, matrix decisions, candidates and figures as the original. It lacks what only
the fold needs: known ids, waiting feedback, runtimes, and the separate evidence of each metric (only the mean is kept).
"""

from __future__ import annotations

from crl_stream.core.instant import from_text
from crl_stream.core.messages import Order, TaskSnapshot, VariantSnapshot, WindowSnapshot
from crl_stream.core.monitor.evidence import PLACES
from crl_stream.core.monitor.row import (
    ABSENT,
    ERROR,
    FAILED,
    JUDGED,
    MICRO,
    OUTCOME,
    RETIRED,
    SUCCESS,
    Frozen,
    OneRuntime,
    StandingOrder,
    Sums,
    TaskRow,
    Variant,
)
from crl_stream.guide.looking import looking_back


def restored_row(snapshot: TaskSnapshot) -> TaskRow:
    """Return the row that ``snapshot`` describes."""
    row = TaskRow(
        snapshot.agent_name,
        snapshot.task_type,
        incarnation=snapshot.incarnation,
        offset=snapshot.as_of.offset,
        time=from_text(snapshot.timestamp),
        n=snapshot.n_outcomes,
        epoch=snapshot.epoch,
        active=snapshot.active_variant,
        pinned=_order(snapshot, snapshot.pinned),
        held=_order(snapshot, snapshot.held),
    )
    row.one_runtime = _one_runtime(snapshot)
    row.variants = {variant.variant_id: _variant(variant) for variant in snapshot.variants}
    return row


def _one_runtime(snapshot: TaskSnapshot) -> OneRuntime | None:
    shown = snapshot.one_runtime
    if shown is None:
        return None
    return OneRuntime(
        shown.runtime_id,
        snapshot.n_outcomes,
        shown.metric,
        round(shown.share * MICRO),
        shown.outcomes,
        shown.judged,
        shown.other_runtimes,
        shown.other_outcomes,
        shown.text,
    )


def _variant(shown: VariantSnapshot) -> Variant:
    life = _sums(shown.n_visits, shown.success_rate, shown.avg_reward, shown.error_rate)
    life.squares = round((shown.reward_variance + shown.avg_reward**2) * shown.n_visits * MICRO)
    variant = Variant(
        shown.variant_id,
        state=RETIRED if shown.retired else 0,
        quarantined=shown.quarantined,
        life=life,
        q=shown.q_value,
        window=_window(shown.window),
        evidence=[shown.e_value] * PLACES,
        degraded=shown.degraded,
        degraded_at=-1 if shown.degraded_at is None else shown.degraded_at,
        degraded_since=0 if shown.degraded_since is None else from_text(shown.degraded_since),
        rollbacks=shown.rollbacks,
    )
    if (known := shown.baseline) is not None:
        sums = _sums(known.n, known.success_rate, known.avg_reward, known.error_rate)
        variant.baseline = Frozen(known.variant_id, sums)
    return looking_back(variant, max(1, shown.window.size))


def _sums(n: int, success_rate: float, avg_reward: float, error_rate: float) -> Sums:
    """Convert rates over ``n`` outcomes back into the sums they came from."""
    return Sums(n, round(success_rate * n), round(error_rate * n), round(avg_reward * MICRO * n))


def _window(shown: WindowSnapshot) -> bytearray:
    judged = shown.judged_outcomes
    if judged is None:
        judged = "-" * (shown.size - shown.judged) + "J" * shown.judged
    errors = shown.error_outcomes
    if errors is None:
        errors = "".join("E" if letter == "E" else "-" for letter in shown.outcomes)
    window = bytearray()
    for offset, reward, letter, mark, error in zip(
        shown.offsets, shown.rewards, shown.outcomes, judged, errors, strict=True
    ):
        flags = {"S": SUCCESS, "F": 0}.get(letter, FAILED)
        flags |= (JUDGED if mark == "J" else 0) | (ERROR if error == "E" else 0)
        window += OUTCOME.pack(offset, 0, round(reward * MICRO), ABSENT, ABSENT, 0, flags)
    return window


def _order(snapshot: TaskSnapshot, shown: Order | None) -> StandingOrder | None:
    if shown is None:
        return None
    until = None if shown.until is None else from_text(shown.until)
    until_n = None if shown.outcomes_left is None else snapshot.n_outcomes + shown.outcomes_left
    return StandingOrder(shown.actor, shown.reason, from_text(shown.since), until, until_n, shown.variant_id)
