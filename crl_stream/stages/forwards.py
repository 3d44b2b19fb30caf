"""Which forwarded records have come before: a crash may forward a record twice, and anybody may make an origin up.

A forward is the same as an earlier one when origin and bytes are: so a made-up origin hides nothing but its own
repetition.  The last ``REMEMBERED`` are known by their bytes; of older ones only where each partition stood.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Literal

from crl_stream.core.ids import record_digest
from crl_stream.stages.partition import PartitionRow
from crl_stream.wire.records import Record

REMEMBERED: Final = 512
"""Forwards into one partition, of all others together; more than one batch of a worker that died sends again."""
_ENTRY: Final = Struct("<HQ8s")
"""Partition and offset of the origin, hash of key and value."""


class Forwards:
    """The forwards that a partition has taken, oldest first."""

    def __init__(self, state: PartitionRow) -> None:
        self._state = state
        packed, size = state.forwards, _ENTRY.size
        self._known = dict.fromkeys(packed[at : at + size] for at in range(0, len(packed), size))
        self._latest: dict[int, int] = {}
        """By partition of origin."""
        for source, offset, _ in _ENTRY.iter_unpack(packed):
            self._latest[source] = offset

    def take(self, source: int, offset: int, record: Record) -> Literal["new", "known", "old"]:
        """``known``: it came before.  ``old``: its origin is so far back that nobody can tell."""
        entry = _ENTRY.pack(source, offset, record_digest(record.key, record.value))
        if entry in self._known:
            return "known"
        if offset <= self._state.origins.get(source, -1):
            return "old"
        self._known[entry] = None
        self._latest[source] = offset
        if len(self._known) > REMEMBERED:
            self._forget_oldest()
        return "new"

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._known))
        del self._known[oldest]
        source, offset, _ = _ENTRY.unpack(oldest)
        # Forwards of a partition come in the order of their offsets: a higher one than the latest was made up.
        if offset <= self._latest[source]:
            self._state.origins[source] = offset

    def pack(self) -> None:
        """Write what is known into the state."""
        self._state.forwards = b"".join(self._known)
