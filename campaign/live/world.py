"""The world of a round: a new installation on a real broker, its workers, its load, and all their logs."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient

from campaign.live.brokers import Broker
from campaign.live.fleet import LAUNCHER, PATIENCE, REACHED, RECOVERED, ROOT, TASKS, Fleet, Mark, Plan
from campaign.live.load import Load, Sent
from campaign.live.offsets import Offsets
from campaign.live.progress import Progress
from campaign.live.traffic import COMMAND, FEEDBACK, POLICY
from campaign.live.workers import Worker
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.stages.topology import sources_of
from crl_stream.wire.topics import INVOCATIONS, Topics

__all__ = ["LAUNCHER", "PATIENCE", "REACHED", "RECOVERED", "ROOT", "TASKS", "Mark", "Plan", "World"]


class World(Fleet):
    """An installation for one round.  Use ``async with``, which removes all its processes and topics afterwards."""

    def __init__(self, broker: Broker, plan: Plan, folder: Path, rng: random.Random) -> None:
        super().__init__(broker, plan, folder)
        self.random = rng
        self.names = Topics(self.kafka.topic_prefix)
        self.topics = TopicAdmin(self.kafka, self.app_id)
        self.admin: Any = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        self.progress = Progress(broker.bootstrap_servers, self.topics.changelog, plan.partitions)
        self.offsets = Offsets(self.admin, self.progress, self._groups())
        self.ledger = folder / "ledger.jsonl"
        self.load = Load(
            broker.bootstrap_servers,
            self.names,
            plan.partitions,
            random.Random(rng.random()),
            self.ledger,
            rate=plan.rate,
        )
        self.archive: Path | None = None
        """A file of records of the log that were deleted on purpose, for the oracle; see ``oracle.reading``."""
        self.gaps: list[tuple[int, int, int]] = []
        """(partition, first offset, end offset) of archived records that were deleted before they were folded."""
        self._closing = AsyncExitStack()
        self._turns: Iterator[str] | None = None

    def _groups(self) -> dict[str, list[str]]:
        group = self.names.group
        groups = {group(self.app_id): sources_of("monitor")}
        if self.plan.services:
            groups |= {group(self.app_id, role): sources_of(role) for role in ("proposer", "overview")}
        return {group: [self.names(topic) for topic in topics] for group, topics in groups.items()}

    async def __aenter__(self) -> Self:
        """Create topics and clients, but start no worker and no load yet."""
        async with AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            stack.push_async_callback(self._remove)
            await self.topics.apply()
            await self.admin.start()
            stack.push_async_callback(self.admin.close)
            await self.progress.start()
            stack.push_async_callback(self.progress.stop)
            self.offsets.start()
            stack.push_async_callback(self.offsets.stop)
            stack.push_async_callback(self.load.stop)
            stack.callback(self._end_workers)
            self._closing = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all processes and clients, and delete the topics."""
        await self._closing.aclose()

    def _end_workers(self) -> None:
        for worker in self.started:
            worker.kill()

    async def _remove(self) -> None:
        async with self.topics._admin() as admin:
            await admin.delete_topics([name for name in self.topics.specs if name in set(await admin.list_topics())])

    async def start(self, workers: int | None = None) -> None:
        """Start the planned workers (or the given number) and services; when they are ready, start the load."""
        for _ in range(self.plan.workers if workers is None else workers):
            self.start_worker()
        if self.plan.services:
            self.start_worker(role="services")
        await self.ready()
        await self.load.start()

    def turns(self, names: Iterable[str], rng: random.Random) -> Iterator[str]:
        """Yield the names in turn, over and over, in an order that is shuffled once per round."""
        if self._turns is None:
            shuffled = list(names)
            rng.shuffle(shuffled)
            self._turns = cycle(shuffled)
        return self._turns

    def api_versions(self) -> str:
        """Return the highest versions of the main Kafka requests that the broker offers to a client."""
        known = {0: "Produce", 1: "Fetch", 2: "ListOffsets", 8: "OffsetCommit", 11: "JoinGroup"}
        connections = self.admin._client._conns.values()
        versions: dict[int, tuple[int, int]] = next(
            (found for connection in connections if (found := connection._versions)), {}
        )
        return ", ".join(f"{name} {versions[key][1]}" for key, name in known.items() if key in versions)

    async def lag(self) -> int:
        """Count the records of the log that are not folded yet."""
        ends = await self.progress.ends(self.names(INVOCATIONS))
        return sum(max(0, end - self.progress.rows[partition].next_offset) for partition, end in ends.items())

    def in_flight(self) -> dict[str, int]:
        """Count the commands, policies and scores that Kafka has accepted and that are not folded yet, by kind."""
        found = dict.fromkeys((COMMAND, POLICY, FEEDBACK), 0)
        for sent in self.load.newest:
            if sent.draft.what in found and not self._is_folded(sent):
                found[sent.draft.what] += 1
        return found

    def _is_folded(self, sent: Sent) -> bool:
        if sent.draft.topic == INVOCATIONS:
            return self.progress.rows[sent.partition].next_offset > sent.offset
        rows = self.progress.rows
        homes: Collection[int] = rows if sent.draft.what == POLICY else (sent.partition,)
        return all(rows[home].commanded.get(sent.partition, -1) >= sent.offset for home in homes)

    # -- waiting -----------------------------------------------------------------------------------
    async def busy(self, worker: Worker, seconds: float = PATIENCE) -> set[int]:
        """Wait until a worker has folded something new on each of its partitions; return the partitions."""
        partitions = await worker.partitions()
        await self.progress.caught_up()
        await self.progress.beyond(self.progress.marks(partitions), seconds)
        return partitions

    async def moved(self, seconds: float = PATIENCE) -> None:
        """Wait until the group has folded something new, on any partition."""
        await self.progress.beyond(self.progress.marks(), seconds, every=False)

    async def recovered(self, since: Mark, partitions: Collection[int] | None = None) -> float:
        """Wait until each of the partitions has made progress; return the seconds that this took since ``since``."""
        return await self.progress.beyond(self.progress.marks(partitions), PATIENCE) - since.time

    async def settle(self, seconds: float = 180.0) -> None:
        """End the load, and wait until every group has processed, published and committed all records."""
        await self.load.pause()
        await self.offsets.settled(seconds)
        await self.offsets.look()
