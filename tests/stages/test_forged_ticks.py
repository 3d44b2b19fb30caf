"""Forged ticks and wrong clocks do no harm."""

from __future__ import annotations

import pytest
from builders import AGENT, TASK, an_invocation, invocations

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import row_marks
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS, TASKS
from stages.oracle import assert_exact

KEY = TaskKey(AGENT, TASK).encode()
TICK = m.Tick(schema_version=1)
HOUR = 3_600_000

STRANGE = [
    (encode(TICK), b"!tick"),
    (b'{"type":"tick","schema_version":1,"now":99999999999999,"agent_name":"a"}', b"!tick"),
    (b'{"schema_version":1,"type":"tick","rows":["a/b"],"until":"9999-12-31T23:59:59Z"}', b"!tick"),
    (encode(TICK), KEY),
    (encode(TICK), None),
    (b'{"type":"tick","schema_version":2}', b"!tick"),
    (b'{"type":"tick"}', b"!tick"),
    (b'{"type":"tick","type":"tick","schema_version":1}', b"!tick"),
    (b'{"type":"Tick","schema_version":1}', b"!tick"),
    (b"", b"!tick"),
    (None, b"!tick"),
]


@pytest.mark.parametrize(("value", "key"), STRANGE, ids=[str(n) for n in range(len(STRANGE))])
def test_a_tick_of_a_stranger_is_a_tick_or_a_dead_letter_and_changes_nothing_else(
    value: bytes | None, key: bytes | None
) -> None:
    driver = TopologyDriver()
    driver.pipe(*invocations("default", "S" * 20))
    driver.fall_silent()
    before, told = driver.rows(), len(driver.read(TASKS))
    driver.append(
        INVOCATIONS, value, key, headers=(("crl-origin-partition", b"0"), ("crl-origin-offset", b"3")), timestamp=None
    )
    driver.pipe()
    counts = driver.counts[-1]
    assert counts.ticks + counts.dead_letters == 1
    assert (driver.rows(), len(driver.read(TASKS))) == (before, told)
    assert len(list(driver.records(DEAD_LETTERS))) == counts.dead_letters
    assert_exact(driver)


def test_a_flood_of_forged_ticks_publishes_each_unpublished_row_once() -> None:
    driver = TopologyDriver(partitions=2)
    tasks = [f"task-{number}" for number in range(40)]
    driver.pipe(*[an_invocation(task_type=task) for task in tasks for _ in range(3)])
    before = len(driver.read(TASKS))
    driver.clock += 5_000
    driver.pipe(*[TICK] * 500)
    assert len(driver.read(TASKS)) - before == len(tasks)
    assert all(row_marks(data).wake == 0 for data in driver.rows().values())


def test_a_tick_touches_the_rows_of_its_own_partition_only() -> None:
    driver = TopologyDriver(partitions=2, tick=1)
    driver.pipe(*[an_invocation(task_type=f"t{number}") for number in range(20) for _ in range(3)])
    driver.clock += 5_000
    driver._tick(1)
    driver.pipe()
    for key, data in driver.rows().items():
        assert (row_marks(data).wake == 0) == (partition_of(key, 2) == 1)


def test_a_broker_whose_clock_goes_back_stops_nothing() -> None:
    driver = TopologyDriver(tick=1)
    driver.pipe(*invocations("default", "S" * 3))
    driver.clock -= HOUR
    driver.pipe(TICK, *invocations("default", "S" * 3), TICK)
    driver.fall_silent(HOUR + 2_000)
    assert driver.read(TASKS)[-1] == driver.snapshot(AGENT, TASK)
    assert_exact(driver)
