"""The numbers over the rows of this worker, kept in step with them: only rows that have changed are read again.

A batch costs a note of the keys that it has touched.  Rows are read when somebody asks, for a bounded time, and after
an assignment a little at a time beside the work, so that the first question finds most of them read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.stages.fleet_summary import Mark, Sums, mark_of, merged
from crl_stream.stages.partition import decode_partition
from crl_stream.worker.table import TaskTable

ASKED_SECONDS: Final = 0.6
"""For which a question may read rows."""
SLICE_SECONDS: Final = 0.005
"""For which rows are read at a stretch, before the event loop may do something else."""
LOOK_SECONDS: Final = 0.1
"""Between two stretches beside the work."""
LISTED: Final = 200
"""Tasks that are shown by name."""
_AT_ONCE: Final = 50
"""Rows between two looks at the clock."""


class Seen(NamedTuple):
    """What is known of the rows of this worker."""

    sums: dict[str, int]
    unread: int
    """Tasks that nothing is known of yet."""
    behind: int
    """Tasks that have changed since they were read."""
    unreadable: list[str]
    listed: list[tuple[int, int, bytes]]
    """Rank, partition and key of those to be shown by name, trouble first, ``LISTED`` at most."""


class Summaries:
    """Marks of the rows of a table, by partition."""

    def __init__(self, table: TaskTable) -> None:
        self.table = table
        self._parts: dict[int, _Part] = {}

    def begin(self, partition: int, keys: Iterable[bytes]) -> None:
        """A partition was given to this worker, with rows under ``keys``: all of them are to be read."""
        self._parts[partition] = _Part(keys)

    def knows(self, partition: int) -> bool:
        """Whether it was told of a partition's rows and has not lost the partition since."""
        return partition in set(self._open())

    def touched(self, partition: int, keys: Iterable[bytes]) -> None:
        """A batch has written rows."""
        if (part := self._parts.get(partition)) is not None:
            part.changed(keys)

    async def look(self, seconds: float) -> None:
        """Read rows that have changed, for about so long; others may go on meanwhile."""
        until = monotonic() + seconds
        while self.read(min(SLICE_SECONDS, until - monotonic())) and monotonic() < until:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)  # the turn of others

    def read(self, seconds: float, *, only_new: bool = False) -> bool:
        """Read rows for about so long, a few at least; False when none are left.

        ``only_new``: those that were never read.
        """
        until = monotonic() + seconds
        for partition in self._open():
            part, state = self._parts[partition], decode_partition(self.table.partition_row(partition))
            part.follow(state.policy_hash)
            rows, policies = self.table.rows(partition), state.policies
            while keys := part.next(_AT_ONCE, only_new=only_new):
                for key in keys:
                    part.take(key, rows.get(key), policies)
                if monotonic() >= until:  # some were read: every look gets further
                    return True
        return False

    def seen(self) -> Seen:
        """All that is known."""
        parts = {partition: self._parts[partition] for partition in self._open()}
        listed = sorted(
            ((rank, key, partition) for partition, part in parts.items() for key, rank in part.named.items())
        )
        return Seen(
            merged(part.sums.as_dict() for part in parts.values()),
            sum(part.unread for part in parts.values()),
            sum(part.behind for part in parts.values()),
            sorted(key.decode("utf-8", "replace") for part in parts.values() for key in part.unreadable),
            [(rank, partition, key) for rank, key, partition in listed[:LISTED]],
        )

    def _open(self) -> Iterator[int]:
        for partition in list(self._parts):
            if self.table.store.is_open(partition):
                yield partition
            else:
                self._parts.pop(partition, None)


class _Part:
    """One partition's marks."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.sums = Sums()
        self.named: dict[bytes, int] = {}
        """Rank of each row that may be shown by name."""
        self.unreadable: set[bytes] = set()
        self._marks: dict[bytes, Mark] = {}
        self._new = dict.fromkeys(key for key in keys if not key.startswith(b"!"))
        self._changed: dict[bytes, None] = {}
        self._policy = ""

    @property
    def unread(self) -> int:
        return len(self._new)

    @property
    def behind(self) -> int:
        return len(self._changed)

    def changed(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if not key.startswith(b"!"):
                (self._changed if key in self._marks else self._new)[key] = None

    def follow(self, policy_hash: str) -> None:
        """Every row is judged again under another policy."""
        if policy_hash != self._policy:
            self._policy = policy_hash
            self._changed |= dict.fromkeys(self._marks)

    def next(self, count: int, *, only_new: bool) -> list[bytes]:
        """Some rows to read, those first that nothing is known of."""
        waiting = self._new or ({} if only_new else self._changed)
        return list(islice(waiting, count))

    def take(self, key: bytes, row: bytes | None, policies: Any) -> None:
        """Read a row."""
        self._new.pop(key, None)
        self._changed.pop(key, None)
        if (before := self._marks.pop(key, None)) is not None:
            self.sums.add(before, -1)
        self.named.pop(key, None)
        self.unreadable.discard(key)
        if row is None:
            return
        try:
            mark = mark_of(row, policies)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.unreadable.add(key)
            return
        self._marks[key] = mark
        self.sums.add(mark)
        if mark.rank < 2:
            self.named[key] = mark.rank


def of_peers(own: Mapping[str, Any], bodies: Iterable[Mapping[str, Any]], silent: list[str]) -> dict[str, Any]:
    """This worker's answer and those of its peers as one; ``silent`` are those without an answer."""
    every = [own, *bodies]
    unread = sum(body["unread"] for body in every)
    listed = [(body["ranks"][n], task) for body in every for n, task in enumerate(body["tasks"])]
    listed.sort(key=lambda one: (one[0], one[1]["agent_name"], one[1]["task_type"]))
    return {
        "summary": merged(body["summary"] for body in every),
        "unread": unread,
        "behind": sum(body["behind"] for body in every),
        "tasks": [task for _, task in listed[:LISTED]],
        "ranks": [rank for rank, _ in listed[:LISTED]],
        "partial": bool(silent) or unread > 0,
        "silent": silent,
        "unreadable": sorted({name for body in every for name in body["unreadable"]}),
    }
