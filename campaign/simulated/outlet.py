"""Where a stage writes: outputs and rows go to the broker in memory, with a stop before and after each write."""

from __future__ import annotations

import enum
import random
import types
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from typing import Any

from campaign.simulated.broker import Broker
from crl_stream.wire.records import Output
from crl_stream.wire.topics import Topics
from crl_stream.worker.counters import Counters


class Point(enum.Enum):
    """Where a process can be stopped: the points of ``stages.driver.Crash``, and the points between them."""

    BEFORE_OUTPUTS = "after the fold, before any output"
    AMID_OUTPUTS = "between two outputs"
    AFTER_OUTPUTS = "after the outputs, before any row"
    AMID_ROWS = "between two rows"
    AFTER_ROWS = "after the partition row, before the commit"
    BETWEEN_PARTS = "after a part of a batch is written, before the next part"
    IDLE = "between two batches"


@types.coroutine
def _stop(point: Point) -> Generator[Point, None, None]:
    yield point


class _Place:
    def __init__(self, partition: int) -> None:
        self.partition = partition


class Batch:
    """The batch that a lane hands to a stage."""

    def __init__(self, partition: int, records: Sequence[Any], end: int) -> None:
        self.tp, self.records, self.end = _Place(partition), records, end
        self.is_unwanted = False


class Reader:
    """Reads single records, in place of ``worker.point_reader``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def read(self, topic: str, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        """Return the records at (partition, offset)."""
        return {place: self._broker.value_at(topic, *place) for place in places}

    async def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the offset after the last record of each (topic, partition)."""
        return {(topic, partition): len(self._broker.topics[topic][partition]) for topic, partition in places}

    async def ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Return empty ids, because no topic is ever recreated here."""
        return dict.fromkeys(topics, "")

    async def between(self, topic: str, partition: int, first: int, end: int) -> AsyncIterator[Any]:
        """Yield the records from ``first`` up to ``end``."""
        for record in self._broker.topics[topic][partition][first:end]:
            yield record


class Outlet:
    """Where one process writes its outputs and rows.  Also stands in for the app, its consumer and its producer."""

    def __init__(self, number: int, broker: Broker, rng: random.Random) -> None:
        self._number, self._broker, self._rng = number, broker, rng
        self.topics = Topics()
        self.counters = Counters()
        self.app = self.consumer = self.producer = self

    async def pause(self) -> None:
        """Stop between two parts of a batch."""
        await _stop(Point.BETWEEN_PARTS)

    def check_pulse(self) -> None:
        """Skip the check: a process that stalls right after it would not notice that it loses its partition anyway."""

    async def publish(self, outputs: Iterable[Output]) -> dict[tuple[str, int], tuple[int, int, int]]:
        """Write the outputs, in order within each partition; the partitions come in random order."""
        groups: dict[tuple[str, int], list[Output]] = {}
        for output in outputs:
            groups.setdefault((output.topic, output.partition), []).append(output)
        await _stop(Point.BEFORE_OUTPUTS)
        written = {}
        waiting = list(groups.items())
        self._rng.shuffle(waiting)
        for number, ((topic, partition), group) in enumerate(waiting):
            if number:
                await _stop(Point.AMID_OUTPUTS)
            cut = self._rng.randrange(len(group)) if self._rng.random() < 0.2 else 0
            first = len(self._broker.topics[topic][partition])
            self._append(topic, partition, group[:cut])
            if cut:
                await _stop(Point.AMID_OUTPUTS)
            self._append(topic, partition, group[cut:])
            written[topic, partition] = first, len(self._broker.topics[topic][partition]) - 1, len(group)
        self.counters.outputs += sum(map(len, groups.values()))
        return written

    def _append(self, topic: str, partition: int, group: Iterable[Output]) -> None:
        for output in group:
            self._broker.append(topic, output.key, output.value, partition=partition, headers=output.headers)

    async def write(
        self, topic: str, partition: int, items: Sequence[tuple[bytes, bytes, Any]], *, limit: int
    ) -> tuple[int, int]:
        """Write rows at once or, if there is a ``limit``, sometimes in two pieces."""
        changelog = self._broker.changelogs[topic, partition]
        await _stop(Point.AFTER_OUTPUTS)
        cut = self._rng.randrange(len(items)) if limit and self._rng.random() < 0.4 else 0
        first = changelog.end
        if cut:
            changelog.append(partition, items[:cut], self._number)
            await _stop(Point.AMID_ROWS)
        _, last = changelog.append(partition, items[cut:], self._number)
        await _stop(Point.AFTER_ROWS)
        return first, last
