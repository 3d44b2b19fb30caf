"""An invocation that ends for a reason other than its variant does not count as an outcome of the variant."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from builders import AGENT, TASK

from crl_stream.client import Client
from crl_stream.settings import Settings


@pytest.fixture
def published(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, list[str]]]:
    client = Client(settings)
    statuses: list[str] = []
    monkeypatch.setattr(client.publisher, "invocation", lambda **given: statuses.append(given["status"]))
    yield client, statuses
    client.close(0.0)


def of_library(package: str, name: str) -> type[BaseException]:
    return type(name, (BaseException,), {"__module__": f"{package}._core"})


ABANDONED = [
    asyncio.CancelledError(),
    concurrent.futures.CancelledError(),
    KeyboardInterrupt(),
    SystemExit(0),
    GeneratorExit(),
    of_library("trio", "Cancelled")(),
    of_library("greenlet", "GreenletExit")(),
    BaseExceptionGroup("all", [asyncio.CancelledError(), KeyboardInterrupt()]),
    BaseExceptionGroup("deep", [BaseExceptionGroup("inner", [asyncio.CancelledError()]), GeneratorExit()]),
    type("Cancelled", (asyncio.CancelledError,), {})(),
]
ERRORS = [
    ValueError(),
    TimeoutError(),
    StopIteration(),
    StopAsyncIteration(),
    MemoryError(),
    AssertionError(),
    concurrent.futures.TimeoutError(),
    of_library("pyo3_runtime", "PanicException")(),
    ExceptionGroup("one", [ValueError()]),
    BaseExceptionGroup("mixed", [asyncio.CancelledError(), ValueError()]),
]


def named(error: BaseException) -> str:
    return f"{type(error).__name__} {error}"


@pytest.mark.parametrize("error", ABANDONED, ids=named)
def test_an_end_from_outside_is_counted_as_abandoned_and_not_published(
    published: tuple[Client, list[str]], error: BaseException
) -> None:
    client, statuses = published
    with pytest.raises(type(error)), client.invocation(AGENT, TASK):
        raise error
    assert statuses == []
    assert (client.publisher.stats.abandoned, client.health().abandoned) == (1, 1)


@pytest.mark.parametrize("error", ABANDONED, ids=named)
@pytest.mark.parametrize("said", ["success", "failure", "error"])
def test_unless_the_runtime_has_said_how_it_ended(
    published: tuple[Client, list[str]], error: BaseException, said: Any
) -> None:
    client, statuses = published
    with suppress(type(error)), client.invocation(AGENT, TASK) as inv:
        inv.status = said
        raise error
    assert statuses == [said]
    assert client.publisher.stats.abandoned == 0


def test_failed_is_such_a_word(published: tuple[Client, list[str]]) -> None:
    client, statuses = published
    with suppress(asyncio.CancelledError), client.invocation(AGENT, TASK) as inv:
        inv.failed()
        raise asyncio.CancelledError
    assert statuses == ["failure"]


@pytest.mark.parametrize("error", ERRORS, ids=named)
def test_whatever_else_is_raised_is_an_error_of_the_variant(
    published: tuple[Client, list[str]], error: BaseException
) -> None:
    client, statuses = published
    with suppress(type(error)), client.invocation(AGENT, TASK) as inv:
        inv.status = "success"
        raise error
    assert statuses == ["error"]


def test_a_block_that_ends_is_a_success_and_a_return_out_of_it_too(published: tuple[Client, list[str]]) -> None:
    client, statuses = published

    def agent() -> int:
        with client.invocation(AGENT, TASK):
            return 1

    assert agent() == 1
    assert statuses == ["success"]


def test_a_stream_that_is_read_half_is_abandoned_and_one_that_is_read_whole_is_not(
    published: tuple[Client, list[str]],
) -> None:
    client, statuses = published

    def stream() -> Iterator[int]:
        with client.invocation(AGENT, TASK):
            yield from range(3)

    for _ in stream():
        break
    assert (statuses, client.publisher.stats.abandoned) == ([], 1)
    assert list(stream()) == [0, 1, 2]
    assert statuses == ["success"]


async def test_the_same_of_an_asynchronous_stream_a_cancelled_task_and_a_time_limit_outside(
    published: tuple[Client, list[str]],
) -> None:
    client, statuses = published

    async def stream() -> AsyncIterator[int]:
        with client.invocation(AGENT, TASK):
            for number in range(3):
                yield number

    async def agent(seconds: float = 60.0) -> None:
        with client.invocation(AGENT, TASK):
            await asyncio.sleep(seconds)

    opened = stream()
    assert await anext(opened) == 0
    await opened.aclose()
    task = asyncio.ensure_future(agent())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agent(), 0.01)
    assert (statuses, client.publisher.stats.abandoned) == ([], 3)
    with pytest.raises(TimeoutError), client.invocation(AGENT, TASK):
        await asyncio.wait_for(asyncio.sleep(60.0), 0.01)
    assert statuses == ["error"], "a timeout inside the block counts against the variant"


async def test_a_task_group_whose_other_task_failed_abandons_this_one_and_counts_that_one(
    published: tuple[Client, list[str]],
) -> None:
    client, statuses = published

    async def agent(error: Exception | None) -> None:
        with client.invocation(AGENT, TASK):
            await asyncio.sleep(0.01 if error else 60.0)
            raise error or AssertionError

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(agent(ValueError()))
            group.create_task(agent(None))
    assert (statuses, client.publisher.stats.abandoned) == (["error"], 1)
