"""Who is known to a task: ids met before, variants, runtimes and their clocks."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from crl_stream.core.instant import from_text, to_text
from crl_stream.core.monitor.row import REGISTERED, Runtime, TaskRow, Variant
from crl_stream.core.monitor.turn import Turn

_SKEW_PAUSE = 1_000
"""Outcomes of a task between two alerts about its clocks."""
STRANGERS: Final = 32
"""Receipts of an epoch for runtimes that were unknown when there was no room left, by remembered runtime."""
NO_MARK: Final = b"\0"
_MARKS: Final = [bytes((number,)) for number in range(1, 256)]
_FILTER_BYTES: Final = 2_048
"""1,000 forgotten runtimes leave a new one without its receipt once in 500 times."""


def remember(ring: bytearray, digest: bytes, size: int) -> bool:
    """Whether this id is new; it takes the place of the oldest of the last ``size`` ids."""
    if ring.find(digest) >= 0 and is_known(ring, digest):
        return False
    ring += digest
    if len(ring) > size * 8:
        del ring[: len(ring) - size * 8]
    return True


def owner_of(row: TaskRow, digest: bytes) -> bytes | None:
    """The mark of the variant that a remembered id belongs to; a zero where that is not known, None for another id."""
    found = row.ids.find(digest)
    while found >= 0 and found % 8:
        found = row.ids.find(digest, found + 1)
    if found < 0:
        return None
    at = len(row.owners) - (len(row.ids) - found) // 8
    return bytes(row.owners[at : at + 1]) if at >= 0 else NO_MARK


def new_mark(row: TaskRow, variant: Variant) -> bytes:
    """The first mark that is free; a task with more than 255 variants has none for the others."""
    taken = {other.mark for other in row.variants.values()}
    variant.mark = next((mark for mark in _MARKS if mark not in taken), NO_MARK)
    return variant.mark


def _disown(row: TaskRow, mark: bytes) -> None:
    """The mark may be given to another variant: what is remembered under it belongs to none."""
    if mark:
        row.owners = row.owners.replace(mark, NO_MARK)


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
        _disown(row, gone.mark)
        give_up(turn, gone, f"unused for longest, and forgotten for {variant_id}")
    variant = row.variants[variant_id] = Variant(variant_id)
    turn.catalogue_changed = True
    return variant


def give_up(turn: Turn, variant: Variant, why: str) -> None:
    """End what is open about a degraded variant of which nothing will come that could end it."""
    variant.degraded, variant.clean = False, 0
    turn.close_alert(variant, f"over: {why}")


def follow_runtime(turn: Turn, runtime_id: str, epoch: int | None) -> None:
    """Note which epoch a runtime works with; its first outcome of the current one is stated as a receipt.

    The runtimes are kept in the order in which they were last seen.  Where there are more than may be remembered, the
    forgotten ones that have adopted the epoch are in a Bloom filter, so that each has one receipt all the same; and
    ids that somebody makes up get no more than ``STRANGERS`` receipts for each runtime that is remembered.
    """
    row = turn.row
    runtimes, is_stranger = row.runtimes, False
    runtime = runtimes.pop(runtime_id, None)
    if runtime is None:
        runtime = Runtime()
        limit = turn.policy.limits.runtimes
        if len(runtimes) >= limit:
            is_stranger = True
            _forget_runtimes(row, limit - 1)
            if row.receipted and all(row.receipted[at] & bit for at, bit in _places(runtime_id)):
                runtime.epoch = row.epoch
    runtimes[runtime_id] = runtime
    runtime.last_offset, runtime.seen = turn.at.offset, row.time
    if epoch is None:
        return
    if epoch < row.epoch:
        runtime.late += 1
    elif runtime.epoch < row.epoch:
        runtime.epoch = row.epoch
        if is_stranger:
            row.strangers += 1
            if row.strangers > STRANGERS * turn.policy.limits.runtimes:
                return
        turn.receipt(runtime_id, runtime.late)


def _forget_runtimes(row: TaskRow, most: int) -> None:
    """Keep the ``most`` runtimes that were seen last; which of the others have adopted the epoch is not forgotten."""
    for name in list(row.runtimes)[: len(row.runtimes) - most]:
        gone = row.runtimes.pop(name)
        row.forgotten += 1
        if gone.epoch == row.epoch:
            if not row.receipted:
                row.receipted = bytearray(_FILTER_BYTES)
            for at, bit in _places(name):
                row.receipted[at] |= bit


def _places(runtime_id: str) -> list[tuple[int, int]]:
    """Byte and bit of each of the places that a runtime has in the Bloom filter."""
    digest = blake2b(runtime_id.encode(), digest_size=8).digest()
    numbers = [int.from_bytes(digest[at : at + 2], "little") % (_FILTER_BYTES * 8) for at in (0, 2, 4, 6)]
    return [(number >> 3, 1 << (number & 7)) for number in numbers]


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
