"""A stage writes a batch in parts, and lets other asyncio tasks run in between."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from builders import a_command, an_invocation
from stages.oracle import refold

from crl_stream.core import messages as m
from crl_stream.stages import fleet
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, INVOCATIONS, TASKS, Topics
from crl_stream.worker.counters import Counters
from crl_stream.worker.monitor_stages import MonitorStage
from crl_stream.worker.stores import MemoryRows

MANY = [f"task-{number}" for number in range(60)]


class Outlet:
    """Accepts a stage's writes, and notes how many were made between two pauses."""

    def __init__(self) -> None:
        self.topics, self.counters = Topics(), Counters()
        self.app = self.consumer = self
        self.written: list[Any] = []
        self.parts: list[int] = []
        self.pauses = 0
        self.on_pause: Any = None

    def check_pulse(self) -> None:
        """Do nothing: the process is alive."""

    async def pause(self) -> None:
        self.pauses += 1
        if self.on_pause is not None:
            self.on_pause()

    async def publish(self, outputs: Any) -> dict[Any, Any]:
        self.written += outputs
        self.parts.append(len(outputs))
        return {}


class Table:
    """The rows of one partition, written immediately."""

    width = 1

    def __init__(self) -> None:
        self.store = MemoryRows()
        self.store.open(0)

    def rows(self, partition: int) -> Any:
        return self.store.rows(partition)

    def partition_row(self, partition: int) -> bytes | None:
        return self.rows(partition).get(partition_key(partition))

    def check_open(self, partition: int) -> None:
        """Do nothing: the partition is open."""

    async def write(self, partition: int, rows: Any, row: bytes, headers: Any) -> None:
        self.store.write(partition, rows | {partition_key(partition): row}, None, frozenset())  # type: ignore[arg-type]


class Commands:
    """Reads the commands that a batch refers to."""

    def __init__(self, driver: TopologyDriver) -> None:
        self.driver = driver

    async def read(self, topic: str, places: Any) -> dict[Any, Any]:
        assert topic == COMMANDS
        return {(p, o): self.driver.topics[COMMANDS][p][o] for p, o in places}


def a_stage(driver: TopologyDriver, at_once: int = 10) -> tuple[MonitorStage, Outlet]:
    outlet = Outlet()
    stage = MonitorStage(Table(), outlet, Commands(driver))  # type: ignore[arg-type]
    stage.at_once = at_once
    stage.stale_writes.note = _nothing  # type: ignore[method-assign]
    return stage, outlet


async def _nothing(*_: Any) -> None:
    """Do nothing: there is no other writer."""


def a_batch(driver: TopologyDriver, start: int = 0) -> Any:
    records = driver.topics[INVOCATIONS][0][start:]
    place = SimpleNamespace(partition=0, topic=INVOCATIONS)
    end = start + len(records)
    return SimpleNamespace(tp=place, records=records, start=start, end=end, is_unwanted=False)


def a_held_fleet() -> TopologyDriver:
    driver = TopologyDriver(tick=1)
    for element in (
        *[an_invocation(task_type=name) for name in MANY],
        a_command(m.HoldAll, actor="ada"),
        m.Tick(schema_version=1),
    ):
        driver._put(element)
    return driver


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SHOWN_AT_ONCE", 5)


async def test_between_parts_of_a_hold_of_a_large_fleet_everything_else_goes_on() -> None:
    driver = a_held_fleet()
    stage, outlet = a_stage(driver)
    await stage.position(0, None, 0, len(driver.topics[INVOCATIONS][0]))
    turns, done = 0, asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    outlet.pause = _a_real_pause  # type: ignore[method-assign]
    task = asyncio.create_task(others())
    await stage.work(a_batch(driver))
    done.set()
    await task
    assert max(outlet.parts) <= 10 + 4
    assert turns >= len(outlet.parts) - 1, "other tasks got a turn after each part"
    [whole], outputs = refold(driver)
    assert dict(stage.table.rows(0)) == whole
    assert sorted((o.topic, o.value) for o in outlet.written) == sorted((o.topic, o.value) for o in outputs)
    held = [o for o in outlet.written if o.topic in {TASKS, ACTIVE_VARIANTS} and b'"fleet_held":{' in o.value]
    assert len(held) == 2 * len(MANY)


async def _a_real_pause() -> None:
    await asyncio.sleep(0)


async def test_a_batch_whose_partition_goes_elsewhere_ends_with_the_part_that_is_written() -> None:
    driver = a_held_fleet()
    stage, outlet = a_stage(driver)
    batch = a_batch(driver)
    await stage.position(0, None, 0, batch.end)

    def leave() -> None:
        batch.is_unwanted = True

    outlet.on_pause = leave
    await stage.work(batch)
    assert len(outlet.parts) == 1
    state = decode_partition(stage.table.partition_row(0))
    assert batch.end == state.next_offset < len(batch.records), "only the written part is committed"
    again, rest = a_stage(driver)
    again.table = stage.table
    following = a_batch(driver, state.next_offset)
    await again._index(0)
    await again.work(following)
    [whole], outputs = refold(driver)
    assert dict(stage.table.rows(0)) == whole
    assert len(outlet.written) + len(rest.written) == len(outputs)
