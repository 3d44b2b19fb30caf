"""A bounded collection that keeps the newest items, each once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Newest(Mapping[str, Item], Generic[Item]):
    """The newest items by their id, at most ``limit`` of them; iteration is from the newest to the oldest."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: dict[str, Item] = {}
        self._heap: list[tuple[int, str]] = []
        self._order: list[str] | None = []

    def put(self, name: str, time: int, item: Item) -> bool:
        """Keep an item of ``time`` (milliseconds); return False if its id is known, or if it is older than all kept."""
        if name in self._items:
            return False
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, (time, name))
        else:
            _, gone = heapq.heappushpop(self._heap, (time, name))
            if gone == name:
                return False
            del self._items[gone]
        self._items[name] = item
        self._order = None
        return True

    def replace(self, name: str, item: Item) -> None:
        """Replace a kept item; its age stays the same."""
        if name in self._items:
            self._items[name] = item

    def newest(self, count: int) -> list[Item]:
        """Return the ``count`` newest items, newest first."""
        return [self._items[name] for name in self._sorted()[:count]]

    def __getitem__(self, name: str) -> Item:
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._sorted())

    def __len__(self) -> int:
        return len(self._items)

    def _sorted(self) -> list[str]:
        if self._order is None:
            self._order = [name for _, name in sorted(self._heap, reverse=True)]
        return self._order
