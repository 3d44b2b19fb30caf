"""Recognises forwarded records that have arrived before: a crash may forward a record twice, and origins can be forged.

A forward repeats an earlier one if both have the same origin and the same bytes, so a forged origin can only hide
repetitions of the same record.  The last ``REMEMBERED`` forwards are stored by hash; for older forwards only the
highest offset per partition is kept.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Literal

from crl_stream.core.ids import record_digest
from crl_stream.stages.partition import PartitionRow
from crl_stream.wire.records import Record

REMEMBERED: Final = 512
"""How many forwards a partition remembers, from all origins together; enough for a batch that a crash repeats."""
_ENTRY: Final = Struct("<HQ8s")
"""Packed form of a forward: partition and offset of its origin, and a hash of its key and value."""


class Forwards:
    """The forwards that a partition has received, oldest first."""

    def __init__(self, state: PartitionRow) -> None:
        self._state = state
        packed, size = state.forwards, _ENTRY.size
        self._known = dict.fromkeys(packed[at : at + size] for at in range(0, len(packed), size))
        self._latest: dict[int, int] = {}
        """Offset of the newest remembered forward, by partition of origin."""
        for source, offset, _ in _ENTRY.iter_unpack(packed):
            self._latest[source] = offset

    def take(self, source: int, offset: int, record: Record) -> Literal["new", "known", "old"]:
        """Return ``known`` if the forward arrived before, ``old`` if its origin is too old to tell, or else ``new``."""
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
        # Forwards from a partition arrive in the order of their offsets; an older one with a higher offset was forged.
        if offset <= self._latest[source]:
            self._state.origins[source] = offset

    def pack(self) -> None:
        """Write the remembered forwards into the state."""
        self._state.forwards = b"".join(self._known)
