"""Who is known to a task: ids met before, variants, runtimes and their clocks."""

from __future__ import annotations

from crl_stream.core.instant import from_text, to_text
from crl_stream.core.row import REGISTERED, Runtime, Variant
from crl_stream.core.turn import Turn

_SKEW_PAUSE = 1_000
"""Outcomes of a task between two alerts about its clocks."""


def remember(ring: bytearray, digest: bytes, size: int) -> bool:
    """Whether this id is new; it takes the place of the oldest of the last ``size`` ids."""
    if is_known(ring, digest):
        return False
    ring += digest
    if len(ring) > size * 8:
        del ring[: len(ring) - size * 8]
    return True


def is_known(ring: bytearray, digest: bytes) -> bool:
    """Whether this id is one of those that are remembered."""
    found = ring.find(digest)
    while found >= 0:
        if found % 8 == 0:
            return True
        found = ring.find(digest, found + 1)
    return False


def add_variant(turn: Turn, variant_id: str) -> Variant | None:
    """A variant that was not known; None when the task has as many as it may and none is idle."""
    row, limit = turn.row, turn.policy.limits.variants
    if len(row.variants) >= limit:
        idle = [
            v
            for v in row.variants.values()
            if v.variant_id != row.active
            and v.state != REGISTERED
            and not v.quarantined
            and v.variant_id != row.previous
        ]
        if not idle:
            turn.alert(
                "variant_limit",
                "warning",
                f"outcomes of {variant_id} are dead-lettered: {len(row.variants)} variants, limit {limit}",
                number=float(len(row.variants)),
                limit=float(limit),
                cause_id=f"{turn.at.partition}:{turn.at.offset}",
            )
            return None
        gone = row.variants.pop(min(idle, key=lambda v: (v.last_offset, v.variant_id)).variant_id)
        give_up(turn, gone, f"unused for longest, and forgotten for {variant_id}")
    variant = row.variants[variant_id] = Variant(variant_id)
    turn.catalogue_changed = True
    return variant


def give_up(turn: Turn, variant: Variant, why: str) -> None:
    """End what is open about a degraded variant of which nothing will come that could end it."""
    variant.degraded, variant.clean = False, 0
    turn.close_alert(variant, f"over: {why}")


def follow_runtime(turn: Turn, runtime_id: str, epoch: int | None) -> None:
    """Note which epoch a runtime works with; its first outcome of the current one is stated as a receipt."""
    row = turn.row
    runtime = row.runtimes.get(runtime_id)
    if runtime is None:
        if len(row.runtimes) >= turn.policy.limits.runtimes:
            del row.runtimes[min(row.runtimes, key=lambda name: (row.runtimes[name].last_offset, name))]
        runtime = row.runtimes[runtime_id] = Runtime()
    runtime.last_offset, runtime.seen = turn.at.offset, row.time
    if epoch is None:
        return
    if epoch < row.epoch:
        runtime.late += 1
    elif runtime.epoch < row.epoch:
        runtime.epoch = row.epoch
        turn.receipt(runtime_id, runtime.late)


def watch_clock(turn: Turn, timestamp: str) -> None:
    """Flag an outcome whose own timestamp is further from its append time than the policy allows."""
    at, row = turn.at, turn.row
    # Equal to the minute is the common case, and far cheaper to see than to compute.
    limit = turn.rules.max_skew
    if limit >= 120 and timestamp[:16] == _minute(at.timestamp_ms // 60_000):
        return
    try:
        skew = abs(from_text(timestamp) - at.timestamp_ms) / 1_000
    except ValueError:
        return
    if skew <= limit:
        return
    row.skewed += 1
    if row.skew_n < 0 or row.n - row.skew_n >= _SKEW_PAUSE:
        row.skew_n = row.n
        turn.alert(
            "clock_skew",
            "warning",
            f"a runtime's clock differs by {skew:,.0f} s from the broker's, limit {limit:,.0f} s",
            number=skew,
            limit=limit,
            cause_id=f"{at.partition}:{at.offset}",
        )


_minutes: dict[int, str] = {}


def _minute(number: int) -> str:
    text = _minutes.get(number)
    if text is None:
        _minutes.clear()
        text = _minutes[number] = to_text(number * 60_000)[:16]
    return text
