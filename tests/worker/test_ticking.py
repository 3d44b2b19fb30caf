"""A worker appends a tick when one of its rows is due by the broker's clock, and none while no row waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from crl_stream.errors import Unsafe
from crl_stream.stages.waiting import Waiting
from crl_stream.wire.records import Output
from crl_stream.wire.topics import INVOCATIONS, TICK_KEY
from crl_stream.worker.log_lines import OncePerMinute
from crl_stream.worker.ticking import ROWS_PER_TICK, Ticking


class Broker:
    """A log whose clock is ``ahead`` seconds ahead of the worker's clock, with the ticks appended by the worker."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.now, self.ahead = 1_000.0, ahead
        self.ticks: list[Any] = []
        self.trouble: Exception | None = None
        self.ticking = Ticking(self, self.clock)  # type: ignore[arg-type]
        self.ticking._began = 0.0

    def clock(self) -> float:
        return self.now

    @property
    def time(self) -> int:
        """The timestamp that a record would get if it were appended now."""
        return round((self.now + self.ahead) * 1_000)

    async def publish(self, outputs: Iterable[Output]) -> dict[Any, Any]:
        if self.trouble is not None:
            raise self.trouble
        written = {}
        for output in outputs:
            assert (output.topic, output.key) == (INVOCATIONS, TICK_KEY)
            record = SimpleNamespace(offset=len(self.ticks), timestamp=self.time, key=TICK_KEY, value=output.value)
            self.ticks.append(record)
            written[INVOCATIONS, output.partition] = (record.offset, record.offset, 1)
        return written

    def wait(self, milliseconds: int, partition: int = 0) -> Waiting:
        """Make a row of the partition due in ``milliseconds``."""
        waiting = self.ticking.waiting.get(partition) or Waiting()
        self.ticking.begin(partition, waiting)
        waiting.settle({b"a/b": self.time + milliseconds})
        return waiting

    def run(self, seconds: float, partitions: Iterable[int] = (0,), *, folds: bool = True) -> int:
        """Check for due rows five times a second; fold every tick, which ends the wait unless the tick is too early."""
        before = len(self.ticks)
        for _ in range(round(seconds * 5)):
            seen = len(self.ticks)
            asyncio.run(self.ticking.look(partitions))
            for record in self.ticks[seen:] if folds else ():
                waiting = self.ticking.waiting[0]
                waiting.settle({key: 0 for _, key in waiting.due(record.timestamp)})
                self.ticking.note(0, [record])
            self.now += 0.2
        return len(self.ticks) - before


def test_a_row_that_is_due_gets_one_tick_and_then_there_is_silence() -> None:
    broker = Broker()
    broker.wait(1_000)
    assert broker.run(0.8) == 0
    assert broker.run(1.0) == 1
    assert broker.run(60.0) == 0


def test_nothing_that_waits_is_no_tick() -> None:
    broker = Broker()
    broker.ticking.begin(0, Waiting())
    assert broker.run(60.0, (0, 1)) == 0


@pytest.mark.parametrize("ahead", [-86_400.0, -600.0, -3.0, 600.0, 86_400.0])
def test_a_broker_with_another_clock_costs_one_tick_in_vain_and_no_delay(ahead: float) -> None:
    broker = Broker(ahead)
    waiting = broker.wait(1_000)
    broker.ticking.note(0, [SimpleNamespace(offset=0, timestamp=broker.time, key=b"a/b")])  # type: ignore[list-item]
    assert broker.run(2.2) <= 2
    assert waiting.next is None, "the row was published within two seconds"
    assert broker.run(60.0) == 0
    broker.wait(30_000)
    assert broker.run(29.0) == 0, "the first tick has revealed the broker's time"
    assert broker.run(2.0) == 1


def test_while_a_tick_is_not_folded_yet_no_other_one_is_sent() -> None:
    broker = Broker()
    broker.wait(0)
    assert broker.run(60.0, folds=False) == 1


def test_rows_that_stay_due_get_one_tick_a_second_at_most() -> None:
    broker = Broker()
    waiting = broker.wait(0)
    for number in range(50):
        waiting.settle({b"a/%d" % number: broker.time + 200 * number})
    assert 9 <= broker.run(10.0) <= 11


def test_a_new_assignment_does_not_wait_for_the_tick_of_the_old_one() -> None:
    broker = Broker()
    broker.wait(0)
    broker.run(5.0, folds=False)
    broker.ticking.begin(0, broker.ticking.waiting[0])
    assert broker.run(2.0) == 1


def test_a_tick_that_cannot_be_sent_ends_nothing_and_is_sent_later(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    broker.wait(0)
    broker.trouble = ConnectionError("no broker")
    assert broker.run(60.0) == 0
    only = OncePerMinute()
    assert sum(map(only.filter, caplog.records)) == 1, "minutes of failures do not fill the log"
    broker.trouble = None
    assert broker.run(2.0) == 1


def test_a_worker_that_may_have_lost_its_partitions_sends_none() -> None:
    broker = Broker()
    broker.wait(0)
    broker.trouble = Unsafe("it stood still", hint="restart it")
    with pytest.raises(Unsafe):
        broker.run(1.0)


def test_very_many_rows_that_are_due_at_once_are_taken_in_parts_without_the_pause_of_a_second() -> None:
    broker = Broker()
    waiting = broker.wait(0)
    waiting.settle({b"a/%d" % number: 1 + number // 2 for number in range(10 * ROWS_PER_TICK)})
    before = len(broker.ticks)
    taken = []
    while waiting.next is not None and len(taken) < 100:
        asyncio.run(broker.ticking.look([0]))
        record = broker.ticks[-1]
        until = json.loads(record.value).get("up_to_ms")
        due = [key for _, key in waiting.due(record.timestamp if until is None else until)]
        taken.append(len(due))
        waiting.settle(dict.fromkeys(due, 0))
        broker.ticking.note(0, [record])
        broker.now += 0.2
    assert len(broker.ticks) - before == len(taken) == 11
    assert max(taken) <= ROWS_PER_TICK + 1


def test_how_late_a_row_is_grows_while_no_tick_can_be_sent_and_ends_with_the_next_one() -> None:
    broker = Broker()
    broker.wait(0)
    broker.trouble = OSError("no room")
    broker.run(20.0)
    assert 19.0 < broker.ticking.overdue(0) < 22.0
    broker.trouble = None
    broker.run(2.0)
    assert broker.ticking.overdue(0) == 0.0
    assert broker.ticking.overdue(1) == 0.0
