"""What a round breaks: an installation of its own on a real broker, its workers, its load, and all they say."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient

import crl_stream
from campaign.live.brokers import Broker
from campaign.live.load import Load, Sent
from campaign.live.offsets import Offsets
from campaign.live.progress import Progress
from campaign.live.traffic import COMMAND, FEEDBACK, POLICY
from campaign.live.workers import READY_SECONDS, SKIPPED, Worker
from crl_stream.broker.ports import free_port
from crl_stream.settings.model import Kafka
from crl_stream.topic_admin import TopicAdmin
from crl_stream.topology.notes import SOURCES
from crl_stream.wire.topics import COMMANDS, INVOCATIONS, OVERVIEW_EVENTS, TASKS, Topics

ROOT: Final = Path(crl_stream.__file__).resolve().parent.parent
PATIENCE: Final = 90.0
"""Seconds after which a group that has not gone on is stuck, also on a busy machine."""
SESSION: Final = 3.0
COMMIT_INTERVAL: Final = 5.0
"""Seconds: long, so that whoever takes a partition over finds work that is done already."""
WORKER: Final = ("-m", "crl_stream")
LAUNCHER: Final = ("-m", "campaign.live.launcher")
"""Starts a worker that dies at a named line, or lacks a guard."""
REACHED: Final = "campaign: the line is reached: "
"""What such a worker says last."""
RECOVERED: Final = "campaign: recovered "
"""What a worker says that was asked to tell what it recovers: how many records of which partition."""


class Plan(NamedTuple):
    """How a round is set up."""

    name: str
    """Prefix of topics, groups and files."""
    partitions: int = 4
    workers: int = 2
    services: bool = False
    rate: int = 300
    """Records a second."""


class Mark(NamedTuple):
    """A moment, as far as logs go."""

    logs: dict[str, int]
    time: float


class World:
    """Open it with ``async with``; every process and topic of it is gone afterwards."""

    def __init__(self, broker: Broker, plan: Plan, folder: Path, rng: random.Random) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.broker, self.plan, self.folder, self.random = broker, plan, folder, rng
        self.bootstrap_servers = broker.bootstrap_servers
        """Where workers that are started from now on find Kafka: a fault may put a proxy's address here."""
        self.settings: dict[str, str] = {}
        """Further settings of every worker, such as ``worker_commit_interval_seconds``."""
        self.environment: dict[str, str] = {}
        """Further variables of the environment of every worker."""
        self.partitions = plan.partitions
        self.kafka = Kafka(
            bootstrap_servers=broker.bootstrap_servers, topic_prefix=f"{plan.name}.", partitions=plan.partitions
        )
        """For whoever reads and writes beside the workers: always the broker's own address."""
        self.app_id = plan.name
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
        """(partition, from, to): records of the archive that were deleted before they were folded."""
        self.started: list[Worker] = []
        """Every process so far, with its log."""
        self._closing = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._turns: Iterator[str] | None = None

    def _groups(self) -> dict[str, list[str]]:
        groups = {self.app_id: [INVOCATIONS, COMMANDS]}
        if self.plan.services:
            groups |= {f"{self.app_id}-proposer": [TASKS], f"{self.app_id}-overview": [*SOURCES, OVERVIEW_EVENTS]}
        return {group: [self.names(topic) for topic in topics] for group, topics in groups.items()}

    async def __aenter__(self) -> Self:
        """Topics, clients; no worker and no load yet."""
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
        """End everything, and delete the topics."""
        await self._closing.aclose()

    def _end_workers(self) -> None:
        for worker in self.started:
            worker.kill()

    async def _remove(self) -> None:
        async with self.topics._admin() as admin:
            await admin.delete_topics([name for name in self.topics.specs if name in set(await admin.list_topics())])

    # -- workers -----------------------------------------------------------------------------------
    @property
    def workers(self) -> list[Worker]:
        """The monitors that live, oldest first."""
        return [worker for worker in self.started if worker.role == "monitor" and worker.alive]

    @property
    def services(self) -> list[Worker]:
        """The processes of the services that live."""
        return [worker for worker in self.started if worker.role == "services" and worker.alive]

    def start_worker(
        self,
        *,
        role: str = "monitor",
        program: Sequence[str] = WORKER,
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> Worker:
        """Start a ``crl worker``; returns at once.  ``program`` is what stands between Python and ``worker``."""
        assert self._session is not None
        name, port = f"{role}-{len(self.started) + 1}", free_port()
        log = self.folder / f"{name}.log"
        own = {
            "kafka_bootstrap_servers": self.bootstrap_servers,
            "kafka_topic_prefix": self.kafka.topic_prefix,
            "kafka_partitions": str(self.partitions),
            "worker_app_id": self.app_id,
            "worker_data_dir": str(self.folder / name),
            "worker_web_port": str(port),
            "worker_session_timeout_seconds": str(SESSION),
            "worker_heartbeat_seconds": "0.5",
            "worker_commit_interval_seconds": str(COMMIT_INTERVAL),
            "telemetry_folder": str(self.folder / "telemetry"),
        }
        own |= self.settings | settings
        callers = {key: value for key, value in os.environ.items() if not key.startswith("CRL_")}
        variables = {f"CRL_{key.upper()}": value for key, value in own.items()}
        outside = {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(self.folder)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program, "worker", "--role", role],
                env=callers | outside | variables | self.environment | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        worker = Worker(name, role, process, f"http://127.0.0.1:{port}", log, self._session)
        self.started.append(worker)
        return worker

    async def start(self, workers: int | None = None) -> None:
        """The workers of the plan (or as many as said) and its services, ready; then the load."""
        for _ in range(self.plan.workers if workers is None else workers):
            self.start_worker()
        if self.plan.services:
            self.start_worker(role="services")
        await self.ready()
        await self.load.start()

    async def ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every process that lives is ready."""
        await asyncio.gather(*(worker.ready(seconds) for worker in (*self.workers, *self.services)))

    async def refill(self) -> None:
        """As many workers and services as the plan says, ready; others are started or stopped."""
        wanted = {"monitor": self.plan.workers, "services": int(self.plan.services)}
        for role, count in wanted.items():
            there = self.workers if role == "monitor" else self.services
            for _ in range(count - len(there)):
                self.start_worker(role=role)
            await asyncio.gather(*(worker.stop() for worker in there[: max(0, len(there) - count)]))
        await self.ready()

    async def spread(self, seconds: float = PATIENCE) -> None:
        """Wait until every partition has an owner, and every worker that can have one a partition."""
        async with asyncio.timeout(seconds):
            while True:
                shares = await asyncio.gather(*(worker.partitions() for worker in self.workers))
                if set().union(*shares) == set(range(self.partitions)) and all(shares[: self.partitions]):
                    return
                await asyncio.sleep(0.1)

    def turns(self, names: Iterable[str], rng: random.Random) -> Iterator[str]:
        """Each of the names in turn, in an order of the round's, over and over."""
        if self._turns is None:
            shuffled = list(names)
            rng.shuffle(shuffled)
            self._turns = cycle(shuffled)
        return self._turns

    # -- what the system says ----------------------------------------------------------------------
    def mark(self) -> Mark:
        """Now."""
        return Mark({worker.name: worker.log.stat().st_size for worker in self.started}, time.monotonic())

    def said(
        self, since: Mark, pattern: str | re.Pattern[str], *, workers: Iterable[Worker] | None = None
    ) -> list[Any]:
        """All matches in the logs since then, as ``re.findall`` gives them; of all processes, also dead ones."""
        found: list[Any] = []
        for worker in self.started if workers is None else workers:
            found += re.findall(pattern, worker.said(since.logs.get(worker.name, 0)))
        return found

    def skipped(self, since: Mark) -> int:
        """Records that were folded already when their partition was given to a worker, since then."""
        return sum(int(count) for count in self.said(since, SKIPPED))

    async def counters(self) -> dict[str, int]:
        """The counters of the monitors that live, summed."""
        total: dict[str, int] = {}
        for figures in await asyncio.gather(*(worker.figures() for worker in self.workers)):
            for name, value in figures.get("counters", {}).items():
                total[name] = total.get(name, 0) + value
        return total

    @staticmethod
    def has_reached(worker: Worker) -> bool:
        """Whether a spoilt worker has said that it reached its line."""
        return REACHED in worker.said()

    async def reached(self, worker: Worker, seconds: float = PATIENCE) -> None:
        """Wait until a spoilt worker has said that it reached its line."""
        async with asyncio.timeout(seconds):
            while not self.has_reached(worker):  # noqa: ASYNC110 - it says so in a file
                await asyncio.sleep(0.02)

    def api_versions(self) -> str:
        """Highest versions of the requests that carry records, as the broker offers them to a client."""
        known = {0: "Produce", 1: "Fetch", 2: "ListOffsets", 8: "OffsetCommit", 11: "JoinGroup"}
        connections = self.admin._client._conns.values()
        versions: dict[int, tuple[int, int]] = next(
            (found for connection in connections if (found := connection._versions)), {}
        )
        return ", ".join(f"{name} {versions[key][1]}" for key, name in known.items() if key in versions)

    async def lag(self) -> int:
        """Records of the log that are not folded yet."""
        ends = await self.progress.ends(self.names(INVOCATIONS))
        return sum(max(0, end - self.progress.rows[partition].next_offset) for partition, end in ends.items())

    def in_flight(self) -> dict[str, int]:
        """Commands, policies and scores that Kafka has taken and that are not folded yet, by kind."""
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
        """Wait until a worker has folded something on each of its partitions from now on; returns them."""
        partitions = await worker.partitions()
        await self.progress.caught_up()
        await self.progress.beyond(self.progress.marks(partitions), seconds)
        return partitions

    async def moved(self, seconds: float = PATIENCE) -> None:
        """Wait until the group has folded something more, on any partition."""
        await self.progress.beyond(self.progress.marks(), seconds, every=False)

    async def recovered(self, since: Mark, partitions: Collection[int] | None = None) -> float:
        """Wait until each of the partitions has moved on from here; seconds from ``since`` to the last of them."""
        return await self.progress.beyond(self.progress.marks(partitions), PATIENCE) - since.time

    async def settle(self, seconds: float = 180.0) -> None:
        """End the load, and wait until all of it is folded, told and committed by every group."""
        await self.load.pause()
        await self.offsets.settled(seconds)
        await self.offsets.look()
