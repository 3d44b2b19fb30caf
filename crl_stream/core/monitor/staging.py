"""What the candidate of a rollout and the active variant deliver in the same time."""

from __future__ import annotations

from crl_stream.core.monitor.row import ERROR, MICRO, SUCCESS, Frozen, Rollout, TaskRow, Variant
from crl_stream.core.monitor.rules import Rules


def stage(row: TaskRow, variant: Variant, reward: int, flags: int, rules: Rules) -> bool:
    """Count a judged outcome in the rollout in progress; return False if its variant takes no part in it.

    ``reward`` is in millionths, and ``flags`` are as in ``row``.
    """
    rollout = row.rollout
    assert rollout is not None
    if variant.variant_id == rollout.variant_id:
        sums = rollout.candidate
    elif variant.variant_id == row.active:
        sums = rollout.control
    else:
        return False
    sums.n += 1
    sums.reward += reward
    sums.squares += reward * reward // MICRO
    if flags & SUCCESS:
        sums.successes += 1
    if flags & ERROR:
        sums.errors += 1
    if sums is rollout.control:
        compare_with_active(row, rules)
    return True


def compare_with_active(row: TaskRow, rules: Rules) -> None:
    """Make what the active variant delivers in the same time the candidate's baseline, once it is long enough."""
    rollout: Rollout | None = row.rollout
    assert rollout is not None and row.active is not None
    if rollout.control.n >= rules.min_baseline:
        row.variants[rollout.variant_id].baseline = Frozen(row.active, rollout.control, concurrent=True)
