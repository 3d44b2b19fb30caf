"""How many messages of a file repeat one that came before, in eight bytes each."""

from __future__ import annotations

from array import array
from typing import Final

_BUCKETS: Final = 256


class Repeats:
    """Counts by 64-bit hashes: two messages of a million are taken for one in less than one file of ten million."""

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(_BUCKETS)]

    def add(self, key: bytes, identifier: str) -> None:
        """Note a message by its task and its own id."""
        number = hash((key, identifier))
        self._buckets[number % _BUCKETS].append(number)

    def count(self) -> int:
        """Messages that repeat an earlier one."""
        return sum(len(bucket) - len(set(bucket)) for bucket in self._buckets)
