"""What the candidate of a rollout and the active variant deliver in the same time."""

from __future__ import annotations

from crl_stream.core.monitor.row import ERROR, MICRO, SUCCESS, Sums, TaskRow, Variant


def stage(row: TaskRow, variant: Variant, reward: int, flags: int) -> bool:
    """Count a judged outcome in the rollout in progress; return False if its variant takes no part in it.

    ``reward`` is in millionths, and ``flags`` are as in ``row``.
    """
    sums = sums_of(row, variant)
    if sums is None:
        return False
    sums.n += 1
    sums.reward += reward
    sums.squares += reward * reward // MICRO
    if flags & SUCCESS:
        sums.successes += 1
    if flags & ERROR:
        sums.errors += 1
    return True


def sums_of(row: TaskRow, variant: Variant) -> Sums | None:
    """Return what ``variant`` has delivered since the rollout began; None if it takes no part in it."""
    rollout = row.rollout
    if rollout is None:
        return None
    if variant.variant_id == rollout.variant_id:
        sums: Sums = rollout.candidate
        return sums
    return control_of(row) if variant.variant_id == row.active else None


def control_of(row: TaskRow) -> Sums:
    """Return what the active variant has delivered since the rollout began: the baseline of its candidate."""
    rollout = row.rollout
    assert rollout is not None
    baseline = row.variants[rollout.variant_id].baseline
    assert baseline is not None
    sums: Sums = baseline.sums
    return sums
