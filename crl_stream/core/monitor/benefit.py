"""Judges whether a change of the active variant helped, by what the new variant has delivered since.

When a variant is replaced, the promises of both are kept as they are: that of the new one is the prediction.  After 20
and 50 outcomes of the new variant, what it delivered is compared with what the replaced one promised.  If the replaced
one has enough outcomes over the same time, it is compared with these instead, which is fairer: both then had similar
invocations and the same outages.

A change helped if the new variant delivers more in reward, success or errors, and less in none of them; it hurt in the
opposite case.  More and less mean that the 90 % interval of the difference of the two means does not include zero.
Otherwise the change made no difference that these outcomes could show.
"""

from __future__ import annotations

from typing import Final

import msgspec

from crl_stream.core.figures import counted
from crl_stream.core.messages.parts import BenefitFinding
from crl_stream.core.monitor.baseline import less, lifetime_of, meanwhile
from crl_stream.core.monitor.changes import Benefited
from crl_stream.core.monitor.promise import Promise, compare, delivered, gain, promise_of
from crl_stream.core.monitor.row import MICRO, Prediction, Sums, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.turn import Turn

EARLY: Final = 20
"""Outcomes after which a change is first judged: the guide's window."""
LATE: Final = 50
"""Outcomes after which a change is judged for the last time: the guide's ``min_invocations``."""
FEWEST: Final = 10
"""Outcomes that a comparison needs of either variant: half of the guide's window."""
_AWAY: Final = frozenset(("rollback", "rollback_verified_worse", "common_cause"))
"""Causes of a change away from a variant that has become worse, so that its lifetime promises too much."""


PROMOTIONS: Final = frozenset(("approval", "auto_apply", "rollout"))
"""Causes of a change to a variant that promised more than a healthy one."""


def predict(row: TaskRow, old: Variant, to: Variant, cause: str, cause_id: str, rules: Rules) -> Prediction:
    """Return what the change from ``old`` to ``to`` promises; call this while ``old`` is still active."""
    copy = msgspec.structs.replace
    command = row.rollout.cause_id if cause == "rollout" and row.rollout is not None else cause_id
    before = delivered(old, rules) if cause in _AWAY else promise_of(lifetime_of(old))
    return Prediction(
        row.epoch + 1,
        cause,
        cause_id,
        command,
        old.variant_id,
        list(promise_of(lifetime_of(to))),
        list(before),
        copy(to.life),
        copy(old.life),
    )


def beginnings(row: TaskRow, variant: Variant) -> tuple[Sums, ...]:
    """Return the sums that were recorded with the latest change and include older outcomes of ``variant``.

    A late score of such an outcome must amend them too. Otherwise it would count as part of what happened since.
    """
    prediction = row.prediction
    if prediction is None:
        return ()
    if variant.variant_id == row.active:
        return (prediction.started,)
    return (prediction.from_started,) if variant.variant_id == prediction.from_variant else ()


def look_after(turn: Turn) -> Benefited | None:
    """Return the judgement of the latest change, if it is due; call this at the end of a step."""
    row = turn.row
    prediction = row.prediction
    assert prediction is not None
    assert row.active is not None
    n = row.variants[row.active].life.n - prediction.started.n
    if n < EARLY or (n < LATE and prediction.told >= EARLY):
        return None
    return _judge(turn, prediction, final=n >= LATE)


def conclude(turn: Turn) -> Benefited | None:
    """Return the last judgement of the latest change because another one follows; None if it was judged before."""
    prediction = turn.row.prediction
    return None if prediction is None else _judge(turn, prediction, final=True)


def _judge(turn: Turn, prediction: Prediction, *, final: bool) -> Benefited:
    row = turn.row
    assert row.active is not None
    new = row.variants[row.active]
    seen = promise_of(less(new.life, prediction.started))
    same_time = meanwhile(row.variants.get(prediction.from_variant), prediction.from_started, FEWEST)
    before = Promise(*prediction.before) if same_time is None else promise_of(same_time)
    finding, words = _finding(prediction, new.variant_id, seen, before)
    return Benefited(prediction, finding, words, seen, before, same_time is not None, final)


def _finding(prediction: Prediction, name: str, seen: Promise, before: Promise) -> tuple[BenefitFinding, str]:
    old = prediction.from_variant
    outcomes = "1 outcome" if seen.n == 1 else f"{seen.n} outcomes"
    if seen.n < FEWEST:
        return "open", f"{name} had only {outcomes} since it replaced {old}, and {FEWEST} are needed"
    if before.n < FEWEST:
        return "open", f"{old} had only {counted(before.n, 'outcome')} to compare with, and {FEWEST} are needed"
    gains = [
        gain(one / MICRO / seen.n, seen.n, other / MICRO / before.n, before.n)
        for one, other in zip(seen[1:], before[1:], strict=True)
    ]
    more, less_ = any(low > 0.0 for _, low, _ in gains), any(high < 0.0 for _, _, high in gains)
    against = f"in {outcomes} since it replaced {old}: {compare(seen, before)}"
    if more and not less_:
        return "helped", f"{name} delivered more {against}"
    if less_ and not more:
        return "hurt", f"{name} delivered less {against}"
    if more:
        return "no_change", f"{name} delivered more in one respect and less in another {against}"
    return "no_change", f"{name} made no difference that can be told from chance {against}"
