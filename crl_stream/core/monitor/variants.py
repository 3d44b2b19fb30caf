"""The variants of a task: adds unknown ones, and drops idle ones to make room."""

from __future__ import annotations

from crl_stream.core.monitor import facts
from crl_stream.core.monitor.changes import GivenUp
from crl_stream.core.monitor.dedupe import disown
from crl_stream.core.monitor.lifecycle import apply
from crl_stream.core.monitor.row import REGISTERED, TaskRow, Variant
from crl_stream.core.monitor.turn import Turn


def add_variant(turn: Turn, variant_id: str) -> Variant | None:
    """Add an unknown variant; return None if the task is at its variant limit and has no idle variant to drop."""
    row = turn.row
    if len(row.variants) >= turn.policy.limits.variants:
        idle = idle_variants(row)
        if not idle:
            turn.facts.append(facts.variant_limit(turn, variant_id))
            return None
        gone = row.variants.pop(min(idle, key=lambda v: (v.last_offset, v.variant_id)).variant_id)
        disown(row, gone.mark)
        apply(turn, [GivenUp(gone, f"unused for longest, so forgotten to make room for {variant_id}")])
    variant = row.variants[variant_id] = Variant(variant_id)
    turn.catalogue_changed = True
    return variant


def has_room(turn: Turn, variant_id: str) -> bool:
    """Return whether a variant with this id could be added now, or exists already."""
    row = turn.row
    return variant_id in row.variants or len(row.variants) < turn.policy.limits.variants or bool(idle_variants(row))


def idle_variants(row: TaskRow) -> list[Variant]:
    """Return the variants that may be dropped to make room for another."""
    return [
        v
        for v in row.variants.values()
        if v.variant_id != row.active
        and v.state != REGISTERED
        and not v.quarantined
        and v.variant_id != row.previous
        and (row.rollout is None or v.variant_id != row.rollout.variant_id)
    ]
