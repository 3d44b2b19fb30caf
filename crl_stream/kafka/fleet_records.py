"""Follows the topics from which the dashboard knows the fleet: what is true now, and the newest of what happened."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from crl_stream.errors import ContractError
from crl_stream.kafka.connection import reaching
from crl_stream.kafka.log_consumer import LogConsumer, Stretch, answered_at
from crl_stream.kafka.positions import Offsets, bounds, places_of
from crl_stream.kafka.reader import Received
from crl_stream.kafka.session import KafkaSession
from crl_stream.kafka.topic_ids import NO_ID, TopicState, describe_cluster
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.topics import Topics

EVENTS_READ: Final = 12_000
"""About how many of the newest records of a topic of events are read at the start, over all its partitions."""
LEAST_READ: Final = 300
"""How many of them are read from each partition, even if there are many partitions."""
POLL_MS: Final = 250
AT_ONCE: Final = 200
"""Records decoded at a time, so that pages are answered meanwhile."""
READ_AT_ONCE: Final = 2_000
"""Records that a poll may bring at the start, when most of them are not decoded."""
STATES_READ: Final = 10_000
"""About how many records of the topics of states are decoded at the start, as long as they have few keys."""
MOST_OF_A_KEY: Final = 48
LEAST_OF_A_KEY: Final = 3
"""How many of one key are decoded at least; the last one can be unreadable, or be written by a worker that was late."""
CHECK_SECONDS: Final = 3.0
"""Seconds between two looks at the ids of the topics; a topic that was made again has another id."""
ANSWER_SECONDS: Final = 1.0
"""How long such a look may take."""


class Batch(NamedTuple):
    """What one poll brought."""

    received: list[Received]
    caught_up: bool
    """Whether everything that was on the topics at the start has been read."""
    silent: float
    """Seconds since Kafka last answered."""
    left: int = 0
    """About how many of the ``total`` records that were on the topics at the start have not been read yet."""
    total: int = 0
    made_again: str = ""
    """A topic that was deleted and created again: forget all earlier batches, everything is read from the start."""


class Followed:
    """How far the topics were read; the next call of ``follow_fleet`` continues there, and keeps it up to date."""

    def __init__(self) -> None:
        self.positions: Offsets = {}
        self.ids: dict[str, bytes] = {}
        """Kafka's id of each topic that was read, by its name on the broker; without those that have none."""

    def forget(self) -> None:
        """Continue from the start, with whatever topics there are then."""
        self.positions.clear()
        self.ids.clear()

    def other_of(self, now: Mapping[str, TopicState]) -> str | None:
        """Return the first topic that is no longer the one that was read; None if there is none."""
        return next((name for name, known in self.ids.items() if name in now and now[name].id != known), None)


class _FirstRead:
    """Keeps back what is read at first from the topics of states, until their end then is reached.

    Only the newest records of each key are given out and so decoded: compaction can remove the others at any time, but
    it can also be hours behind.  The more keys there are, the fewer records of each are kept.
    """

    def __init__(self, topics: Mapping[str, str], states: Sequence[str]) -> None:
        self._states = {name for name, topic in topics.items() if topic in states}
        self._of: dict[tuple[str, int, bytes | None], deque[Any]] = {}
        self._each, self._count, self._is_over = MOST_OF_A_KEY, 0, False

    def due(self, records: list[Any], *, is_over: bool) -> list[Any]:
        """Return which records are to be decoded now; ``is_over`` says that these are the last ones of the start."""
        if self._is_over:
            return records
        self._is_over = is_over
        for record in records:
            if record.topic in self._states:
                self._keep(record)
        due = [record for record in records if record.topic not in self._states]
        if is_over:
            due += self._kept()
        return due

    def _kept(self) -> list[Any]:
        """Return what was kept back, and forget it."""
        by_place = dict[tuple[str, int], list[Any]]()
        for (topic, partition, _), kept in self._of.items():
            by_place.setdefault((topic, partition), []).extend(kept)
        self._of.clear()
        for records in by_place.values():
            records.sort(key=lambda record: record.offset)
        return _in_order(by_place.values())

    def _keep(self, record: Any) -> None:
        kept = self._of.setdefault((record.topic, record.partition, record.key), deque())
        kept.append(record)
        self._count += 1
        self._shorten(kept)
        while self._count > STATES_READ and self._each > LEAST_OF_A_KEY:
            self._each = max(LEAST_OF_A_KEY, self._each // 2)
            for other in self._of.values():
                self._shorten(other)

    def _shorten(self, kept: deque[Any]) -> None:
        while len(kept) > self._each:
            kept.popleft()
            self._count -= 1


async def follow_fleet(
    kafka: Kafka, states: Sequence[str], events: Sequence[str], followed: Followed
) -> AsyncGenerator[Batch, None]:
    """Follow the topics of ``states`` from their beginning and those of ``events`` from their newest records.

    ``followed`` says how far they were read before.  The generator ends after a topic was made again; call it again.
    Raises ``Unavailable`` if Kafka cannot be reached, and ``ContractError`` if a topic is missing.
    """
    names = Topics(kafka.topic_prefix)
    topics = {names(topic): topic for topic in (*states, *events)}
    consumer = KafkaSession(kafka).consumer(follows=True, auto_offset_reset="earliest")
    looking: asyncio.Task[dict[str, TopicState]] | None = None
    try:
        with reaching(kafka):
            await consumer.start()
            places = await places_of(consumer, list(topics))
            # The ids come first: a topic that is made again from here on is noticed below.
            there = await _described(consumer, topics)
            first, end = await bounds(consumer, places)
        if (other := _made_again(followed, there, end)) is not None:
            followed.forget()
            yield Batch([], False, 0.0, made_again=topics[other])
        followed.ids |= {name: state.id for name, state in there.items() if state.id != NO_ID}
        looking = asyncio.create_task(_look_again(consumer, topics))
        consumer.assign(places)
        partitions = {name: sum(place.topic == name for place in places) for name in topics}
        start: Offsets = {}
        for place in places:
            back = max(LEAST_READ, EVENTS_READ // partitions[place.topic])
            newest = first[place] if topics[place.topic] in states else end[place] - back
            start[place] = max(first[place], followed.positions.get(place, newest))
            consumer.seek(place, start[place])
        left = {place for place in places if end[place] > start[place]}
        total = sum(end[place] - start[place] for place in left)
        answered, silent, first_read = 0, 0.0, _FirstRead(topics, states)
        while True:
            began = time.monotonic()
            with reaching(kafka):
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=READ_AT_ONCE if left else AT_ONCE)
                left = {place for place in left if await consumer.position(place) < end[place]} if left else left
                if looking.done():
                    there, looking = looking.result(), asyncio.create_task(_look_again(consumer, topics))
            silent += time.monotonic() - began
            if (latest := answered_at(consumer, places)) != answered:
                answered, silent = latest, 0.0
            if (other := followed.other_of(there) or _gone_back(followed, polled)) is not None:
                followed.forget()
                yield Batch([], False, silent, made_again=topics[other])
                return  # a new consumer has no metadata of the old topic
            start |= {place: stretch.end for place, stretch in polled.items()}
            rest, records = (
                sum(end[p] - start[p] for p in left),
                first_read.due(_in_order(polled.values()), is_over=not left),
            )
            for at in range(0, len(records) or 1, AT_ONCE):
                later = len(records) - at - AT_ONCE
                received = _received(records[at : at + AT_ONCE], topics)
                yield Batch(received, not left and later <= 0, silent, rest + max(0, later), total)
                await asyncio.sleep(0)
            followed.positions |= {p: at for p, at in start.items() if not left or topics[p.topic] not in states}
    finally:
        if looking is not None:
            looking.cancel()
        await asyncio.shield(consumer.stop())


async def _described(consumer: LogConsumer, topics: Iterable[str]) -> dict[str, TopicState]:
    """Return the topics as Kafka describes them now; raise ``ContractError`` if one is missing."""
    there = (await describe_cluster(consumer._client, list(topics))).topics  # noqa: SLF001 - our own request
    if missing := [name for name in topics if name not in there]:
        raise ContractError(f"The topic {missing[0]} does not exist.", hint="run `crl topics apply`")
    return there


async def _look_again(consumer: LogConsumer, topics: Iterable[str]) -> dict[str, TopicState]:
    """Return the topics as Kafka describes them after a while; nothing if it does not answer, which others notice."""
    await asyncio.sleep(CHECK_SECONDS)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _described(consumer, topics)
    except (KafkaError, TimeoutError):
        return {}


def _made_again(followed: Followed, there: Mapping[str, TopicState], end: Offsets) -> str | None:
    """Return a topic that was made again since it was read; without ids, one that is shorter than what was read."""
    shorter = (place.topic for place, at in followed.positions.items() if at > end.get(place, 0))
    return followed.other_of(there) or next(shorter, None)


def _gone_back(followed: Followed, polled: Mapping[TopicPartition, Stretch]) -> str | None:
    """Return a topic from which the consumer began to read again, because it had become shorter."""
    positions = followed.positions
    return next((place.topic for place, stretch in polled.items() if stretch.start < positions.get(place, 0)), None)


def _in_order(places: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the records of partitions by append time; each partition keeps its order, even if a clock went back."""
    found = list[tuple[int, int, Any]]()
    for records in places:
        latest = 0
        for record in records:
            latest = max(latest, record.timestamp)
            found.append((latest, record.offset, record))
    return [record for _, _, record in sorted(found, key=itemgetter(0, 1))]


def _received(records: Iterable[Any], topics: Mapping[str, str]) -> list[Received]:
    found = []
    for record in records:
        topic = topics[record.topic]
        decoded = decode_record(topic, record)
        found.append(Received(topic, record, None if isinstance(decoded, Rejected) else decoded.message))
    return found
