"""The worker processes of a round: how they are started, what they log, how many there are."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import aiohttp

import crl_stream
from campaign.live.brokers import Broker
from campaign.live.workers import READY_SECONDS, SKIPPED, Worker, WorkerEnded
from crl_stream.broker.ports import free_port
from crl_stream.settings.model import Kafka

ROOT: Final = Path(crl_stream.__file__).resolve().parent.parent
PATIENCE: Final = 90.0
"""Seconds without progress after which a group counts as stuck; long enough for a busy machine."""
SESSION: Final = 3.0
SERVICES_SESSION: Final = 9.0
"""Session of the services in seconds.  It is longer than ``SESSION``, because four groups start in one process.  On a
busy machine that process can stall for half of a shorter session, and would then exit.
"""
COMMIT_INTERVAL: Final = 5.0
"""Seconds between commits; so many that a new owner of a partition finds records that are folded but not committed."""
WORKER: Final = ("-m", "crl_stream")
LAUNCHER: Final = ("-m", "campaign.live.launcher")
"""Python arguments that start a worker which dies or pauses at a named line, or lacks a guard."""
REACHED: Final = "campaign: the line is reached: "
"""Prefix of the last log line of a worker before it dies or pauses at its named line."""
RECOVERED: Final = "campaign: recovered "
"""Prefix of a log line with the number of records recovered in a partition; logged only on request."""
TASKS: Final = "campaign: unfinished tasks "
"""Prefix of a log line with the number of unfinished asyncio tasks; logged only on request."""


def start_python(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start ``python WORDS`` as a process that writes everything to ``output``."""
    command = [sys.executable, *words]
    options: Any = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment, cwd=folder, **options)


class Plan(NamedTuple):
    """The setup of a round."""

    name: str
    """Prefix of topics, groups and files."""
    partitions: int = 4
    workers: int = 2
    services: bool = False
    rate: int = 300
    """Records a second."""


TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
"""Pattern of the beginning of each line in a worker's log."""


class Mark(NamedTuple):
    """A moment, and the position in each log at that moment."""

    logs: dict[str, int]
    time: float
    line: str
    """The timestamp with which a log line written now would begin."""


class Fleet:
    """Processes of one installation, and their logs."""

    def __init__(self, broker: Broker, plan: Plan, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.broker, self.plan, self.folder = broker, plan, folder
        self.bootstrap_servers = broker.bootstrap_servers
        """Where workers find Kafka when they start; a fault may put a proxy's address here."""
        self.settings: dict[str, str] = {}
        """Additional settings for every worker, such as ``worker_commit_interval_seconds``."""
        self.environment: dict[str, str] = {}
        """Additional environment variables for every worker."""
        self.partitions = plan.partitions
        self.kafka = Kafka(
            bootstrap_servers=broker.bootstrap_servers, topic_prefix=f"{plan.name}.", partitions=plan.partitions
        )
        """The broker's own address, for readers and writers other than workers."""
        self.app_id = plan.name
        self.started: list[Worker] = []
        """Every process started so far, with its log."""
        self._session: aiohttp.ClientSession | None = None

    # -- workers -----------------------------------------------------------------------------------
    @property
    def workers(self) -> list[Worker]:
        """The running monitors, oldest first."""
        return [worker for worker in self.started if worker.role == "monitor" and worker.alive]

    @property
    def services(self) -> list[Worker]:
        """The running processes of the services."""
        return [worker for worker in self.started if worker.role == "services" and worker.alive]

    def start_worker(
        self,
        *,
        role: str = "monitor",
        program: Sequence[str] = WORKER,
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> Worker:
        """Start a ``crl worker`` and return at once.  ``program`` goes between Python and ``worker``."""
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
            "worker_session_timeout_seconds": str(SESSION if role == "monitor" else SERVICES_SESSION),
            "worker_heartbeat_seconds": "0.5",
            "worker_commit_interval_seconds": str(COMMIT_INTERVAL),
            "telemetry_folder": str(self.folder / "telemetry"),
        }
        own |= self.settings | settings
        callers = {key: value for key, value in os.environ.items() if not key.startswith("CRL_")}
        variables = {f"CRL_{key.upper()}": value for key, value in own.items()}
        outside = {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(self.folder)}
        additions = self.environment | dict(environment or {})
        with log.open("wb") as output:
            words = [*program, "worker", "--role", role]
            process = start_python(words, callers | outside | variables | additions, self.folder, output)
        url, servers = f"http://127.0.0.1:{port}", own["kafka_bootstrap_servers"]
        worker = Worker(name, role, process, url, log, self._session, servers)
        self.started.append(worker)
        return worker

    async def ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every live process is ready."""
        await asyncio.gather(*(worker.ready(seconds) for worker in (*self.workers, *self.services)))

    async def refill(self) -> None:
        """Start or stop workers and services until the planned number is ready."""
        wanted = {"monitor": self.plan.workers, "services": int(self.plan.services)}
        async with asyncio.timeout(READY_SECONDS):
            while True:
                for role, count in wanted.items():
                    there = self.workers if role == "monitor" else self.services
                    for _ in range(count - len(there)):
                        self.start_worker(role=role)
                    await asyncio.gather(*(worker.stop() for worker in there[: max(0, len(there) - count)]))
                try:
                    await self.ready()
                except WorkerEnded:
                    # A worker that stalls for half a session exits.  On a machine that is too busy, that is correct.
                    continue
                if (len(self.workers), len(self.services)) == tuple(wanted.values()):
                    return

    async def spread(self, seconds: float = PATIENCE) -> None:
        """Wait until every partition has an owner and, if there are enough partitions, every worker has one."""
        async with asyncio.timeout(seconds):
            while True:
                shares = await asyncio.gather(*(worker.partitions() for worker in self.workers))
                if set().union(*shares) == set(range(self.partitions)) and all(shares[: self.partitions]):
                    return
                await asyncio.sleep(0.1)

    # -- what the system reports -------------------------------------------------------------------
    def mark(self) -> Mark:
        """Return the current moment, with the position in each log."""
        sizes = {worker.name: worker.log.stat().st_size for worker in self.started}
        return Mark(sizes, time.monotonic(), time.strftime("%Y-%m-%d %H:%M:%S"))

    def said(
        self, since: Mark, pattern: str | re.Pattern[str], *, workers: Iterable[Worker] | None = None
    ) -> list[Any]:
        """Return all matches since ``since`` as ``re.findall`` does, including the logs of processes that have ended.

        A log line that a worker held back counts by the time at which it was created, not the time at which it was
        written.
        """
        found: list[Any] = []
        for worker in self.started if workers is None else workers:
            lines = worker.said(since.logs.get(worker.name, 0)).splitlines(keepends=True)
            fresh = (line for line in lines if not TIME.match(line) or line[: len(since.line)] >= since.line)
            found += re.findall(pattern, "".join(fresh))
        return found

    def skipped(self, since: Mark) -> int:
        """Count the records that workers have skipped since ``since``, because they were already folded."""
        return sum(int(count) for count in self.said(since, SKIPPED))

    def left(self, since: Mark) -> int:
        """Count the workers that have exited on their own since ``since``, for any reason."""
        return len(self.said(since, r"leaving without commit: "))

    async def counters(self) -> dict[str, int]:
        """Return the sums of the live monitors' counters."""
        total: dict[str, int] = {}
        for figures in await asyncio.gather(*(worker.figures() for worker in self.workers)):
            for name, value in figures.get("counters", {}).items():
                total[name] = total.get(name, 0) + value
        return total

    @staticmethod
    def has_reached(worker: Worker) -> bool:
        """Return whether a modified worker has reported that it reached its named line."""
        return REACHED in worker.said()

    async def reached(self, worker: Worker, seconds: float = PATIENCE) -> None:
        """Wait until a modified worker has reported that it reached its named line."""
        async with asyncio.timeout(seconds):
            while not self.has_reached(worker):
                await asyncio.sleep(0.02)
