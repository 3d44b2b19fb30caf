"""One control under test: its topics, its worker processes, a load of known records, and its own progress."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from campaign.controls.recount import Event, Recount, last_values, read_all, recount, stable

PARTITIONS: Final = 4
KEYS: Final = 200
RATE: Final = 300
"""Records per second, as in the campaign."""
PATIENCE: Final = 60.0
"""Seconds without an output after which all workers are restarted, as a person would do."""
SETTLE_SECONDS: Final = 90.0
HOPELESS: Final = 20
"""Number of workers that may end on their own before any output appears."""
TRANSACTION_SECONDS: Final = 150.0
"""Longest wait in seconds for the end of a transaction left open by a killed process; it hides all later records."""


class Control(NamedTuple):
    """A program that counts records, built on an alternative to crl-stream."""

    name: str
    title: str
    program: Path
    committed_only: bool
    """Whether the program writes in transactions, so that only committed records count."""
    changelog: str
    """Name of the program's changelog; ``{name}`` is the name of the round."""
    key_of: Callable[[bytes], str | None]
    has_our_libraries: bool
    """Whether the program runs with this package's dependencies instead of ``requirements/bench.txt``."""


class Rig:
    """A control under test.  Use ``async with``, which removes its processes and topics afterwards."""

    def __init__(
        self, control: Control, python: str, servers: str, name: str, folder: Path, rng: random.Random
    ) -> None:
        self.control, self.name, self.servers, self.rng = control, name, servers, rng
        self.python, self.folder = python, folder
        self.events: list[Event] = []
        """Every record that the broker has acknowledged."""
        self.started: list[subprocess.Popen[bytes]] = []
        self.ended: list[int] = []
        """Exit codes of workers that ended on their own."""
        self.recovered = False
        """Whether there has been any output yet."""
        self.stuck = 0
        """Number of times that all workers were restarted because no output arrived for ``PATIENCE`` seconds."""
        self._expected_to_end: set[int] = set()
        self._admin: Any = AIOKafkaAdminClient(bootstrap_servers=servers)
        self._reader: Any = AIOKafkaConsumer(bootstrap_servers=servers, group_id=None)
        self._producer: Any = None
        self._load: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Create the topics, but start no worker yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        await self._admin.start()
        await self._admin.create_topics(
            [NewTopic(f"{self.name}-{each}", PARTITIONS, 1) for each in ("events", "outputs")]
        )
        await self._reader.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        if self._load is not None:
            self._load.cancel()
            await asyncio.gather(self._load, return_exceptions=True)
        for worker in self.started:
            worker.kill()
            worker.wait()
        if self._producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(self._producer.stop(), 15)
        await self._reader.stop()
        with suppress(KafkaError, OSError):
            await self._admin.delete_topics([t for t in await self._admin.list_topics() if self.name in t])
        await self._admin.close()

    # -- workers ---------------------------------------------------------------------------------------
    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        """The worker processes that are running."""
        return [worker for worker in self.started if worker.poll() is None]

    def start_worker(self) -> None:
        """Start one more worker process."""
        number = len(self.started) + 1
        own = {
            "CONTROL_NAME": self.name,
            "CONTROL_BROKER": self.servers,
            "CONTROL_FOLDER": str(self.folder / f"state-{number}"),
            "CONTROL_PARTITIONS": str(PARTITIONS),
        }
        with (self.folder / f"worker-{number}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable if self.control.has_our_libraries else self.python, str(self.control.program)],
                env=dict(os.environ) | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self.started.append(process)

    def expect_end(self, worker: subprocess.Popen[bytes]) -> None:
        """Note that the campaign is about to end this worker, so that it does not count as ending on its own."""
        self._expected_to_end.add(worker.pid)

    def attend(self, wanted: int) -> None:
        """Start missing workers, as a service manager would, and note which ones ended on their own."""
        for worker in self.started:
            if worker.poll() is not None and worker.pid not in self._expected_to_end:
                self._expected_to_end.add(worker.pid)
                self.ended.append(worker.returncode)
        if len(self.ended) >= HOPELESS and not self.recovered:
            raise TimeoutError(f"{self.control.title} keeps ending: {self._last_words()}")
        while len(self.workers) < wanted:
            self.start_worker()

    def _last_words(self) -> str:
        logs = sorted(self.folder.glob("worker-*.log"), key=lambda log: log.stat().st_mtime)
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return lines[-1] if lines else "nothing"

    # -- progress --------------------------------------------------------------------------------------
    async def outputs(self) -> int:
        """Count the records on the output topic now."""
        return sum((await self._ends(f"{self.name}-outputs")).values())

    async def progress(self, wanted: int, more: int = 300) -> float:
        """Wait for ``more`` outputs, restarting workers that ended; return the seconds it took.

        If no output arrives for ``PATIENCE`` seconds, every worker is killed and restarted once.  Raises
        ``TimeoutError`` if there is still no output after that.
        """
        began = time.monotonic()
        mark = await self.outputs()
        for attempt in range(3):
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                self.attend(wanted)
                with suppress(KafkaError, OSError, TimeoutError):
                    if await self.outputs() >= mark + more:
                        self.recovered = True
                        return time.monotonic() - began
                await asyncio.sleep(0.2)
            self.stuck += 1
            if attempt < 2:
                for worker in self.workers:
                    self.expect_end(worker)
                    worker.kill()
                    worker.wait()
        raise TimeoutError(f"{self.control.title} makes no progress, see {self.folder}")

    async def _ends(self, topic: str) -> dict[TopicPartition, int]:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        found: dict[TopicPartition, int] = await asyncio.wait_for(self._reader.end_offsets(places), 10)
        return found

    async def lag(self) -> int:
        """Return the number of records beyond the committed offsets."""
        ends = await self._ends(f"{self.name}-events")
        committed = await self._admin.list_consumer_group_offsets(self.name)
        return sum(end - max(0, committed[place].offset if place in committed else 0) for place, end in ends.items())

    # -- load ------------------------------------------------------------------------------------------
    async def start_load(self) -> None:
        """Start sending."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.servers, acks="all", enable_idempotence=True, request_timeout_ms=120_000
        )
        await self._producer.start()
        self._load = asyncio.create_task(self._send())

    async def stop_load(self) -> None:
        """Stop sending, and wait until every record is acknowledged."""
        assert self._load is not None
        self._load.cancel()
        await asyncio.gather(self._load, return_exceptions=True)
        await asyncio.wait_for(self._producer.flush(), 150)

    async def _send(self) -> None:
        number, due = 0, time.monotonic()
        while True:
            for _ in range(RATE // 20):
                number += 1
                event = Event(f"e{number}", f"k{self.rng.randrange(KEYS)}")
                value = json.dumps(event._asdict()).encode()
                future = await self._producer.send(f"{self.name}-events", value, key=event.key.encode())
                future.add_done_callback(lambda done, event=event: self._sent(event, done))
            due = max(due + 0.05, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _sent(self, event: Event, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None:
            self.events.append(event)

    # -- the end ---------------------------------------------------------------------------------------
    async def finish(self, wanted: int) -> Recount:
        """Let the control finish its work, shut it down cleanly, and recount its records."""
        await self.stop_load()
        until = time.monotonic() + SETTLE_SECONDS
        lag = 1
        while lag and time.monotonic() < until:
            self.attend(wanted)
            with suppress(KafkaError, OSError, TimeoutError):
                lag = await self.lag()
            await asyncio.sleep(0.5)
        for worker in self.workers:
            self.expect_end(worker)
            worker.terminate()
        for worker in self.started:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(worker.wait, 30)
        control = self.control
        changelog = control.changelog.format(name=self.name)
        if control.committed_only:
            for topic in (changelog, f"{self.name}-outputs"):
                await stable(self.servers, topic, TRANSACTION_SECONDS)
        rows = await read_all(self.servers, changelog, committed_only=control.committed_only)
        outputs = await read_all(self.servers, f"{self.name}-outputs", committed_only=control.committed_only)
        answered = [json.loads(record.value)["id"] for record in outputs]
        # A record that was never acknowledged may still be on the topic, so the topic decides.
        records = await read_all(self.servers, f"{self.name}-events", committed_only=False)
        events = [Event(**json.loads(record.value)) for record in records]
        return recount(events, last_values(rows, control.key_of), answered, lag)
