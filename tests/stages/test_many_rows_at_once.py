"""However many rows are due at the same time, each tick handles a limited number of them, and the result is exact."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from builders import AGENT, a_collapse, a_command, an_invocation
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.stages import fleet, monitor
from crl_stream.stages.driver import Crash, TopologyDriver
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, INVOCATIONS, ROLLBACKS, TASKS, TICK_KEY
from stages.oracle import assert_exact
from stages.test_exactness import elements

HOUR = 3_600_000
NAMES = [f"task-{number}" for number in range(60)]


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SHOWN_AT_ONCE", 5)


def snapshots_of_each_record(driver: TopologyDriver) -> Counter[int]:
    return Counter(snapshot.as_of.offset for snapshot in driver.read(TASKS))


def held(driver: TopologyDriver) -> dict[str, bool]:
    return {active.task_type: active.fleet_held is not None for active in driver.read(ACTIVE_VARIANTS)}


def test_a_burst_over_many_tasks_is_published_by_several_ticks_of_a_bounded_size() -> None:
    driver = TopologyDriver(tick=1, rows_per_tick=10)
    driver.pipe(*[an_invocation(task_type=name) for name in NAMES for _ in range(3)])
    before = len(driver.read(TASKS))
    driver.fall_silent(3_000)
    of_ticks = snapshots_of_each_record(driver)
    ticks = [record.offset for record in driver.records(INVOCATIONS) if record.key == TICK_KEY]
    assert sum(of_ticks[offset] for offset in ticks) == len(driver.read(TASKS)) - before == len(NAMES)
    assert max(of_ticks[offset] for offset in ticks) <= 12, "ten rows, plus others that are due in the same millisecond"
    assert_exact(driver)


@pytest.mark.usefixtures("_small_parts")
def test_a_hold_of_a_large_fleet_is_in_force_at_once_and_shown_part_by_part() -> None:
    driver = TopologyDriver(tick=1, rows_per_tick=10)
    driver.pipe(*[an_invocation(task_type=name) for name in NAMES], *a_collapse()[:-12])
    order = driver.pipe(a_command(m.HoldAll, actor="ada", reason="incident 42"))
    assert sum(output.topic == ACTIVE_VARIANTS for output in order) == 0
    driver.pipe(*a_collapse()[-12:])
    assert driver.read(ROLLBACKS) == []
    driver.fall_silent(1_000)
    assert all(held(driver).values())
    assert len(held(driver)) == len(NAMES) + 1
    driver.pipe(a_command(m.ResumeAll, actor="ada"))
    driver.fall_silent(1_000)
    assert not any(held(driver).values())
    assert_exact(driver)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("tasks", [4, 60])
def test_a_hold_of_the_fleet_that_expires_in_silence_is_shown_as_over_without_an_outcome(tasks: int) -> None:
    driver = TopologyDriver(tick=1, rows_per_tick=10)
    driver.pipe(*[an_invocation(task_type=name) for name in NAMES[:tasks]], a_command(m.HoldAll, hours=1))
    driver.fall_silent(HOUR - 1_000)
    assert all(held(driver).values())
    driver.fall_silent(5_000)
    assert not any(held(driver).values())
    assert [alert.resolved for alert in driver.read(ALERTS) if alert.kind == "fleet_hold"] == [False, True]
    assert_exact(driver)


@settings(max_examples=80, deadline=None)
@given(st.lists(elements, min_size=1, max_size=4), st.lists(st.sampled_from(Crash), min_size=4, max_size=4), st.data())
def test_parts_are_exact_under_crashes_and_replays(
    batches: list[list[Any]], crashes: list[Crash], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet, "SHOWN_AT_ONCE", 0)
        driver = TopologyDriver(partitions=2, tick=data.draw(st.sampled_from([10, 700, 2_000])), rows_per_tick=1)
        for items, crash in zip(batches, crashes, strict=False):
            until = data.draw(st.none() | st.integers(0, fleet_times))
            driver.pipe(*items, m.Tick(schema_version=1, up_to_ms=until), crash)
            if data.draw(st.booleans()):
                driver.fall_silent(data.draw(st.sampled_from([500, 5_000, 100_000])))
        assert_exact(driver)


fleet_times = 1_100
"""The highest ``up_to_ms`` drawn, beyond the last group of the fleet; lower values limit a tick to some of the rows."""


def test_a_row_that_makes_the_engine_raise_at_a_tick_stops_neither_the_others_nor_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(*[an_invocation(task_type=name) for name in NAMES[:5] for _ in range(3)])
    whole = monitor.pass_time

    def pass_time(row: Any, *rest: Any) -> Any:
        if row.task_type == NAMES[3]:
            row.n = -1  # half changed
            raise RuntimeError("damaged")
        return whole(row, *rest)

    monkeypatch.setattr(monitor, "pass_time", pass_time)
    driver.fall_silent(60_000)
    assert {s.task_type: s.n_outcomes for s in driver.read(TASKS)} == {
        name: 2 if name == NAMES[3] else 3 for name in NAMES[:5]
    }
    [alert] = driver.read(ALERTS)
    assert (alert.kind, alert.subject) == ("fold_failure", f"{AGENT}/{NAMES[3]}")
    assert driver.snapshot(AGENT, NAMES[3]).n_outcomes == 3
    monkeypatch.setattr(monitor, "pass_time", whole)
    driver.pipe(*[an_invocation(task_type=NAMES[3]) for _ in range(2)])
    assert driver.read(TASKS)[-1].n_outcomes == 5
