"""A dashboard whose monitor is the real engine in memory: orders are applied or refused by it, and its facts appear."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from dashboard.served import some_settings
from explaining.told import explained, found_in
from yarl import URL

from browser.fleets import NOW, Teller, heard, page_of, tell
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import TOPICS
from crl_stream.dashboard.web import access, answers, hub, routes, stream
from crl_stream.dashboard.web.hub import Hub
from crl_stream.dashboard.web.orders import Ordered
from crl_stream.dashboard.web.routes import BASE
from crl_stream.dashboard.web.server import make_dashboard
from crl_stream.errors import NotFound
from crl_stream.explaining.documents import Explanation
from crl_stream.explaining.why_not import WhyNot, why_not
from crl_stream.kafka.fleet_records import Batch
from crl_stream.kafka.partition_rows import TaskState
from crl_stream.kafka.reader import Received
from crl_stream.stages.driver import Stored, TopologyDriver
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.wire.codec import decode
from crl_stream.wire.topics import OVERVIEW
from crl_stream.worker.views.gate import make_gate

ACTOR = "ada"


class EngineHub(Hub):
    """A hub that hears an engine in memory instead of Kafka."""

    def __init__(self, kafka: Any, driver: TopologyDriver | None) -> None:
        super().__init__(kafka)
        self.driver, self._read = driver, dict[tuple[str, int], int]()
        self.trouble = ""
        self._caught_up.set()
        self._settled.set()
        if driver is not None:
            self.fleet = heard(driver)
            self._mark()

    @property
    def live(self) -> bool:
        """Whether nothing is wrong."""
        return not self.trouble

    async def view(self) -> bool:
        """Return at once."""
        return True

    def hear_engine(self) -> None:
        """Hear what the engine has written since the last time, and the page that follows from it."""
        assert self.driver is not None
        found = [
            received(topic, record)
            for topic in TOPICS
            for partition, log in enumerate(self.driver.topics[topic])
            for record in log[self._read.get((topic, partition), 0) :]
        ]
        self._mark()
        before = self.fleet.overview
        page = page_of(self.driver)._replace(timestamp=self.driver.clock)
        told = received(OVERVIEW, page)
        if before is None or told.message != before:
            found.append(told)
        self._hear(Batch(found, caught_up=True, silent=0.0))

    def lose(self, trouble: str) -> None:
        self._lose(trouble)

    def find(self) -> None:
        self._find_again()

    def _mark(self) -> None:
        assert self.driver is not None
        for topic in TOPICS:
            for partition, log in enumerate(self.driver.topics[topic]):
                self._read[topic, partition] = len(log)


def received(topic: str, record: Stored) -> Received:
    decoded = decode(topic, record.value, record.key)  # type: ignore[arg-type]
    return Received(topic, record, getattr(decoded, "message", None))  # type: ignore[arg-type]


class Served:
    """A dashboard that answers at ``url``, and the engine behind it."""

    def __init__(self, url: str, dashboard: Any, teller: Teller | None) -> None:
        self.url, self.dashboard, self.teller = url, dashboard, teller
        self.orders: list[Any] = []

    @property
    def hub(self) -> EngineHub:
        found: EngineHub = self.dashboard.hub
        return found

    def link(self) -> str:
        return f"{self.url}{BASE}/enter?token={self.dashboard.doors.mint(ACTOR, hub.now_ms())}"

    def tell(self, story: Callable[[Teller], None]) -> None:
        """Let something happen, and the dashboard hear of it."""
        assert self.teller is not None
        story(self.teller)
        self.teller.flush()
        self.hub.hear_engine()

    async def why_not(self, _settings: Any, _kafka: Any, key: TaskKey, now: int, variant: str | None) -> WhyNot:
        """Answer from the rows of the engine, as ``read_why_not`` does from the changelog."""
        assert self.teller is not None
        for partition, rows in enumerate(self.teller.driver.changelog):
            if key.encode() in rows:
                return why_not(
                    key, TaskState(partition, rows[key.encode()], rows[partition_key(partition)], 0), now, variant
                )
        raise NotFound(f"Nothing is known of {key}.")

    async def explanation(self, _settings: Any, _kafka: Any, wanted: str) -> Explanation:
        """Answer from the topics of the engine, as ``read_explanation`` does."""
        assert self.teller is not None
        driver = self.teller.driver
        fact = found_in(driver, wanted).message
        row = decode_partition(driver.changelog[0][partition_key(0)])
        return explained(
            driver,
            wanted,
            row.policies.for_task(TaskKey(fact.agent_name, fact.task_type)),
            template="https://traces.example.com/{trace_id}",
            key=TaskKey(fact.agent_name, fact.task_type),
        )

    async def policy(self, _kafka: Any, digest: str, _time: int) -> Any:
        """Return the command that set the policy of the engine, as far as a page needs it."""
        assert self.teller is not None
        row = decode_partition(self.teller.driver.changelog[0][partition_key(0)])
        return SimpleNamespace(command=SimpleNamespace(policy=row.policies)) if row.policy_hash == digest else None

    async def carry_out(self, _kafka: Any, command: Any) -> Ordered:
        """Give a command to the engine and return its answer, as ``web.commands.carry_out`` does with Kafka."""
        assert self.teller is not None
        driver = self.teller.driver
        self.orders.append(command)
        driver.pipe(command)
        driver.fall_silent(2_000)
        [result, *_] = [
            fact
            for fact in driver.read("crl.decisions")
            if isinstance(fact, m.CommandResult) and fact.command_id == command.command_id
        ]
        self.hub.hear_engine()
        return Ordered(outcome=result.outcome, detail=result.detail, result=result)


@asynccontextmanager
async def serving(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int | None = 120, **flags: Any
) -> AsyncIterator[Served]:
    """Serve a fleet of this many tasks with a story; with None, an empty one. The clock is that of the story."""
    settings = some_settings(folder, **flags)
    dashboard = make_dashboard(settings, "127.0.0.1")
    teller = None if number is None else Teller()
    if teller is not None and number is not None:
        tell(teller, number)
    dashboard.hub = EngineHub(settings.kafka, None if teller is None else teller.driver)
    clock = (lambda: NOW) if teller is None else (lambda: max(NOW, teller.driver.clock))
    for module in (routes, stream, hub, access):
        monkeypatch.setattr(module, "now_ms", clock)
    app = web.Application(middlewares=[make_gate("127.0.0.1", URL("http://127.0.0.1"), "")])
    dashboard.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served = Served(f"http://127.0.0.1:{runner.addresses[0][1]}", dashboard, teller)
    monkeypatch.setattr(routes, "carry_out", served.carry_out)
    monkeypatch.setattr(routes, "find_policy", served.policy)
    monkeypatch.setattr(routes, "read_why_not", served.why_not)
    monkeypatch.setattr(routes, "read_explanation", served.explanation)
    try:
        yield served
    finally:
        await runner.cleanup()


assert answers.HEADERS["Content-Security-Policy"], "the pages are tested under the policy that they are served with"
