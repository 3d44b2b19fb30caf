"""A broker in memory: append-only logs, changelogs that compaction thins out, and committed offsets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from crl_stream.stages.driver import Stored
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.records import Header


class Change(NamedTuple):
    """A record of a changelog."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    writer: int
    """Number of the process that wrote the record."""
    headers: tuple[Header, ...] = ()


class Changelog:
    """One partition of a table's changelog."""

    def __init__(self) -> None:
        self.records: list[Change] = []
        self.end = 0
        self.settled = 0
        """Records below this offset may be compacted: the catalog's ``compaction_lag`` gives the owner of a partition
        five minutes to rewrite rows that a stale write has covered.
        """

    def append(self, partition: int, items: Iterable[tuple[bytes, bytes, Any]], writer: int) -> tuple[int, int]:
        """Append the items; return the offsets of the first and the last one."""
        first = self.end
        for key, value, headers in items:
            self.records.append(Change(partition, self.end, key, value, writer, tuple(headers)))
            self.end += 1
        return first, self.end - 1

    def compact(self) -> int:
        """Remove all but the last record of each key below ``settled``; return how many were removed."""
        before = len(self.records)
        newest = {record.key: record.offset for record in self.records if record.offset < self.settled}
        self.records = [r for r in self.records if r.offset >= self.settled or newest[r.key] == r.offset]
        return before - len(self.records)


class Broker:
    """Topics with ``partitions`` partitions each; a record gets a timestamp ``tick`` ms after the previous one."""

    def __init__(self, partitions: int, *, start: int, tick: int) -> None:
        self.partitions, self.clock, self.tick = partitions, start, tick
        self.topics: dict[str, list[list[Stored]]] = defaultdict(lambda: [[] for _ in range(partitions)])
        self.changelogs: dict[tuple[str, int], Changelog] = defaultdict(Changelog)
        self.committed: dict[tuple[str, int], int] = {}
        """Committed offsets by consumer group and partition."""

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        """Append a record to a partition, by default the one that its key maps to."""
        place = partition_of(key or b"", self.partitions) if partition is None else partition
        log = self.topics[topic][place]
        log.append(Stored(len(log), self.clock, key, value, headers))
        self.clock += self.tick

    def value_at(self, topic: str, partition: int, offset: int) -> Any:
        """Return the record at a position, or None if there is none."""
        if (changelog := self.changelogs.get((topic, partition))) is not None:
            return next((record for record in reversed(changelog.records) if record.offset == offset), None)
        logs = self.topics[topic]
        if not 0 <= partition < len(logs) or not 0 <= offset < len(logs[partition]):
            return None
        return logs[partition][offset]
