"""Remembers which lines exist, at 8 bytes each, so that a file of a million lines takes 8 MB of memory."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

_FRESH: Final = 4_096
"""How many ids are collected unsorted before they are merged into the array."""


class Identities:
    """A set of ids that only grows, kept as sorted 64-bit hashes.

    The chance that any two of a million ids share a hash is 3 in 100 million.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._sorted = array("Q", sorted({_hash(text) for text in ids}))
        self._fresh: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._fresh)

    def __contains__(self, text: str) -> bool:
        number = _hash(text)
        place = bisect_left(self._sorted, number)
        return number in self._fresh or (place < len(self._sorted) and self._sorted[place] == number)

    def add(self, text: str) -> None:
        """Add an id that is not in the set yet."""
        self._fresh.add(_hash(text))
        if len(self._fresh) > _FRESH:
            self._sorted = array("Q", sorted([*self._sorted, *self._fresh]))
            self._fresh = set()


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
