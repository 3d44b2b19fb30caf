"""The owner of a partition has the last word on the compacted topics that it writes.

A process that stalled between its fold and its outputs may write when another one owns the partition, and nothing of
this side can prevent it: the bytes may lie in the buffers of its network.  But nobody else writes these topics, so each
offset between two writes of the owner is somebody else's record.  The owner reads those, and where an old record
covers a newer one it writes the newest again, byte for byte.

Up to where it has looked stands beside the partition row, as a header of the same record.  So does which topic that
was: one that was deleted and made again, or whose broker has lost its end, has lost records that only the rows know.
The owner is told, and writes them again.
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
"""Between two looks at the ends of the topics."""
SEEN: Final = "crl-seen"
"""Header of a partition row in its changelog: topic to the offset below which the owner knows every record."""
MADE: Final = "crl-made"
"""Header of a partition row in its changelog: topic to the id that the broker gave it when it was made."""
_LOST: Final = 2**62
"""Stands for the offset in ``SEEN`` of a topic that is not filled again yet: no topic is as long."""
_DECODER: Final = msgspec.json.Decoder(dict[str, int])
_IDS_DECODER: Final = msgspec.json.Decoder(dict[str, str])

Writes = Mapping[tuple[str, int], tuple[int, int, int]]
"""(topic, partition) to offsets of the first and last record and the number of records that were written."""


class StaleWrites:
    """What the owner knows of ``topics`` (the catalog's names), by partition."""

    def __init__(self, topics: tuple[str, ...], outlet: Any, reader: Any) -> None:
        self.topics, self._outlet, self._reader = topics, outlet, reader
        self._seen: dict[int, dict[str, int]] = {}
        """Partition, topic: every record below this offset is the owner's or was looked at."""
        self._made: dict[int, dict[str, str]] = {}
        """Partition, topic: its id, empty where the broker gives none."""
        self._lost: dict[int, set[str]] = {}
        """By partition: topics that have lost what the owner wrote."""

    def open(self, partition: int, headers: Headers) -> None:
        """A partition was assigned; ``headers`` are those of its partition row.

        Without the header everything is looked at once.
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
        """Find the topics that are not those which were written, or are shorter than they were."""
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
        """Whether the topic is shorter than what is known of it, and not only held back by an open transaction."""
        place = self._outlet.topics(topic), partition
        return bool((await self._reader.whole_ends([place]))[place] < self._seen[partition][topic])

    def _lose(self, partition: int, topic: str) -> None:
        self._lost.setdefault(partition, set()).add(topic)

    def lost(self, partition: int) -> frozenset[str]:
        """Topics that have lost what the owner wrote: ``recognise`` and every write and look find them."""
        return frozenset(self._lost.get(partition, ()))

    def filled(self, partition: int) -> None:
        """The owner has written again what they had."""
        self._lost[partition] = set()

    def headers(self, partition: int) -> Headers:
        """What to write beside the partition row."""
        if not self.topics:
            return ()
        seen = self._seen.get(partition, {}) | dict.fromkeys(self._lost.get(partition, ()), _LOST)
        return ((SEEN, msgspec.json.encode(seen)), (MADE, msgspec.json.encode(self._made.get(partition, {}))))

    async def note(self, partition: int, written: Writes, folded: Place) -> None:
        """The owner has written; what stands between is looked at."""
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
        """Partitions in which some topic ends elsewhere than the owner knows: it is writing, or somebody else was."""
        known = [partition for partition in partitions if partition in self._seen]
        ends = await self._ends(known)
        return [p for p in known if any(ends[topic, p] != self._seen[p][topic] for topic in self.topics)]

    async def look(self, partition: int, folded: Place) -> None:
        """Look at what has come since; nothing of the owner's may be on its way.

        ``Unanswered`` when it could not look to the end: the next look begins where this one did.
        """
        ends = await self._ends([partition])
        seen = self._seen[partition]
        for topic in self.topics:
            end, begin = ends[topic, partition], seen[topic]
            if end == begin:
                continue
            if end < begin:
                if not await self._is_cut(topic, partition):
                    continue  # somebody's transaction is open: what it holds back is looked at when it has ended
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
        """Write the newest record again of each key that has an old one in ``first`` to ``end`` and an old one last."""
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
            "%s partition %d: old records stand behind newer ones, written late by a process that had lost the "
            "partition; the newest of %d keys are written again",
            *(name, partition, len(places)),
        )
        found = await self._reader.read(name, places)
        newest = [found[place] for place in places if found[place] is not None]
        self._outlet.counters.mended += len(newest)
        written: Writes = await self._outlet.publish(
            Output(topic, partition, record.key, record.value, tuple(record.headers)) for record in newest
        )
        return written
