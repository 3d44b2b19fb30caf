"""A single record is fetched at once; under load, fetches are spaced; a worker's own writes are not fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP

from crl_stream.errors import Unsafe
from crl_stream.kafka.log_consumer import Stretch
from crl_stream.worker.recovery_progress import RecoveryWatch
from crl_stream.worker.transport import fetching
from crl_stream.worker.transport.fetching import GATHER_SECONDS, ConsumerThread, pace
from crl_stream.worker.transport.lanes import Lane
from crl_stream.worker.transport.scheme import SCHEME, register


class Clock:
    """A clock that moves only during a sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(fetching, "monotonic", lambda: self.now)
        monkeypatch.setattr(fetching.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds


def paced(clock: Clock | None = None) -> tuple[Any, list[tuple[int, float]]]:
    """Return a paced fetch, and the list in which its requests note their node and time."""
    sent: list[tuple[int, float]] = []

    async def send(assignment: Any, node: int, request: Any) -> bool:
        del assignment
        sent.append((node, clock.now if clock else 0.0))
        return bool(request == "records")

    fetcher = SimpleNamespace(_proc_fetch_request=send)
    pace(SimpleNamespace(_fetcher=fetcher))
    return fetcher._proc_fetch_request, sent


async def test_requests_to_a_broker_are_spaced_and_the_first_one_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    fetch, sent = paced(clock)
    assert await fetch(None, 1, "records")
    assert not await fetch(None, 1, "nothing")
    await fetch(None, 2, "records")
    assert sent == [(1, 100.0), (1, 100.0 + GATHER_SECONDS), (2, 100.0 + GATHER_SECONDS)]
    clock.now += 1.0
    await fetch(None, 1, "records")
    assert sent[-1] == (1, clock.now), "a request after a pause does not wait"


async def test_a_request_whose_partitions_are_taken_away_while_it_waits_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "GATHER_SECONDS", 3_600.0)
    fetch, sent = paced()
    await fetch(None, 1, "records")
    waiting = asyncio.create_task(fetch(None, 1, "records"))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await waiting is False, "aiokafka's own fetch also returns False when cancelled, and is awaited"
    assert len(sent) == 1


async def test_what_is_left_unread_is_asked_for_no_more_until_it_is_assigned_again() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    log, changelog = TopicPartition("log", 0), TopicPartition("changelog", 0)
    consumer.assign([log, changelog])
    thread: Any = object.__new__(ConsumerThread)
    thread._consumer, thread.app = consumer, SimpleNamespace(rebalancing_count=2, in_recovery=False)
    await thread.leave_unread({TP("changelog", 0)}, 1)
    assert not consumer.paused(), "a new recovery would wait for the changelog forever"
    await thread.leave_unread({TP("changelog", 0)}, 2)
    assert consumer.paused() == {changelog}
    await thread.leave_unread({TP("revoked", 0)}, 2)
    assert consumer.paused() == {changelog}
    consumer._closed = True  # otherwise aiokafka warns about an unclosed consumer


async def test_a_commit_of_what_is_assigned_no_more_is_none_and_ends_no_worker() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    consumer.assign([TopicPartition("log", 0)])
    thread: Any = object.__new__(ConsumerThread)
    thread._consumer = consumer
    assert await thread._commit({TP("log", 1): 7}) is False
    consumer._closed = True  # otherwise aiokafka warns about an unclosed consumer


@pytest.fixture
async def consumer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Yield a consumer with one partition of the log and of its changelog, assigned in the first rebalance."""
    register()
    app: Any = faust.App("a", broker=f"{SCHEME}://127.0.0.1:1", store="memory://")
    consumer = app.consumer
    log, changelog = TP("log", 0), TP("changelog", 0)

    async def offsets(*_: Any) -> dict[TP, int]:
        return {log: 0}

    async def nothing(*_: Any) -> None:
        """Do nothing: this test needs neither a seek nor a check."""

    for name in ("earliest_offsets", "highwaters"):
        monkeypatch.setattr(consumer, name, offsets)
    for name in ("seek_wait", "_check_changelogs"):
        monkeypatch.setattr(consumer, name, nothing)
    monkeypatch.setattr(driver.Consumer, "seek_to_committed", offsets)
    monkeypatch.setattr(consumer, "assignment", lambda: {log, changelog})
    monkeypatch.setattr(app, "_fetcher", SimpleNamespace(_drainer=None))
    recovery = SimpleNamespace(signal_recovery_start=asyncio.Event())
    monkeypatch.setattr(app, "tables", SimpleNamespace(changelog_topics={"changelog"}, recovery=recovery))
    consumer._assigned_in = app.rebalancing_count = 1
    loop = consumer._thread.thread_loop
    yield consumer
    for lane in consumer.lanes.values():
        lane.driver.cancel()
    loop.close()


@pytest.mark.parametrize("state", ["moving", "to be recovered", "in recovery", "settled"])
async def test_no_position_is_asked_for_while_rows_may_be_missing(consumer: Any, state: str) -> None:
    asked: list[bool] = []

    async def position(*_: Any) -> int:
        asked.append(True)
        return 7

    async def call_thread(*_: Any) -> None:
        """Do nothing: every partition is read."""

    app = consumer.app
    consumer.transport.stages["log"] = SimpleNamespace(position=position, interruptible=False)
    consumer._thread = SimpleNamespace(call_thread=call_thread, leave_unread=None)
    if state == "moving":
        app.rebalancing_count += 1
    elif state == "to be recovered":
        app.tables.recovery.signal_recovery_start.set()
    app.in_recovery = state == "in recovery"
    await consumer.seek_to_committed()
    assert bool(asked) is bool(consumer.lanes) is (state == "settled")


@pytest.mark.parametrize("step", ["position", "leave_unread"])
async def test_what_a_rebalance_has_overtaken_opens_no_lane_and_leaves_nothing_unread_that_the_next_recovery_reads(
    consumer: Any, step: str
) -> None:
    unread: list[int] = []

    def rebalance(at: str) -> None:
        if at == step:
            consumer.app.rebalancing_count += 1
            consumer._assigned_in = consumer.app.rebalancing_count

    async def position(*_: Any) -> int:
        rebalance("position")
        return 0

    async def call_thread(_function: Any, _partitions: Any, assigned_in: int) -> None:
        unread.append(assigned_in)
        rebalance("leave_unread")

    consumer.transport.stages["log"] = SimpleNamespace(position=position, interruptible=False)
    consumer._thread = SimpleNamespace(call_thread=call_thread, leave_unread=None)
    await consumer.seek_to_committed()
    assert consumer.lanes == {}
    assert unread == ([] if step == "position" else [1]), "the seek refers to its own assignment, not to a later one"


@pytest.mark.parametrize("flow", [True, False], ids=["in-a-recovery", "before-one-goes-on"])
async def test_records_of_a_changelog_that_nobody_takes_are_polled_again(
    consumer: Any, monkeypatch: pytest.MonkeyPatch, flow: bool
) -> None:
    """A poll may outlast a rebalance; Faust discards the records that such a poll returns before the flow resumes."""
    changelog, sought = TP("changelog", 0), dict[TP, int]()
    polled = {changelog: Stretch(4, [SimpleNamespace(offset=offset) for offset in (4, 5)], 6)}

    async def getmany(*_: Any, **__: Any) -> Any:
        return polled

    async def seek_wait(places: dict[TP, int]) -> None:
        sought.update(places)

    consumer._thread = SimpleNamespace(getmany=getmany)
    monkeypatch.setattr(consumer, "seek_wait", seek_wait)
    consumer.app.rebalancing, consumer.flow_active = True, flow
    result = await consumer._getmany({changelog}, 1.0)
    assert (set(result), sought) == (({changelog}, {}) if flow else (set(), {changelog: 4}))


@pytest.mark.parametrize(("whole", "unsafe"), [(7, False), (6, False), (9, True)])
async def test_a_changelog_with_an_open_transaction_is_named_and_not_recovered_from(
    monkeypatch: pytest.MonkeyPatch, whole: int, unsafe: bool
) -> None:
    """Rows after the start of the transaction are hidden, so older ones would be taken for the newest."""
    register()
    app: Any = faust.App("a", broker=f"{SCHEME}://127.0.0.1:1", store="memory://")
    consumer, log, changelog = app.consumer, TP("log", 0), TP("changelog", 0)
    monkeypatch.setattr(app, "tables", SimpleNamespace(changelog_topics={"changelog"}))
    loop = consumer._thread.thread_loop

    async def call_thread(_function: Any, partitions: list[TP]) -> dict[TP, int]:
        return dict.fromkeys(partitions, whole)

    async def highwaters(*partitions: TP) -> dict[TP, int]:
        return dict.fromkeys(partitions, 7)

    def leave(exc: BaseException) -> None:
        raise exc

    consumer._thread = SimpleNamespace(call_thread=call_thread, whole_ends=None, highwaters=highwaters)
    monkeypatch.setattr(consumer, "leave", leave)
    if unsafe:
        with pytest.raises(Unsafe, match="changelog partition 0 has an open transaction from offset 7 on"):
            await consumer.highwaters(log, changelog)
    else:
        assert await consumer.highwaters(log, changelog) == {log: 7, changelog: 7}
    loop.close()


async def test_what_was_polled_for_an_assignment_that_has_ended_is_polled_again_wherever_it_begins(
    consumer: Any,
) -> None:
    log, again = TP("log", 0), dict[TP, int]()
    old, new = Lane(log, 3), Lane(log, 3)
    new.driver = asyncio.create_task(asyncio.sleep(0))
    consumer.lanes[log] = new
    assert consumer._admit(log, Stretch(3, ["a"], 4), {log: old}, again) is None
    assert (again, new.expected) == ({log: 3}, 3)
    batch = consumer._admit(log, Stretch(3, ["a"], 4), {log: new}, {})
    assert (batch.records, new.expected) == (["a"], 4)


def test_a_recovery_that_stands_still_ends_its_worker_and_one_that_reads_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, missing = [0.0], [True]
    monkeypatch.setattr("crl_stream.worker.recovery_progress.monotonic", lambda: clock[0])
    recovery = SimpleNamespace(need_recovery=lambda: missing[0])
    app, watch = SimpleNamespace(in_recovery=True, tables=SimpleNamespace(recovery=recovery)), RecoveryWatch()
    for clock[0] in (0.0, 50.0):
        watch.check(app)
    watch.progress()
    for clock[0] in (60.0, 119.0):
        watch.check(app)
    missing[0] = False
    for clock[0] in (130.0, 900.0):
        watch.check(app)
    missing[0] = True
    for clock[0] in (901.0, 960.0):
        watch.check(app)
    clock[0] = 962.0
    with pytest.raises(Unsafe, match="no records for 60 s"):
        watch.check(app)
