"""What the candidate of a rollout and the active variant deliver over the same time.

Chance assigns the invocations in the proportion of a stage, so within a stage both meet the same conditions.  Over
several stages, the active variant's outcomes are weighted as if they were spread over the stages like the candidate's
(direct standardisation): otherwise an outage in the last stage would weigh more for the candidate than for the active
variant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crl_stream.core.monitor.promise import Promise, promise_of
from crl_stream.core.monitor.row import ERROR, MICRO, STAGED, SUCCESS, Stratum, Sums, TaskRow, Variant

_ELSEWHERE: Final = frozenset(("stale", "file", "default", "session"))
"""Variant sources of invocations whose variant the present weights did not determine."""
_FINE: Final = 20
"""Number of bits kept after the binary point when counts are divided."""


def stage(row: TaskRow, variant: Variant, source: str | None, reward: int, flags: int, size: int) -> int:
    """Count a judged outcome in the rollout in progress, and return ``STAGED``; 0 if the outcome is not part of it.

    Outcomes whose ``source`` is not the weights are not compared.  ``reward`` is in millionths, and
    ``flags`` are as in ``row``.  A block of recent outcomes ends when it has ``size`` outcomes of the candidate.
    """
    rollout = row.rollout
    sums = sums_of(row, variant)
    if rollout is None or sums is None or source in _ELSEWHERE:
        return 0
    recent = rollout.recent
    if not recent or recent[-1].candidate.n >= size:
        rollout.recent = recent = [*recent[-1:], Stratum(Sums(), Sums())]
    block = recent[-1].candidate if sums is rollout.candidate else recent[-1].control
    for each in (sums, block):
        each.n += 1
        each.reward += reward
        each.squares += reward * reward // MICRO
        if flags & SUCCESS:
            each.successes += 1
        if flags & ERROR:
            each.errors += 1
    return STAGED


def takes_part(row: TaskRow, variant: Variant) -> bool:
    """Return whether ``variant`` is the candidate of the rollout in progress."""
    return row.rollout is not None and row.rollout.variant_id == variant.variant_id


def sums_of(row: TaskRow, variant: Variant) -> Sums | None:
    """Return what ``variant`` has delivered in this stage; None if it takes no part in a rollout."""
    rollout = row.rollout
    if rollout is None:
        return None
    if variant.variant_id == rollout.variant_id:
        sums: Sums = rollout.candidate
        return sums
    return control_of(row) if variant.variant_id == row.active else None


def control_of(row: TaskRow) -> Sums:
    """Return what the active variant has delivered in this stage: the baseline of the candidate."""
    rollout = row.rollout
    assert rollout is not None
    baseline = row.variants[rollout.variant_id].baseline
    assert baseline is not None
    sums: Sums = baseline.sums
    return sums


def delivered_so_far(row: TaskRow) -> tuple[Promise, Promise]:
    """Return what the candidate and the active variant have delivered in all stages, in the same proportions."""
    rollout = row.rollout
    assert rollout is not None
    return _standardised([*rollout.past, Stratum(rollout.candidate, control_of(row))])


def delivered_lately(row: TaskRow) -> tuple[Promise, Promise]:
    """Return what both have delivered during the candidate's last one to two windows, within this stage."""
    rollout = row.rollout
    assert rollout is not None
    whole = Stratum(Sums(), Sums())
    for block in rollout.recent:
        _add(whole.candidate, block.candidate)
        _add(whole.control, block.control)
    return promise_of(whole.candidate), promise_of(whole.control)


def _add(sums: Sums, more: Sums) -> None:
    sums.n += more.n
    sums.successes += more.successes
    sums.errors += more.errors
    sums.reward += more.reward
    sums.squares += more.squares


def _standardised(strata: Sequence[Stratum]) -> tuple[Promise, Promise]:
    """Return the candidate's promise, and that of the active variant with each stage weighted like the candidate's.

    The second promise has the number of outcomes that would give a plain mean the same variance.
    """
    told = [stratum for stratum in strata if stratum.candidate.n and stratum.control.n]
    candidate, spread, value, successes, flawless = Sums(), 0, 0, 0, 0
    for stratum in told:
        weight, control = stratum.candidate.n, promise_of(stratum.control)
        _add(candidate, stratum.candidate)
        spread += (weight * weight << _FINE) // control.n
        value += weight * control.value // control.n
        successes += weight * control.successes // control.n
        flawless += weight * control.flawless // control.n
    if not told:
        return Promise(0, 0, 0, 0), Promise(0, 0, 0, 0)
    n = candidate.n
    effective = max(1, (n * n << _FINE) // max(1, spread))
    control = Promise(effective, value * effective // n, successes * effective // n, flawless * effective // n)
    return promise_of(candidate), control
