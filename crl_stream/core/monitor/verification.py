"""Verifies a rollback by the first outcomes of its target, and takes it back if the target delivers less.

A rollback acts on a window that was selected for being bad, and trusts a target whose good outcomes may be old.  What
the target then delivers allows the first fair comparison: if it is worse, the task returns to the replaced variant.
The target is not quarantined, but its failed window keeps it from being chosen again for ``rollback.parole`` outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.monitor.changes import Change, QuarantineLifted, TakenBack, VerificationEnded
from crl_stream.core.monitor.common_cause import fell_together
from crl_stream.core.monitor.promise import Promise, compare, is_better, promise_of
from crl_stream.core.monitor.rollout import is_held
from crl_stream.core.monitor.row import RETIRED, Left, Variant
from crl_stream.core.monitor.tags import covers
from crl_stream.core.monitor.turn import Turn

_NOTHING: Final[Sequence[Change]] = ()


def verify(turn: Turn, target: Variant) -> Sequence[Change]:
    """Return the changes that follow from the outcomes of the latest rollback's ``target``, which is still active.

    It is compared from ``min_recent`` judged outcomes on, until its window is full.  Nothing is taken back under a
    hold, nor to a variant whose provider or model is failing.  The verification also ends if the replaced variant can
    no longer be used.  If both fell together, which a few outcomes can show, the target is not worse, and an incident
    begins.
    """
    row, rules, left = turn.row, turn.rules, turn.row.left
    assert left is not None
    back = row.variants.get(left.variant_id)
    if not is_usable(back) or back is None or not turn.policy.rollback.verify:
        return [VerificationEnded()]
    judged, may_act = target.judged, rules.enforced and not is_held(turn)
    if may_act and (together := fell_together(turn, target, back)):
        return together
    if judged.n < rules.min_recent:
        return _NOTHING
    promised, delivers = promised_by(left), promise_of(judged)
    if may_act and not covers(row.incident, back) and is_better(promised, delivers, rules.confidence):
        words = f"worse than {left.variant_id} in its first {judged.n} outcomes: {compare(delivers, promised)}"
        return [QuarantineLifted(back), TakenBack(target, back, left.rollback_id, words)]
    return [VerificationEnded()] if judged.n >= rules.size else _NOTHING


def is_usable(back: Variant | None) -> bool:
    """Return whether the task can return to the replaced variant: it must be known, and not retired."""
    return back is not None and back.state != RETIRED


def promised_by(left: Left) -> Promise:
    """Return what the replaced variant delivered, which its replacement must not fall below."""
    return Promise(left.n, left.value, left.successes, left.flawless)
