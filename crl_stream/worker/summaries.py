"""Totals over the rows of this worker, kept up to date by reading only the rows that have changed.

A batch only records the keys it has changed. When a request arrives, rows are read for a limited time. After an
assignment they are also read a few at a time alongside the work, so that most have been read by the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec

from crl_stream.core.drills import DRILL_AGENT
from crl_stream.stages.fleet_summary import Mark, Sums, mark_of, merged
from crl_stream.stages.partition import decode_partition
from crl_stream.worker.table import TaskTable

ASKED_SECONDS: Final = 0.6
"""How long a request may spend reading rows."""
SLICE_SECONDS: Final = 0.005
"""How long rows are read before the event loop gets a turn."""
LOOK_SECONDS: Final = 0.1
"""The pause between two slices of ``SLICE_SECONDS`` that are read alongside the work."""
LISTED: Final = 200
"""Maximum number of tasks that are shown by name."""
_NOT_OF_THE_FLEET: Final = (b"!", f"{DRILL_AGENT}/".encode())
"""How the keys of the partition row and of drill tasks begin; they are not counted."""
_AT_ONCE: Final = 50
"""How many rows are read between two checks of the clock."""


class Seen(NamedTuple):
    """The totals over the rows of this worker that have been read."""

    sums: dict[str, int]
    unread: int
    """The number of tasks that have not been read yet."""
    behind: int
    """The number of tasks that have changed since they were read."""
    unreadable: list[str]
    listed: list[tuple[int, int, bytes]]
    """Rank, partition and key of the tasks to show by name: at most ``LISTED``, the most urgent first."""


class Summaries:
    """Keeps the totals over the rows of a table, by partition."""

    def __init__(self, table: TaskTable) -> None:
        self.table = table
        self._parts: dict[int, _Part] = {}

    def begin(self, partition: int, keys: Iterable[bytes]) -> None:
        """Start to track a partition that was assigned to this worker; the rows of all ``keys`` have yet to be read."""
        self._parts[partition] = _Part(keys)

    def knows(self, partition: int) -> bool:
        """Return whether ``begin`` was called for the partition and it has not moved away since."""
        return partition in set(self._open())

    def touched(self, partition: int, keys: Iterable[bytes]) -> None:
        """Record which rows a batch has written."""
        if (part := self._parts.get(partition)) is not None:
            part.changed(keys)

    async def look(self, seconds: float) -> None:
        """Read changed rows for about ``seconds``; other asyncio tasks may run meanwhile."""
        until = monotonic() + seconds
        while self.read(min(SLICE_SECONDS, until - monotonic())) and monotonic() < until:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)  # let other asyncio tasks run

    def read(self, seconds: float, *, only_new: bool = False) -> bool:
        """Read rows for about ``seconds``, but at least a few; return False when none are left.

        With ``only_new``, only rows that were never read are read.
        """
        until = monotonic() + seconds
        for partition in self._open():
            part, state = self._parts[partition], decode_partition(self.table.partition_row(partition))
            part.follow(state.policy_hash)
            rows, policies = self.table.rows(partition), state.policies
            while keys := part.next(_AT_ONCE, only_new=only_new):
                for key in keys:
                    part.take(key, rows.get(key), policies)
                if monotonic() >= until:  # checked late, so that every call makes progress
                    return True
        return False

    def seen(self) -> Seen:
        """Return the totals so far."""
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
    """The totals over the rows of one partition."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.sums = Sums()
        self.named: dict[bytes, int] = {}
        """Rank of each row that may be shown by name."""
        self.unreadable: set[bytes] = set()
        self._marks: dict[bytes, Mark] = {}
        self._new = dict.fromkeys(key for key in keys if not key.startswith(_NOT_OF_THE_FLEET))
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
            if not key.startswith(_NOT_OF_THE_FLEET):
                (self._changed if key in self._marks else self._new)[key] = None

    def follow(self, policy_hash: str) -> None:
        """Mark every row to be reread if the policy has changed."""
        if policy_hash != self._policy:
            self._policy = policy_hash
            self._changed |= dict.fromkeys(self._marks)

    def next(self, count: int, *, only_new: bool) -> list[bytes]:
        """Return the next rows to read, starting with those that were never read."""
        waiting = self._new or ({} if only_new else self._changed)
        return list(islice(waiting, count))

    def take(self, key: bytes, row: bytes | None, policies: Any) -> None:
        """Add a row to the totals."""
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
    """Combine this worker's response with those of its peers; ``silent`` lists the peers that did not respond."""
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
        # workers of earlier versions do not send this field
        "drills": sorted((one for body in every for one in body.get("drills", ())), key=lambda one: one["partition"]),
    }
