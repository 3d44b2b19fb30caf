"""Repairs stale writes, so that the last record of each key on a compacted topic comes from the partition's owner.

A process that stalled between its fold and its outputs may write after another process has taken over the partition.
The owner cannot prevent that, because the bytes may already be in network buffers.  But only workers write these
topics, so every offset between two writes of the owner belongs to another process. The owner reads those records. Where
an old record has replaced a newer one, the owner rewrites the newest, byte for byte.

A header of the partition row's record stores how far the owner has checked; another stores each topic's id. If a topic
was deleted and recreated, or its broker has lost its end, some records exist only as rows. The owner detects this and
rewrites them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from crl_stream.errors import Unanswered
from crl_stream.stages.stale_writes import NewestRecords, Place, may_cover
from crl_stream.wire.records import Headers, Output

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
"""The interval between two checks of the topics' ends."""
SEEN: Final = "crl-seen"
"""Header of a partition row in its changelog: maps a topic to the offset up to which the owner has checked it."""
MADE: Final = "crl-made"
"""Header of a partition row in its changelog: maps a topic to the id that the broker gave it at its creation."""
_LOST: Final = 2**62
"""The value in ``SEEN`` for a topic that has not been refilled yet; no topic is that long."""
_DECODER: Final = msgspec.json.Decoder(dict[str, int])
_IDS_DECODER: Final = msgspec.json.Decoder(dict[str, str])

Writes = Mapping[tuple[str, int], tuple[int, int, int]]
"""Maps (topic, partition) to the offsets of the first and last record written and the number of records."""


class StaleWrites:
    """The owner's record of the contents of ``topics`` (the catalog's names), by partition."""

    def __init__(self, topics: tuple[str, ...], outlet: Any, reader: Any) -> None:
        self.topics, self._outlet, self._reader = topics, outlet, reader
        self._seen: dict[int, dict[str, int]] = {}
        """By partition and topic: the offset below which every record is the owner's or has been checked."""
        self._made: dict[int, dict[str, str]] = {}
        """By partition and topic: the topic's id, or an empty string if the broker gives none."""
        self._lost: dict[int, set[str]] = {}
        """By partition: the topics that have lost records of the owner."""

    def open(self, partition: int, headers: Headers) -> None:
        """Start to track a partition that was assigned; ``headers`` are those of its partition row.

        Without a ``SEEN`` header, the topics are checked once from the beginning.
        """
        found: dict[str, int] = {}
        made: dict[str, str] = {}
        for name, value in headers:
            if name == SEEN and value is not None:
                found = _DECODER.decode(value)
            elif name == MADE and value is not None:
                made = _IDS_DECODER.decode(value)
        self._seen[partition] = {topic: found.get(topic, 0) for topic in self.topics}
        self._made[partition], self._lost[partition] = made, set()

    async def recognise(self, partition: int) -> None:
        """Find topics that were recreated or are shorter than they were."""
        if not self.topics:
            return
        seen, before = self._seen[partition], self._made[partition]
        names = {self._outlet.topics(topic): topic for topic in self.topics}
        found = {names[name]: made for name, made in (await self._reader.ids(names)).items()}
        self._made[partition] = {topic: found.get(topic, "") for topic in self.topics}
        ends = await self._ends([partition])
        for topic in self.topics:
            was, now = before.get(topic), self._made[partition][topic]
            cut = ends[topic, partition] < seen[topic] and await self._is_cut(topic, partition)
            if cut or (was and now and was != now):
                self._lose(partition, topic)
                seen[topic] = 0

    async def _is_cut(self, topic: str, partition: int) -> bool:
        """Return whether the topic is really shorter than before, and not just held back by an open transaction."""
        place = self._outlet.topics(topic), partition
        return bool((await self._reader.whole_ends([place]))[place] < self._seen[partition][topic])

    def _lose(self, partition: int, topic: str) -> None:
        self._lost.setdefault(partition, set()).add(topic)

    def lost(self, partition: int) -> frozenset[str]:
        """Return the topics that have lost records of the owner, as found by ``recognise``, ``note`` and ``look``."""
        return frozenset(self._lost.get(partition, ()))

    def filled(self, partition: int) -> None:
        """Record that the owner has refilled the topics that had lost records."""
        self._lost[partition] = set()

    def headers(self, partition: int) -> Headers:
        """Return the headers to write with the partition row."""
        if not self.topics:
            return ()
        seen = self._seen.get(partition, {}) | dict.fromkeys(self._lost.get(partition, ()), _LOST)
        return ((SEEN, msgspec.json.encode(seen)), (MADE, msgspec.json.encode(self._made.get(partition, {}))))

    async def note(self, partition: int, written: Writes, folded: Place) -> None:
        """Record what the owner has written, and check the records of other processes in between."""
        waiting = [written]
        while waiting:
            for (topic, place), (first, last, count) in waiting.pop().items():
                if topic not in self.topics or place != partition:
                    continue
                seen = self._seen.setdefault(partition, dict.fromkeys(self.topics, 0))
                if first < seen[topic]:
                    self._lose(partition, topic)
                foreign = first > seen[topic] or last - first + 1 != count
                begin, seen[topic] = seen[topic], last + 1
                if foreign:
                    waiting.append(await self._mend(topic, partition, min(begin, first), last + 1, folded))

    async def ahead(self, partitions: Iterable[int]) -> list[int]:
        """Return the partitions where a topic's end is unexpected: the owner is writing, or another process wrote."""
        known = [partition for partition in partitions if partition in self._seen]
        ends = await self._ends(known)
        return [p for p in known if any(ends[topic, p] != self._seen[p][topic] for topic in self.topics)]

    async def look(self, partition: int, folded: Place) -> None:
        """Check the records that have arrived since the last check; the owner must not write at the same time.

        Raises ``Unanswered`` if it could not check to the end; the next check then starts where this one did.
        """
        ends = await self._ends([partition])
        seen = self._seen[partition]
        for topic in self.topics:
            end, begin = ends[topic, partition], seen[topic]
            if end == begin:
                continue
            if end < begin:
                if not await self._is_cut(topic, partition):
                    continue  # a transaction is open: the records that it holds back are checked after it has ended
                self._lose(partition, topic)
                begin = 0
            seen[topic] = end
            try:
                await self.note(partition, await self._mend(topic, partition, begin, end, folded), folded)
            except Unanswered:
                seen[topic] = begin
                raise

    async def _ends(self, partitions: list[int]) -> dict[tuple[str, int], int]:
        names = {(self._outlet.topics(topic), p): (topic, p) for topic in self.topics for p in partitions}
        found = await self._reader.ends(names)
        return {place: found[name] for name, place in names.items()}

    async def _mend(self, topic: str, partition: int, first: int, end: int, folded: Place) -> Writes:
        """Rewrite the newest record of each key that is covered by an old record between ``first`` and ``end``."""
        name = self._outlet.topics(topic)
        suspects = set()
        async for record in self._reader.between(name, partition, first, end):
            if record.key is not None and may_cover(topic, record, folded):
                suspects.add(record.key)
        if not suspects:
            return {}
        words = NewestRecords(topic)
        async for record in self._reader.between(name, partition, 0, end):
            if record.key in suspects:
                words.take(record.key, record)
        places = [(partition, offset) for offset in words.covered()]
        if not places:
            return {}
        log.warning(
            "%s partition %d: old records follow newer ones, written late by a process that had lost the partition; "
            "rewriting the newest records of %d keys",
            *(name, partition, len(places)),
        )
        found = await self._reader.read(name, places)
        newest = [found[place] for place in places if found[place] is not None]
        self._outlet.counters.mended += len(newest)
        written: Writes = await self._outlet.publish(
            Output(topic, partition, record.key, record.value, tuple(record.headers)) for record in newest
        )
        return written
