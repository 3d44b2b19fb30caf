"""A runtime can pass anything to the publisher: an unusable value is refused with a log line, and never raises."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from builders import AGENT, TASK, an_invocation

from client.waiting import eventually
from crl_stream.client import Client, Publisher
from crl_stream.client.outbox import AT_ONCE, OF_ONE_TASK, QUEUE_SIZE, Item, Outbox
from crl_stream.client.publisher import checked
from crl_stream.core.policy import Limits
from crl_stream.errors import InvalidMessage
from crl_stream.settings import Settings

LEAST = {"agent_name": AGENT, "task_type": TASK, "variant_id": "default", "status": "success"}


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    publisher = Publisher(settings)
    yield publisher
    publisher.close(0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["reward", "quality", "duration_seconds"])
def test_a_value_that_is_no_number_is_not_taken_for_an_absent_one(field: str, value: float) -> None:
    with pytest.raises(InvalidMessage, match=f"{field} is .*, not a number"):
        checked(an_invocation(**{field: value}))


def test_a_text_that_says_null_is_not_a_number_that_is_missing() -> None:
    assert b'"null"' in checked(an_invocation(provider="null", reward=0.5))[1]


def test_the_agent_of_drills_is_refused_to_everyone_but_a_drill() -> None:
    with pytest.raises(InvalidMessage, match="reserved"):
        checked(an_invocation(agent_name="crl-drill", runtime_id="runtime-1"))
    with pytest.raises(InvalidMessage, match="reserved"):
        checked(an_invocation(agent_name="crl-drill"))
    assert checked(an_invocation(agent_name="crl-drill", runtime_id="crl-drill"))


@pytest.mark.parametrize("wrong", [{"status": "fine"}, {"agent_name": "a b"}, {"colour": 1}, {"role": "shadwo"}])
def test_what_is_no_outcome_is_counted_as_rejected(publisher: Publisher, wrong: dict[str, Any]) -> None:
    assert publisher.invocation(**(LEAST | wrong)) is False
    assert publisher.stats._replace(queued=0) == (0, 0, 0, 1, 0)


@pytest.mark.parametrize("name", [7, None, b"x", ["a"], "\ud800", "a/b", "x" * 129, object()])
@pytest.mark.parametrize("field", ["agent_name", "task_type", "variant_id", "invocation_id"])
def test_no_name_raises_into_the_agent(publisher: Publisher, field: str, name: Any) -> None:
    assert publisher.invocation(**(LEAST | {field: name})) is False
    assert publisher.stats.rejected == 1


@pytest.mark.parametrize("traceparent", ["nonsense", b"bytes", 7, "\ud800"])
def test_no_trace_context_raises_into_the_agent(publisher: Publisher, traceparent: Any) -> None:
    publisher.publish(an_invocation(), traceparent=traceparent)
    assert sum(publisher.stats) == 1


@pytest.mark.parametrize(
    "fields", [{"provider": "openai"}, {"quality": 0.1}, {"status": "error", "agent_name": "x"}, {"colour": "red"}]
)
def test_further_fields_neither_raise_into_the_agent_nor_replace_what_the_block_knows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    with Client(settings) as client:
        published: list[dict[str, Any]] = []
        monkeypatch.setattr(client.publisher, "invocation", lambda **given: published.append(given))
        with client.invocation(AGENT, TASK) as running:
            running.quality = 0.9
            running.fields = fields
    [given] = published
    assert (given["agent_name"], given["status"], given["quality"]) == (AGENT, "success", 0.9)
    assert given.keys() >= fields.keys()


@pytest.mark.parametrize("fields", [None, 7, [1], {1: 2}, "text"])
def test_fields_that_are_no_fields_cost_at_most_the_outcome(settings: Settings, fields: Any) -> None:
    client = Client(settings)
    with client.invocation(AGENT, TASK) as running:
        running.fields = fields
    stats = client.publisher.stats
    assert stats.queued + stats.rejected == 1
    client.close(0.0)


def test_a_full_queue_drops_and_counts_and_says_so_once(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(QUEUE_SIZE + 25):
        publisher.publish(an_invocation())
    assert (publisher.stats.queued, publisher.stats.dropped) == (QUEUE_SIZE, 25)
    assert sum("is dropped" in record.message for record in caplog.records) == 1


def test_what_kafka_has_not_taken_at_the_end_is_said_with_its_number(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(settings)
    for _ in range(7):
        publisher.publish(an_invocation())
    assert publisher.close(0.2).dropped == 7
    assert publisher.close(0.2).dropped == 7, "a second close must not count dropped messages again"
    [line] = [record.message for record in caplog.records if "outcomes are lost" in record.message]
    assert "7 of them" in line
    assert publisher.publish(an_invocation()) is False
    assert publisher.stats.dropped == 8


# -- the outbox --------------------------------------------------------------------------------------
def item(task: str, number: int) -> Item:
    return Item(task.encode(), str(number).encode(), [])


def test_what_is_in_flight_of_a_task_is_never_more_than_the_monitor_remembers() -> None:
    outbox = Outbox(lambda: None)
    for number in range(200):
        assert outbox.put(item("a/b", number))
    assert len(outbox.take()) == OF_ONE_TASK <= Limits().duplicate_ids


def test_what_failed_in_flight_comes_first_again_and_in_its_order() -> None:
    outbox = Outbox(lambda: None)
    for number in range(10):
        outbox.put(item(f"a/{number}", number))
    taken = outbox.take()
    outbox.put(item("a/x", 10))
    outbox.settle(sent=4)
    outbox.put_back(taken[4:])
    assert [int(each.value) for each in outbox.take()] == [4, 5, 6, 7, 8, 9, 10]
    assert outbox.stats == (4, 7, 0, 0, 0)


def test_nothing_is_counted_twice_when_the_queue_was_given_up_meanwhile() -> None:
    outbox = Outbox(lambda: None)
    for number in range(3):
        outbox.put(item("a/b", number))
    taken = outbox.take()
    assert outbox.give_up() == 3
    outbox.settle(sent=2)
    outbox.put_back(taken[2:])
    assert outbox.stats == (0, 0, 3, 0, 0)


def test_the_sender_is_woken_once_for_a_burst_and_never_missed() -> None:
    woken: list[int] = []
    outbox = Outbox(lambda: woken.append(1))
    outbox.put(item("a/b", 0))
    assert woken == [], "the sender is not waiting yet, so it needs no wake-up"
    outbox.take()
    outbox.settle(sent=1)
    assert outbox.take() == []
    for number in range(50):
        outbox.put(item("a/b", number))
    assert woken == [1]
    assert 0 < len(outbox.take()) <= AT_ONCE


def test_threads_that_publish_at_once_lose_nothing(settings: Settings) -> None:
    publisher = Publisher(settings)
    threads = [
        threading.Thread(target=lambda: [publisher.publish(an_invocation()) for _ in range(200)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.stats.queued == 1_600
    assert publisher.close(0.0).dropped == 1_600


# -- without Kafka -----------------------------------------------------------------------------------
def test_without_kafka_entering_closing_and_every_call_are_quick(settings: Settings) -> None:
    began = time.perf_counter()
    with Client(settings) as client:
        entered = time.perf_counter() - began
        for _ in range(100):
            with client.invocation(AGENT, TASK):
                pass
        began = time.perf_counter()
    closed = time.perf_counter() - began
    # The promise is 50 ms and 2 s; the test allows more for a slow machine.
    assert entered < 0.3
    assert closed < 2.5
    assert client.publisher.stats.dropped == 100


async def test_an_asynchronous_block_never_blocks_the_loop(settings: Settings) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - began)

    watching = asyncio.ensure_future(watch())
    async with Client(settings) as client:
        with client.invocation(AGENT, TASK):
            await asyncio.sleep(0)
    watching.cancel()
    assert longest < 0.5, "closing waits up to 2 s for Kafka, but does not block the loop"


def test_health_is_json_and_says_what_is_wrong(settings: Settings) -> None:
    with Client(settings, runtime_id="r1") as client:
        with client.invocation(AGENT, TASK):
            pass
        assert eventually(lambda: client.health().trouble)
        page = json.loads(json.dumps(client.health()._asdict()))
    assert (page["runtime_id"], page["connected"], page["following"], page["queued"]) == ("r1", False, False, 1)
    assert "Kafka does not answer" in page["trouble"]
    assert page["trouble_at"].endswith("Z")


def test_late_feedback_of_any_kind_never_raises(publisher: Publisher) -> None:
    assert publisher.feedback(AGENT, TASK, "inv-1", reward=0.5) is True
    assert publisher.feedback(AGENT, TASK, "inv-1", reward=float("nan")) is False, "feedback needs a score"
    assert publisher.feedback(AGENT, TASK, "inv-1", reward=float("nan"), quality=1) is True
