"""Bridges on a real Kafka: what they read is counted once, whatever happens to their process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from bridges.otlp import agent_span, as_json, as_proto, span
from installation import Installation, WorkerProcess

from crl_stream.core import messages as m
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS, TASKS

pytestmark = pytest.mark.integration
TASKS_OF_THE_TEST = ("one", "two", "three")


@pytest.fixture
async def topic(installation: Installation) -> AsyncIterator[str]:
    """Provide the name of a topic of another program, and remove the topic afterwards."""
    name = f"{installation.id}-spans"
    yield name
    async with installation.admin._admin() as admin:
        await admin.delete_topics([name])


async def a_bridge(installation: Installation, topic: str, **options: str) -> WorkerProcess:
    given = {"kind": "otlp", "topic": topic} | options
    worker = installation.start_worker(
        ("-m", "crl_stream", "worker", "--role", "bridge"),
        **{f"bridges_otel_{field}": value for field, value in given.items()},
    )
    await worker.ready()
    return worker


def spans_of(number: int, task: str) -> list[dict[str, Any]]:
    """Return one invocation: a span of the agent around one of a model."""
    trace = f"{number + 1:032x}"
    own = {"crl.task_type": task}
    return [span(2, {"gen_ai.operation.name": "chat"}, 1, trace=trace), agent_span(1, trace=trace, own=own)]


async def outcomes(installation: Installation) -> list[m.Invocation]:
    """Return every outcome in the log, repeated ones too."""
    found = [received.message for received in await installation.records(INVOCATIONS)]
    return [message for message in found if isinstance(message, m.Invocation)]


async def counted(installation: Installation) -> dict[str, int]:
    """Return how many outcomes the monitor has counted for each task."""
    found = {one.task_type: one for one in await installation.messages(TASKS)}
    return {task: sum(variant.n_visits for variant in one.variants) for task, one in found.items()}


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", None])
async def test_spans_arrive_by_every_codec(installation: Installation, topic: str, codec: str | None) -> None:
    await a_bridge(installation, topic)
    producer = AIOKafkaProducer(bootstrap_servers=installation.kafka.bootstrap_servers, compression_type=codec)
    await producer.start()
    try:
        await producer.send_and_wait(topic, as_proto(spans_of(1, "one")), headers=[("x", None), ("x", b"\xff")])
    finally:
        await producer.stop()
    async with asyncio.timeout(30):
        while not (found := await outcomes(installation)):
            await asyncio.sleep(0.05)
    assert [one.task_type for one in found] == ["one"]


async def test_every_span_counts_once_although_the_bridge_is_killed_again_and_again(
    installation: Installation, topic: str
) -> None:
    await installation.worker()
    bridge = await a_bridge(installation, topic)
    total, sent = 1_200, 0
    kills = 0
    while sent < total:
        batch = []
        for _ in range(600):
            task = TASKS_OF_THE_TEST[sent % 3]
            value = (as_json if sent % 2 else as_proto)(spans_of(sent, task))
            batch.append(await installation.producer.send(topic, value))
            sent += 1
        await asyncio.gather(*batch)
        done = len(await outcomes(installation))
        async with asyncio.timeout(60):
            while len(await outcomes(installation)) <= done < sent:
                await asyncio.sleep(0)
        bridge.kill()
        kills += 1
        bridge = await a_bridge(installation, topic)
    async with asyncio.timeout(120):
        while sum((await counted(installation)).values()) < total:
            await asyncio.sleep(0.2)
    await installation.settled()
    await installation.silent()
    found = await outcomes(installation)
    assert len({one.invocation_id for one in found}) == total
    assert await counted(installation) == dict.fromkeys(TASKS_OF_THE_TEST, total // 3)
    assert await installation.records(DEAD_LETTERS) == []
    assert kills == 2


async def test_a_bad_record_is_a_letter_with_its_bytes_and_stops_nothing(
    installation: Installation, topic: str
) -> None:
    await a_bridge(installation, topic, encoding="otlp_proto")
    nameless = as_proto([agent_span(3, own={"crl.task_type": ""})])
    for value in (b"not OTLP", None, nameless, as_proto(spans_of(1, "one"))):
        await installation.producer.send_and_wait(topic, value, partition=0, key=b"key", headers=[("a", b"b")])
    async with asyncio.timeout(30):
        while not await outcomes(installation):
            await asyncio.sleep(0.05)
    letters = [received.record for received in await installation.records(DEAD_LETTERS)]
    assert [letter.value for letter in letters] == [b"not OTLP", None, nameless]
    read = [read_letter(letter.headers) for letter in letters]
    assert [one.reason for one in read] == ["not_otlp", "null_value", "missing_field"]
    assert {(one.topic, one.partition) for one in read} == {(topic, 0)}
    assert [one.offset for one in read] == [0, 1, 2]
    assert {(letter.key, ("a", b"b") in letter.headers) for letter in letters} == {(b"key", True)}


async def test_spans_of_an_aborted_transaction_are_not_read(installation: Installation, topic: str) -> None:
    await a_bridge(installation, topic)
    producer = AIOKafkaProducer(bootstrap_servers=installation.kafka.bootstrap_servers, transactional_id=topic)
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send(topic, as_proto(spans_of(1, "aborted")), partition=0)
        await producer.flush()
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(topic, as_proto(spans_of(2, "committed")), partition=0)
    finally:
        await producer.stop()
    async with asyncio.timeout(30):
        while not (found := await outcomes(installation)):
            await asyncio.sleep(0.05)
    assert [one.task_type for one in found] == ["committed"]


async def test_a_worker_without_a_bridge_says_what_to_write(installation: Installation) -> None:
    code, _, err = await installation.run_crl("worker", "--role", "bridge")
    assert code == 2
    assert "There is no bridge in the settings" in err
    assert "[bridges.<name>]" in err
    secretless = {"kind": "langsmith", "port": "9000", "evaluator": "e"}
    settings = {f"bridges_rules_{field}": value for field, value in secretless.items()}
    code, _, err = await installation.run_crl("worker", "--role", "bridge", **settings)
    assert code == 2
    assert "bridges.rules.secret" in err
    assert "CRL_BRIDGES_RULES_SECRET" in err


async def test_a_bridge_that_is_not_running_is_reported(installation: Installation, topic: str) -> None:
    worker = await installation.worker()
    settings = {"bridges_otel_kind": "otlp", "bridges_otel_topic": topic, "worker_web_port": worker.url[-5:]}
    bridge = await a_bridge(installation, topic)
    _, out, _ = await installation.run_crl("status", "--json", **settings)
    assert "The bridge otel is not running" not in out
    assert await bridge.stop() == 0
    _, out, _ = await installation.run_crl("status", "--json", **settings)
    assert "The bridge otel is not running" in out
    assert "crl worker --role bridge" in out
