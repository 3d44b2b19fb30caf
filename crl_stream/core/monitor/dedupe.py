"""The ids that a task has seen, and the variant that each outcome belonged to."""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor.row import TaskRow, Variant

NO_MARK: Final = b"\0"
_MARKS: Final = [bytes((number,)) for number in range(1, 256)]


def remember(ring: bytearray, digest: bytes, size: int) -> bool:
    """Remember an id among the last ``size``, replacing the oldest; return whether it is new."""
    if ring.find(digest) >= 0 and is_known(ring, digest):
        return False
    ring += digest
    if len(ring) > size * 8:
        del ring[: len(ring) - size * 8]
    return True


def is_known(ring: bytearray, digest: bytes) -> bool:
    """Return whether this id is remembered."""
    found = ring.find(digest)
    while found >= 0:
        if found % 8 == 0:
            return True
        found = ring.find(digest, found + 1)
    return False


def owner_of(row: TaskRow, digest: bytes) -> bytes | None:
    """Return the mark of an id's variant; ``NO_MARK`` if the variant is unknown, None if the id is not remembered."""
    found = row.ids.find(digest)
    while found >= 0 and found % 8:
        found = row.ids.find(digest, found + 1)
    if found < 0:
        return None
    at = len(row.owners) - (len(row.ids) - found) // 8
    return bytes(row.owners[at : at + 1]) if at >= 0 else NO_MARK


def new_mark(row: TaskRow, variant: Variant) -> bytes:
    """Give the variant the first free mark and return it; with more than 255 variants in a task, the rest get none."""
    taken = {other.mark for other in row.variants.values()}
    variant.mark = next((mark for mark in _MARKS if mark not in taken), NO_MARK)
    return variant.mark


def disown(row: TaskRow, mark: bytes) -> None:
    """Free a mark for another variant: ids remembered under it no longer belong to any variant."""
    if mark:
        row.owners = row.owners.replace(mark, NO_MARK)
