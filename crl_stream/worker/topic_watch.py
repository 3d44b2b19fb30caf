"""Watches for outside changes: topics that are deleted, recreated or enlarged, and a broker that stops responding.

aiokafka refreshes the metadata of topics every five minutes, and identifies a topic only by its name.  The watch
queries Kafka every few seconds over its own connection, outside any group, and compares the topics' ids and partitions
with those at the start. A change ends the process, because its state must not be written to a different topic. The next
start says what to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, time
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from crl_stream.contract import load_catalog
from crl_stream.core.instant import to_text
from crl_stream.errors import CrlError, Unavailable
from crl_stream.kafka.connection import connection_options
from crl_stream.kafka.topic_ids import ClusterState, describe_cluster
from crl_stream.settings import Settings
from crl_stream.stages.topology import INLET, MONITOR
from crl_stream.wire.topics import Topics
from crl_stream.worker.log_lines import Calm
from crl_stream.worker.member import Member
from crl_stream.worker.topic_changes import TopicChanges

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 5.0
"""How long a broker may take to respond before it counts as silent."""
POSITION_SECONDS: Final = 1.0
HELD_EVERY_SECONDS: Final = 10.0
"""The interval between two checks for transactions that were left open."""
FRESH_SECONDS: Final = 2.5
"""How long a health request waits for Kafka's response; a peer's request may take three seconds in all."""
REMIND_SECONDS: Final = 60.0
"""The interval between two log lines about a continuing outage."""
STILL_SECONDS: Final = 15.0
"""How long a partition with more to read may go without progress before it is reported."""


class Lag(NamedTuple):
    """A partition that has not been read to its end yet."""

    records: int
    done: int
    """The offset up to which the partition is processed."""
    since: float
    """When ``done`` last moved, in seconds since the epoch."""
    in_transaction: bool
    """Whether an open transaction holds back the rest."""


class Held(NamedTuple):
    """A partition with an open transaction."""

    stable: int
    """The offset of the transaction's first record; readers of committed records see nothing from here on."""
    records: int
    since: float
    """When the transaction was first seen, in seconds since the epoch."""


class TopicWatch:
    """Watches the topics of an installation for the members of a process."""

    def __init__(self, settings: Settings, members: Sequence[Member], log_lines: Calm | None = None) -> None:
        self._settings, self._members, self._log_lines = settings, members, log_lines
        names, app_id = Topics(settings.kafka.topic_prefix), settings.worker.app_id
        catalog = load_catalog()
        self._names = [names(spec.name) for spec in catalog.topics]
        self._names += [names(spec.name.format(app_id=app_id)) for spec in catalog.changelogs]
        compacted = frozenset(names(spec.name) for spec in catalog.topics if "compact" in spec.cleanup)
        self._says = TopicChanges(
            settings.kafka.bootstrap_servers, names(MONITOR.source), names(INLET.source), compacted
        )
        self._first: ClusterState | None = None
        self.missing: set[str] = set()
        """The topics that were missing from Kafka's last response."""
        self._turn = asyncio.Lock()
        self._looks: set[asyncio.Task[None]] = set()
        self._looked_at = float("-inf")
        """When the last completed check began, by the monotonic clock."""
        self._reminded_at = 0.0
        self._consumers: dict[str, AIOKafkaConsumer] = {}
        self.silent_since: float | None = None
        """When a silent broker last responded, in seconds since the epoch; None while it responds."""
        self._answered = time()
        self.lags: dict[tuple[str, TopicPartition], Lag] = {}
        """How far each consumer group lags behind, by partition."""
        self.held: dict[TopicPartition, Held] = {}
        self._looked_for_held = 0.0
        self.changed = asyncio.Event()
        self.change: CrlError | None = None
        """The change that ends the process; None while there is none."""

    async def begin(self) -> None:
        """Record the topics at the start; raises ``Unavailable`` when Kafka does not respond."""
        try:
            await self.look()
        except BaseException:
            await self.close()
            raise
        if self.silent_since is not None:
            raise Unavailable(
                f"Kafka does not answer at {self._settings.kafka.bootstrap_servers}.",
                hint="check that the broker is running; a restart tries again",
            )

    async def run(self) -> None:
        """Query Kafka repeatedly until cancelled."""
        try:
            while True:
                await self.look()
                # This request may take longer: a slow response to it says nothing about the broker.
                with suppress(Exception):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await self._find_held(await self._consumer("read_uncommitted"))
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            await self.close()

    async def look(self) -> None:
        """Query Kafka, one request at a time; return when a request that began after this call has ended."""
        called_at = monotonic()
        async with self._turn:
            if self._looked_at > called_at:
                return
            began = monotonic()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._look()
            except Exception as error:  # any error counts: the watch must not end unnoticed
                self._say_silent(error)
                await self.close()  # the next check starts again from the addresses in the settings
            else:
                self._say_answered(began)
            self._looked_at = began

    async def is_fresh(self, seconds: float = FRESH_SECONDS) -> bool:
        """Query Kafka's current state; return whether Kafka responded within ``seconds``."""
        if self.change is not None or self.silent_since is not None:
            return True  # the change is already reported, and another query would add nothing
        looking = asyncio.create_task(self.look())
        self._looks.add(looking)
        looking.add_done_callback(self._looks.discard)
        await asyncio.wait({looking}, timeout=seconds)
        return looking.done()

    def _say_silent(self, error: Exception) -> None:
        """Log an outage when it begins, then once a minute."""
        if self._log_lines is not None:
            self._log_lines.silent()
        where = self._settings.kafka.bootstrap_servers
        if self.silent_since is None:
            self.silent_since, self._reminded_at = self._answered, monotonic()
            log.warning(
                "Kafka does not answer at %s (since %s UTC): %s. Nothing is lost, and the worker continues "
                "when it answers: check that the broker is running (%s)",
                *(where, to_text(round(self.silent_since * 1_000))[11:19], _reason(error), self._who),
            )
        elif monotonic() - self._reminded_at >= REMIND_SECONDS:
            self._reminded_at = monotonic()
            log.warning("Kafka has not answered at %s for %.0f s (%s)", where, self._silent_seconds, self._who)

    def _say_answered(self, began: float) -> None:
        hushed = 0 if self._log_lines is None else self._log_lines.answered(began)
        if self.silent_since is not None:
            more = f"; libraries wrote {hushed} lines about it; crl -v shows them" if hushed else ""
            log.warning("Kafka answers again after %.0f s (%s)%s", self._silent_seconds, self._who, more)
        self._answered, self.silent_since = time(), None

    @property
    def _silent_seconds(self) -> float:
        return time() - (self.silent_since or time())

    @property
    def _who(self) -> str:
        """A short name of this process, because several may write to one terminal."""
        return ", ".join(member.group for member in self._members) or "the worker"

    async def close(self) -> None:
        """Close the connections."""
        consumers, self._consumers = self._consumers, {}
        for consumer in consumers.values():
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(consumer.stop(), 1.0)

    async def _consumer(self, isolation_level: str) -> AIOKafkaConsumer:
        if (consumer := self._consumers.get(isolation_level)) is None:
            consumer = AIOKafkaConsumer(
                **connection_options(self._settings.kafka),
                group_id=None,
                enable_auto_commit=False,
                isolation_level=isolation_level,
                request_timeout_ms=int(ANSWER_SECONDS * 1_000),
            )
            self._consumers[isolation_level] = consumer
            await consumer.start()
        return consumer

    async def _look(self) -> None:
        consumer = await self._consumer("read_uncommitted")
        self._compare(await describe_cluster(consumer._client, self._names))
        if self.change is None:
            await self._measure(consumer)

    # -- topics --------------------------------------------------------------------------------------
    def _compare(self, now: ClusterState) -> None:
        if self._first is None:
            self._first = now
        before, missing = self._first, set(self._names) - now.topics.keys()
        for name in self._names:
            was, found = before.topics.get(name), now.topics.get(name)
            if found is None:
                # A topic is gone only if two responses in a row lack it: a restarted broker may not list all of them.
                if name in self.missing and was is not None:
                    self._end(self._says.gone(name, before.cluster_id, now.cluster_id))
                    return
            elif was is None:
                before.topics[name] = found
            elif was.id != found.id:
                self._end(self._says.made_again(name))
                return
            elif was.partitions != found.partitions:
                self._end(self._says.grown(name, was.partitions, found.partitions))
                return
        self.missing = missing

    def _end(self, change: CrlError) -> None:
        self.change = change
        for member in self._members:
            for lane in member.app.consumer.lanes.values():
                lane.close()  # the rows do not belong to the topic that exists now
        log.critical("%s", change.message)
        if change.hint:
            log.critical("hint: %s", change.hint)
        self.changed.set()

    # -- lag -----------------------------------------------------------------------------------------
    async def _measure(self, consumer: AIOKafkaConsumer) -> None:
        done: dict[tuple[str, TopicPartition], int] = {}
        for member in self._members:
            for tp, offset in await _done(member):
                done[member.group, TopicPartition(tp.topic, tp.partition)] = offset
        places = sorted({place for _, place in done})
        ends = await consumer.end_offsets(places) if places else {}
        lags: dict[tuple[str, TopicPartition], Lag] = {}
        for key, offset in done.items():
            records = ends[key[1]] - offset
            if records <= 0:
                continue
            before = self.lags.get(key)
            since = before.since if before is not None and before.done == offset else time()
            lags[key] = Lag(records, offset, since, in_transaction=False)
        self.lags = lags
        if still := self.still():
            stable = await (await self._consumer("read_committed")).end_offsets(sorted({place for _, place in still}))
            for key, lag in still.items():
                held = stable[key[1]] <= lag.done
                self.lags[key] = lag._replace(in_transaction=held)

    async def _find_held(self, consumer: AIOKafkaConsumer) -> None:
        """Look for open transactions on every topic: readers see no records beyond the start of an open transaction."""
        if self._first is None or (now := time()) - self._looked_for_held < HELD_EVERY_SECONDS:
            return
        self._looked_for_held = now
        there = self._first.topics
        places = [
            TopicPartition(name, p) for name in self._names if name in there for p in range(there[name].partitions)
        ]
        ends = await consumer.end_offsets(places)
        stable = await (await self._consumer("read_committed")).end_offsets(places)
        before, self.held = self.held, {}
        for place in places:
            if (records := ends[place] - stable[place]) > 0:
                known = before.get(place)
                since = known.since if known is not None and known.stable == stable[place] else now
                self.held[place] = Held(stable[place], records, since)

    def left_open(self) -> dict[TopicPartition, Held]:
        """Return the partitions in which a transaction has been open for a while."""
        return {place: held for place, held in self.held.items() if time() - held.since > STILL_SECONDS}

    def still(self) -> dict[tuple[str, TopicPartition], Lag]:
        """Return the partitions that have more to read but have made no progress for a while."""
        return {key: lag for key, lag in self.lags.items() if time() - lag.since > STILL_SECONDS}


async def _done(member: Member) -> list[tuple[Any, int]]:
    """Yield the partitions that a member works on, each with the offset up to which it is processed."""
    consumer = member.app.consumer
    found = []
    for tp, lane in list(consumer.lanes.items()):
        offset = consumer.safe.get(tp)
        if offset is None or not lane.open:
            continue
        if not lane.backlog:
            # Transaction markers and compacted records take offsets, but are not records to read.
            with suppress(TimeoutError, Exception):
                offset = max(offset, await asyncio.wait_for(consumer.position(tp), POSITION_SECONDS) or 0)
        found.append((tp, offset))
    return found


def _reason(error: Exception) -> str:
    """Return a short reason why Kafka does not respond; aiokafka's own text details every address that it has tried."""
    text = " ".join(str(error).split()).removeprefix(f"{type(error).__name__}: ").rstrip(".")
    if text.startswith("Unable to bootstrap from"):
        return "no broker is listening there, or it refuses this client"
    if isinstance(error, TimeoutError) and not text:
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    return text or type(error).__name__
