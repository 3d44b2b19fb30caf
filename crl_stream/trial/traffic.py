"""The outcomes of each task in the order of the log: what was recorded is the same, whatever policy judges it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.stages.entries import Entry
from crl_stream.wire.partitioner import partition_of

SUCCESS: Final = 0
FAILURE: Final = 1
ERROR: Final = 2
_STATUS: Final = {"success": SUCCESS, "failure": FAILURE, "error": ERROR}
_KIND: Final = 3
_EXPLORED: Final = 4
_REMEMBERED: Final = 64
"""Number of a task's ids that are remembered: the same as under the guide's policy (``limits.duplicate_ids``)."""


class Traffic:
    """The live outcomes of one task, numbered from 1; 11 bytes each.

    Outcomes with the role ``shadow``, and those that repeat one of the last ids, are not counted.
    """

    __slots__ = ("_ids", "_marks", "_offsets", "_variants", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        """The variants, in the order of their first outcomes."""
        self._offsets, self._variants, self._marks = array("q"), array("H"), array("B")
        self._ids: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, offset: int, outcome: m.Invocation) -> None:
        """Add the outcome at ``offset``, unless it is not counted."""
        ids = self._ids
        if outcome.role == "shadow" or outcome.invocation_id in ids:
            return
        ids[outcome.invocation_id] = None
        if len(ids) > _REMEMBERED:
            del ids[next(iter(ids))]
        try:
            variant = self.names.index(outcome.variant_id)
        except ValueError:
            variant = len(self.names)
            self.names.append(outcome.variant_id)
        self._offsets.append(offset)
        self._variants.append(min(variant, 65_535))
        self._marks.append(_STATUS[outcome.status] | (_EXPLORED if outcome.variant_source == "explore" else 0))

    def number_at(self, offset: int) -> int:
        """Return the number of the newest outcome at ``offset`` or before; 0 if there is none."""
        return bisect_right(self._offsets, offset)

    def variant(self, number: int) -> str:
        """Return the variant of the outcome with this number."""
        return self.names[self._variants[number - 1]]

    def status(self, number: int) -> int:
        """Return the kind of an outcome: ``SUCCESS``, ``FAILURE`` or ``ERROR``."""
        return self._marks[number - 1] & _KIND

    def is_explored(self, number: int) -> bool:
        """Return whether the runtime tried a variant that was not active, as it would have under any policy."""
        return bool(self._marks[number - 1] & _EXPLORED)

    def latest(self, variant: str, until: int, most: int) -> tuple[int, int]:
        """Return the number of a variant's latest outcomes, and of the bad ones among them.

        The search goes back from number ``until`` and ends after ``most`` outcomes.
        """
        found = bad = 0
        if variant in self.names:
            wanted = self.names.index(variant)
            variants, marks = self._variants, self._marks
            for index in range(min(until, len(self)) - 1, -1, -1):
                if variants[index] == wanted:
                    found += 1
                    bad += marks[index] & _KIND != SUCCESS
                    if found == most:
                        break
        return found, bad


class TrafficOfTasks(dict[str, Traffic]):
    """The traffic of each task by ``agent_name/task_type``."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partitions = partitions
        self._homes: dict[tuple[int, bytes], Traffic | None] = {}

    def add(self, partition: int, entries: Sequence[Entry]) -> None:
        """Add the outcomes among the records of a partition; misplaced ones are counted where they are forwarded."""
        homes = self._homes
        for entry in entries:
            outcome = entry.message
            if type(outcome) is m.Invocation:
                place = partition, entry.key
                if place not in homes:
                    homes[place] = self._traffic_of(*place)
                if (traffic := homes[place]) is not None:
                    traffic.add(entry.record.offset, outcome)

    def _traffic_of(self, partition: int, key: bytes) -> Traffic | None:
        if partition_of(key, self._partitions) != partition:
            return None
        return self.setdefault(str(TaskKey.decode(key)), Traffic())

    def in_order(self) -> Iterator[tuple[str, Traffic]]:
        """Yield the tasks with their outcomes, sorted by name."""
        yield from sorted(self.items())
