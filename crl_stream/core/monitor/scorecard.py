"""Judges, for the scorecard, a rollback that shadow mode only reported, by what happened next.

The outcomes that led to a rollback were selected for being bad, so only later ones count: up to ``horizon`` outcomes of
the variant that stayed active.  They are compared with the promise that the target had when the rollback was reported.
If the target has enough outcomes of its own over the same time, they are compared with these instead.  That is fairer,
because both variants then had similar invocations and the same outages.

A rollback was right if the variant delivered less than its target and less than its own baseline, both by
``rollback.confidence`` standard errors.  It was wrong if the variant recovered by itself, or delivered no less than its
target or its own baseline.  A variant that never worked is compared with the target alone.  Everything else is open:
too few outcomes, or a difference that may be chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from crl_stream.core.messages.facts import HindsightFinding
from crl_stream.core.monitor.baseline import less, lifetime_of, meanwhile
from crl_stream.core.monitor.changes import Change, LookedBack
from crl_stream.core.monitor.detectors import DETECTORS
from crl_stream.core.monitor.evidence import WRITTEN_OUT
from crl_stream.core.monitor.grounds import Grounds
from crl_stream.core.monitor.promise import Promise, compare, is_better, promise_of
from crl_stream.core.monitor.row import MICRO, Sums, TaskRow, Variant, Watched
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.turn import Turn
from crl_stream.core.monitor.verdict import baseline_of

MOST: Final = 50
"""Outcomes after which a reported rollback is judged, unless a window is longer: the guide's ``min_invocations``."""
COMPARED: Final = frozenset(detector.name for detector in DETECTORS[:WRITTEN_OUT])
"""The metrics by which two variants are compared; a rollback because of any other metric stays open."""
_NOTHING: Final[Sequence[Change]] = ()


def horizon(rules: Rules) -> int:
    """Return how many outcomes a reported rollback is judged by: 50, or a window if that is longer."""
    return rules.size if rules.size > MOST else MOST


def in_words(right: int, judged: int, avoidable: int, caused: int) -> str:
    """Return a scorecard in words.

    >>> in_words(9, 9, 212, 0), in_words(4, 6, 1, 3)
    ('9 of 9 right, 212 bad invocations avoidable', '4 of 6 right, 1 bad invocation avoidable, 3 caused')
    """
    bad = "1 bad invocation" if avoidable == 1 else f"{avoidable:,} bad invocations"
    return f"{right} of {judged} right, {bad} avoidable" + (f", {caused:,} caused" if caused else "")


def watch(row: TaskRow, variant: Variant, target: Variant, grounds: Grounds, rollback_id: str, rules: Rules) -> Watched:
    """Return what is needed later to judge the rollback of the active ``variant`` that is being reported now.

    A variant that is degraded because it had no success at all has no baseline to fall below.
    """
    copy = msgspec.structs.replace
    return Watched(
        rollback_id,
        variant.variant_id,
        target.variant_id,
        row.epoch,
        grounds.metric or "",
        copy(variant.life),
        Sums() if grounds.evidence.absolute else copy(baseline_of(variant, rules)),
        copy(target.life),
        copy(lifetime_of(target)),
        rules.judging,
    )


def beginnings(row: TaskRow, variant: Variant) -> tuple[Sums, ...]:
    """Return the sums that were recorded with the reported rollback and include older outcomes of ``variant``.

    A late score of such an outcome must amend them too. Otherwise it would count as part of what happened next.
    """
    watched = row.watched
    if watched is None:
        return ()
    if variant.variant_id == watched.variant_id:
        return (watched.started,)
    return (watched.target_started,) if variant.variant_id == watched.target else ()


def look_back(turn: Turn) -> Sequence[Change]:
    """Return the judgement of the reported rollback if it is time for it; call this at the end of a step.

    It is time when there are enough outcomes, and also when nothing more can be learnt: the variant has recovered, is
    no longer active or has a new baseline, or the task is no longer in shadow mode.
    """
    row, rules = turn.row, turn.rules
    watched = row.watched
    assert watched is not None
    variant = row.variants.get(watched.variant_id)
    if variant is None:  # this cannot happen: the active variant is never forgotten
        return [LookedBack(watched, "open", "the variant is no longer known", 0, 0, 0, False, 0, 0)]
    seen = less(variant.life, watched.started)
    if row.epoch != watched.epoch:
        return [_judge(watched, seen, row, rules, f" until {row.active} became active")]
    if rules.mode != "shadow":
        return [_judge(watched, seen, row, rules, f" until {rules.mode} mode began")]
    if not variant.degraded:
        origin = variant.origin
        if origin is not None and origin.n == variant.life.n:
            return [_judge(watched, seen, row, rules, " until its level was accepted")]
        return [_judge(watched, seen, row, rules, "", recovered=True)]
    if seen.n >= horizon(rules):
        return [_judge(watched, seen, row, rules, "")]
    return _NOTHING


def _judge(
    watched: Watched, seen: Sums, row: TaskRow, rules: Rules, ended: str, *, recovered: bool = False
) -> LookedBack:
    same_time = meanwhile(row.variants.get(watched.target), watched.target_started, rules.min_recent)
    other = promise_of(watched.promised if same_time is None else same_time)
    finding, words = _finding(watched, promise_of(seen), other, rules, ended, recovered=recovered)
    bad = seen.n - seen.successes
    # In millionths of an outcome: the rate of the target rarely gives a whole number.
    would = seen.n * (other.n * MICRO - other.successes) // other.n if other.n else 0
    gain = bad * MICRO - would
    avoidable = gain // MICRO if finding == "right" and gain > 0 else 0
    caused = -(gain // MICRO) if finding != "open" and gain < 0 else 0
    return LookedBack(watched, finding, words, seen.n, bad, would, same_time is not None, avoidable, caused)


def _finding(
    watched: Watched, seen: Promise, other: Promise, rules: Rules, ended: str, *, recovered: bool
) -> tuple[HindsightFinding, str]:
    name, target = watched.variant_id, watched.target
    if recovered:
        # A problem that ends by itself often has a cause outside the variant, which would have affected the target too.
        return "wrong", f"{name} recovered by itself within {_outcomes(seen.n)}"
    if seen.n < rules.min_recent:
        return "open", f"{name} had only {_outcomes(seen.n)}{ended}, and {rules.min_recent} are needed"
    if watched.metric not in COMPARED:
        return "open", f"it was because of {watched.metric or 'no metric'}, by which variants are not compared"
    own = promise_of(watched.baseline)
    known = own.n >= rules.min_baseline
    over = f"in its next {_outcomes(seen.n)}{ended}"
    against = f"{over}: {compare(seen, other)}"
    if not is_better(other, seen, 0.0):
        return "wrong", f"{name} delivered no less than {target} {against}"
    if known and not is_better(own, seen, 0.0):
        return "wrong", f"{name} delivered no less than its baseline {over}: {compare(seen, own)}"
    if is_better(other, seen, rules.confidence) and (not known or is_better(own, seen, rules.confidence)):
        return "right", f"{name} delivered less than {target} {against}"
    return "open", f"the difference between {name} and {target} may be chance {against}"


def _outcomes(number: int) -> str:
    return "1 outcome" if number == 1 else f"{number} outcomes"
