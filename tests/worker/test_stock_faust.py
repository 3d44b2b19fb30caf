"""The behaviour of stock Faust that makes the transport necessary.

If a test fails, Faust has fixed the problem, and the override named in the test can be removed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.app.base import App
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP

HERE = TP("topic", 0)


@pytest.fixture
async def app() -> AsyncIterator[Any]:
    made: Any = faust.App("stock", broker="kafka://127.0.0.1:9", store="memory://", web_enabled=False)
    yield made
    made.consumer._thread.thread_loop.close()


async def test_acknowledgements_are_forgotten_before_a_revoke_could_commit_them(app: Any) -> None:
    """The reason why ``Consumer.on_partitions_revoked`` commits offsets first and forgets them afterwards."""
    consumer, seen = app.consumer, []

    async def revoked(_: Any) -> None:
        seen.append(HERE in consumer._acked)

    consumer._on_partitions_revoked = revoked
    consumer._acked[HERE] = [1, 2, 3]
    await driver.Consumer.on_partitions_revoked(consumer, {HERE})
    assert seen == [False]


async def test_a_flush_of_the_producer_gives_up_with_messages_left(app: Any) -> None:
    """The reason why ``Producer.flush`` exists."""
    buffer = app.producer.buffer
    buffer._started.set()
    for number in range(4):
        buffer.pending.put_nowait(number)
    await buffer.flush()
    assert buffer.size == 4


async def test_a_send_that_fails_is_a_line_in_the_log(app: Any) -> None:
    """The reason why ``Producer.write`` is awaited and raises."""
    failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    failed.set_exception(ConnectionError("the broker is gone"))
    told: list[BaseException] = []
    topic = app.topic("topic")
    message: Any = SimpleNamespace(set_exception=told.append, message=SimpleNamespace(channel=topic))
    topic._on_published(failed, message, app.producer, None)
    assert [type(error) for error in told] == [ConnectionError], "nothing was raised"


async def test_an_offset_in_flight_is_committed_when_the_ones_behind_it_are_done(app: Any) -> None:
    """The reason why lanes commit only finished batches, in order."""
    consumer = app.consumer
    consumer._committed_offset[HERE], consumer._acked[HERE] = 2585, [2586, 2587, 2588, 2589]
    assert consumer._new_offset(HERE) == 2590
    consumer._committed_offset[HERE], consumer._acked[HERE] = None, [7, 8]
    assert consumer._new_offset(HERE) == 9


async def test_a_task_that_fails_commits(app: Any) -> None:
    """The reason why ``Consumer.on_task_error`` exits without a commit."""
    consumer, commits = app.consumer, []

    async def commit(*_: Any) -> None:
        commits.append(True)

    consumer.commit = commit
    await consumer.on_task_error(ValueError())
    assert commits == [True]


async def test_a_full_buffer_stops_the_polling_of_its_partition(app: Any) -> None:
    """The reason why ``Consumer.on_buffer_full`` does nothing: with batches, the buffer is soon full."""
    consumer = app.consumer
    consumer.on_buffer_full(HERE)
    assert HERE in consumer._buffered_partitions


def test_a_fetch_waits_for_a_time_that_nobody_can_set() -> None:
    """The reason why ``ConsumerThread._create_worker_consumer`` exists."""
    made = inspect.getsource(driver.AIOKafkaConsumerThread._create_worker_consumer)
    assert "fetch_max_wait_ms=1500" in made
    assert "fetch_min_bytes" not in made


def in_order(function: Any, *words: str) -> bool:
    source = inspect.getsource(function)
    places = [source.index(word) for word in words]
    return places == sorted(places)


def test_a_revoke_takes_away_what_waits_then_waits_for_what_is_in_flight_then_flushes() -> None:
    """The order in which lanes are closed relies on the order of Faust's own steps in a revocation."""
    assert in_order(
        App._on_partitions_revoked,
        *("T(consumer.stop_flow)", "T(self.flow_control.suspend)", "T(consumer.pause_partitions)"),
        *("T(self.flow_control.clear)", "T(self._consumer_wait_empty)", "T(self._producer_flush)"),
    )
    assert in_order(driver.Consumer.on_partitions_revoked, "_acked.pop", "self._on_partitions_revoked")


def test_positions_are_asked_for_when_recovery_is_over_and_before_anything_flows() -> None:
    """A stage is asked for its position only when its table is complete."""
    assert in_order(Recovery._resume_streams, "perform_seek()", "completed.set()", "flow_control.resume()")
