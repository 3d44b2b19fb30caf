"""A batch may be folded and written part by part; the result is the same wherever the parts end."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_command, an_invocation, invocations
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.stages import fleet
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.entries import command_positions, decode_batch
from crl_stream.stages.fleet import SHOWN_AT_ONCE
from crl_stream.stages.fold import Folded
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import decode_partition, partition_key
from crl_stream.stages.waiting import Waiting, fleet_of
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, DECISIONS, INVOCATIONS, TASKS
from stages.oracle import assert_exact, refold
from stages.test_exactness import elements
from stages.test_fleet import fleet_orders

HOUR = 3_600_000
TICK = m.Tick(schema_version=1)
MANY = [f"task-{number}" for number in range(60)]


class Owner:
    """Folds the log of a driver as a worker does: with an index, in parts of about ``most`` outputs."""

    def __init__(self, driver: TopologyDriver, most: int) -> None:
        self.driver, self.most = driver, most
        self.rows: dict[bytes, bytes] = {}
        self.waiting = Waiting()
        self.parts: list[list[Output]] = []

    def fold(self, size: int) -> None:
        """Fold the whole log in batches of ``size`` records."""
        log = self.driver.topics[INVOCATIONS][0]
        for start in range(0, len(log), size):
            rest = log[start : start + size]
            while rest:
                folded = self._part(rest)
                rest = [] if folded.finished else [record for record in rest if record.offset >= folded.next_offset]

    def _part(self, records: list[Any]) -> Folded:
        entries = decode_batch(records)
        commands = {place: self.driver._command(*place) for place in command_positions(entries)}
        before, key = self.rows.get(partition_key(0)), partition_key(0)
        folded = fold_batch(0, 1, before, self.rows, entries, commands, self.waiting, self.most)
        assert folded.finished or folded.outputs, "each part makes progress"
        self.rows |= folded.rows | {key: folded.partition_row}
        if self.waiting.fleet == fleet_of(decode_partition(folded.partition_row)):
            self.waiting.settle(folded.wakes, folded.born)
        else:
            self.waiting = Waiting.of(self.rows)
        again = Waiting.of(self.rows)
        assert (self.waiting.wakes, self.waiting.tasks, self.waiting.unread) == (again.wakes, again.tasks, again.unread)
        self.parts.append(folded.outputs)
        return folded

    def assert_same(self) -> None:
        """Check that rows and outputs equal those of a single fold of the whole log."""
        [whole], outputs = refold(self.driver)
        assert self.rows == whole
        assert sorted(_as_tuple(output) for part in self.parts for output in part) == sorted(map(_as_tuple, outputs))


def _as_tuple(output: Output) -> tuple[str, bytes, bytes]:
    return output.topic, output.key or b"", output.value or b""


@settings(max_examples=150, deadline=None)
@given(
    st.lists(elements | st.lists(fleet_orders, max_size=3) | st.just([TICK]), max_size=12),
    st.sampled_from([10, 700, 2_000, 30_000]),
    st.sampled_from([0, 2, SHOWN_AT_ONCE]),
    st.integers(1, 9),
    st.integers(1, 40),
)
def test_parts_of_any_size_come_to_the_same_bytes(
    groups: list[list[Any]], pace: int, at_once: int, most: int, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet, "SHOWN_AT_ONCE", at_once)
        driver = TopologyDriver(tick=pace)
        for item in [item for group in groups for item in (*group, TICK)]:
            driver._put(item)
        owner = Owner(driver, most)
        owner.fold(size)
        owner.assert_same()


@pytest.mark.parametrize("until", [None, 500])
def test_a_tick_that_was_sent_before_a_hold_takes_a_bounded_part_of_a_large_fleet(
    monkeypatch: pytest.MonkeyPatch, until: int | None
) -> None:
    """The tick follows the hold in the log, so every task is due, and the tick itself sets no limit."""
    monkeypatch.setattr(fleet, "SHOWN_AT_ONCE", 5)
    driver = TopologyDriver(tick=1)
    tick = m.Tick(schema_version=1, up_to_ms=until)
    for element in (*[an_invocation(task_type=name) for name in MANY], a_command(m.HoldAll, actor="ada"), tick, tick):
        driver._put(element)
    owner = Owner(driver, 10)
    owner.fold(2_000)
    owner.assert_same()
    assert max(map(len, owner.parts)) <= 10 + 4, "the outputs for one task are never split"
    told = [output for part in owner.parts for output in part if b'"fleet_held":{' in (output.value or b"")]
    assert len([output for output in told if output.topic == TASKS]) >= (len(MANY) if until is None else 10)


def test_a_hold_that_a_tick_finds_expired_is_shown_as_over_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SHOWN_AT_ONCE", 5)
    driver = TopologyDriver(tick=1)
    for element in (*[an_invocation(task_type=name) for name in MANY], a_command(m.HoldAll, hours=1), TICK):
        driver._put(element)
    driver.clock += HOUR
    for element in (TICK, *invocations("default", "SSS")):
        driver._put(element)
    owner = Owner(driver, 10)
    owner.fold(2_000)
    owner.assert_same()
    assert max(map(len, owner.parts)) <= 10 + 4
    alerts = [output for part in owner.parts for output in part if output.topic == ALERTS]
    assert sum(b"fleet_hold" in (output.value or b"") for output in alerts) == 2, (
        "there is one tick for the beginning of the hold and one for its end"
    )


def test_a_burst_of_new_tasks_is_published_in_parts() -> None:
    driver = TopologyDriver(tick=1)
    for name in MANY:
        driver._put(an_invocation(task_type=name))
    owner = Owner(driver, 10)
    owner.fold(2_000)
    owner.assert_same()
    assert max(map(len, owner.parts)) <= 10 + 4
    assert sum(output.topic == ACTIVE_VARIANTS for part in owner.parts for output in part) == len(MANY)


def test_many_orders_in_one_batch_are_answered_in_parts() -> None:
    driver = TopologyDriver(tick=1)
    for element in (*[an_invocation(task_type=name) for name in MANY], *[a_command(m.HoldAll)] * 20):
        driver._put(element)
    owner = Owner(driver, 10)
    owner.fold(2_000)
    owner.assert_same()
    most = 2 * len(MANY) + 10 + 2
    assert max(map(len, owner.parts)) <= most, "one command per part"
    assert sum(output.topic == DECISIONS for part in owner.parts for output in part) >= 20


def test_an_order_that_is_met_again_after_a_crash_is_shown_as_it_was_the_first_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the crash, one of six rows is ahead; the other five alone would be few enough to publish at once."""
    from crl_stream.stages.driver import Crash

    monkeypatch.setattr(fleet, "SHOWN_AT_ONCE", 5)
    driver = TopologyDriver(tick=1)
    driver.pipe(*[an_invocation(task_type=name) for name in MANY[:6]])
    driver.pipe(a_command(m.HoldAll), an_invocation(task_type=MANY[0]), Crash.AFTER_SOME_ROWS)
    assert_exact(driver)


@settings(max_examples=60, deadline=None)
@given(st.lists(elements, min_size=1, max_size=3), st.integers(0, 100))
def test_the_index_counts_as_many_tasks_as_an_order_would_reach(batches: list[list[Any]], cut: int) -> None:
    """The counts agree even if a crash has left rows ahead of the partition row."""
    driver = TopologyDriver(tick=1)
    for items in batches:
        driver.pipe(*items)
    log, ahead = driver.topics[INVOCATIONS][0], dict(driver.changelog[0])
    first = min(cut, len(log))
    owner = Owner(driver, 1 << 30)
    entries = decode_batch(log[:first])
    commands = {place: driver._command(*place) for place in command_positions(entries)}
    folded = fold_batch(0, 1, None, {}, entries, commands)
    ahead[partition_key(0)] = folded.partition_row
    assert Waiting.of(ahead).tasks == len(folded.rows)
    owner.rows, owner.waiting = ahead, Waiting.of(ahead)
    owner.fold(7)
    assert owner.waiting.tasks == len(driver.rows())
