"""Which forwarded records have arrived before: a crash may forward a record twice, and origins can be invented.

A forward repeats an earlier one if both origin and bytes are equal, so an invented origin can only hide its own
repetition.  The last ``REMEMBERED`` forwards are known by their bytes; for older ones only the highest offset per
partition is known.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Literal

from crl_stream.core.ids import record_digest
from crl_stream.stages.partition import PartitionRow
from crl_stream.wire.records import Record

REMEMBERED: Final = 512
"""Forwards remembered per partition, from all origins together; more than one repeated batch after a crash."""
_ENTRY: Final = Struct("<HQ8s")
"""Partition and offset of the origin, and a hash of key and value."""


class Forwards:
    """The forwards that a partition has received, oldest first."""

    def __init__(self, state: PartitionRow) -> None:
        self._state = state
        packed, size = state.forwards, _ENTRY.size
        self._known = dict.fromkeys(packed[at : at + size] for at in range(0, len(packed), size))
        self._latest: dict[int, int] = {}
        """Highest offset of the remembered forwards, by partition of origin."""
        for source, offset, _ in _ENTRY.iter_unpack(packed):
            self._latest[source] = offset

    def take(self, source: int, offset: int, record: Record) -> Literal["new", "known", "old"]:
        """``known``: the forward arrived before.  ``old``: its origin is too far back to tell."""
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
        # Forwards from a partition arrive in the order of their offsets: one above the latest was invented.
        if offset <= self._latest[source]:
            self._state.origins[source] = offset

    def pack(self) -> None:
        """Write the remembered forwards into the state."""
        self._state.forwards = b"".join(self._known)
