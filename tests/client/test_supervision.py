"""The client's threads end only when the client is closed, whatever exception is raised at any await."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Generator
from typing import Any

import pytest
from aiokafka import errors

from client.silent_kafka import an_active_variant, use_silent_kafka
from client.waiting import eventually
from crl_stream.client import background
from crl_stream.client.background import Background
from crl_stream.client.following import Following
from crl_stream.client.resolver import Resolver
from crl_stream.settings import Settings

RAISED = [
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    BaseException,
    StopIteration,
    StopAsyncIteration,
    MemoryError,
    RecursionError,
    AssertionError,
    RuntimeError,
    KeyError,
    OSError,
    TimeoutError,
    ConnectionResetError,
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.IllegalStateError,
    errors.ConsumerStoppedError,
    errors.OffsetOutOfRangeError,
    errors.UnknownTopicOrPartitionError,
    errors.CorruptRecordException,
    type("OfAnUnknownLibrary", (BaseException,), {}),
]


class ThrownInto:
    """Drives a coroutine and throws ``error`` into it at its ``nth`` suspension; ``awaits`` counts the suspensions."""

    def __init__(self, work: Coroutine[Any, Any, Any], nth: int, error: BaseException) -> None:
        self.work, self.nth, self.error = work, nth, error
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        failure: BaseException | None = None
        while True:
            try:
                waited_for = self.work.throw(failure) if failure is not None else self.work.send(None)
                failure = None
            except StopIteration as ended:
                return ended.value
            self.awaits += 1
            if self.awaits == self.nth:
                failure = self.error
                continue
            try:
                yield waited_for
            except BaseException as thrown:
                failure = thrown


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.002)


# A StopIteration thrown into an await becomes the await's result.
@pytest.mark.parametrize("kind", [k for k in RAISED if k is not StopIteration], ids=lambda kind: kind.__name__)
def test_following_goes_on_after_every_exception_at_every_await(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    active = an_active_variant()
    use_silent_kafka(monkeypatch, active)
    attempt, tried = Following.attempt, []

    async def failing(following: Following) -> None:
        """The first attempt fails at its first await, the second at its second, and so on."""
        drive = ThrownInto(attempt(following), len(tried) + 1, kind())
        tried.append(drive)
        await drive

    monkeypatch.setattr(Following, "attempt", failing)
    with Resolver(settings, exploration=0.0) as followed:
        # Thirty awaits cover connecting, reading to the end of the topics, and some rounds of following them.
        assert eventually(lambda: len(tried) > 30, 60.0)
        assert all(drive.awaits >= drive.nth for drive in tried[:30]), "the exception was thrown at each await"
        monkeypatch.setattr(Following, "attempt", attempt)
        assert followed._background.alive  # type: ignore[union-attr]
        monkeypatch.setattr(tried[-1], "nth", tried[-1].awaits + 1)
        assert eventually(lambda: followed.resolve(active.agent_name, active.task_type).source == "live")  # type: ignore[union-attr]
    assert not followed._background.alive  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_work_that_raises_before_its_first_await_or_while_it_is_made_is_begun_again(kind: type[BaseException]) -> None:
    reported: list[BaseException] = []
    reached = threading.Event()
    calls = iter(range(100))

    async def raising() -> None:
        raise kind

    async def working() -> None:
        reached.set()
        await asyncio.Event().wait()

    def main() -> Coroutine[Any, Any, None]:
        number = next(calls)
        if number == 0:
            raise kind
        return raising() if number == 1 else working()

    work = Background("test", main, trouble=reported.append)
    work.start()
    assert reached.wait(20.0)
    assert len(reported) >= 2
    assert work.stop(20.0)


def test_work_that_gives_no_sign_of_life_is_begun_again_even_when_it_cannot_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(background, "_STUBBORN_SECONDS", 0.1)
    reached, reported, begun = threading.Event(), list[BaseException](), []

    async def main() -> None:
        begun.append(1)
        if len(begun) > 1:
            reached.set()
            while True:
                work.beat()
                await asyncio.sleep(0.01)
        while not reached.is_set():
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                continue  # in some places, aiokafka swallows cancellations

    work = Background("test", main, trouble=reported.append, patience=0.2)
    work.start()
    assert reached.wait(20.0)
    assert isinstance(reported[0], TimeoutError)
    assert work.stop(20.0)
    assert len(begun) == 2


def test_a_reporter_that_raises_ends_nothing() -> None:
    reached, begun = threading.Event(), []

    async def main() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise OSError
        reached.set()

    def raising(_: BaseException) -> None:
        raise ValueError

    work = Background("test", main, trouble=raising, tick=lambda: 1 // 0)
    work.start()
    assert reached.wait(20.0)
    assert work.join(20.0), "the thread ends when its work returns"


def test_a_callback_that_raises_out_of_the_loop_ends_nothing() -> None:
    went_on, started = threading.Event(), threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().call_soon(exit_)
        started.set()
        await asyncio.sleep(0.05)
        went_on.set()
        await asyncio.Event().wait()

    def exit_() -> None:
        raise SystemExit

    work = Background("test", main)
    work.start()
    assert went_on.wait(20.0)
    assert work.attempts == 1, "the first attempt was never restarted"
    assert work.stop(20.0)
