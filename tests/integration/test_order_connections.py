"""One call of ``crl`` connects to the bootstrap servers only once, whatever it reads and sends."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from installation import Installation
from typer.testing import CliRunner

from crl_stream.cli.application import app
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import CommandRefused, ContractError
from crl_stream.kafka.commands import give, task_command
from crl_stream.kafka.reader import TopicReader
from crl_stream.kafka.session import KafkaSession
from crl_stream.wire.topics import ALERTS, COMMANDS, DECISIONS, TASKS

pytestmark = pytest.mark.integration

TASK = "backend-architect/api-design"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often this process has bootstrapped, and how often it has connected to a broker."""
    counted: Counter[str] = Counter()
    bootstrap, connect = AIOKafkaClient.bootstrap, AIOKafkaConnection.connect

    async def bootstrapped(self: Any) -> Any:
        counted["looks"] += 1
        return await bootstrap(self)

    async def connected(self: Any) -> Any:
        counted["connections"] += 1
        return await connect(self)

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", bootstrapped)
    monkeypatch.setattr(AIOKafkaConnection, "connect", connected)
    return counted


@pytest.fixture
async def settled(installation: Installation) -> Installation:
    await installation.start_worker().ready()
    return installation


async def test_an_order_looks_for_the_brokers_once(
    settled: Installation, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settled.environment().items():
        monkeypatch.setenv(name, value)

    async def crl(*arguments: str, refused: bool = False) -> Counter[str]:
        opened.clear()
        done = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
        assert done.exit_code == refused, f"{arguments}: {done.output} {done.exception!r}"
        assert isinstance(done.exception, CommandRefused) == refused
        if arguments[0] in {"register", "activate", "hold"}:
            touched = "every task of the fleet" if "--all" in arguments else "1 task"
            assert f"\n  It touches {touched}.\n  To " in done.output, "the figures are there with no more connections"
        return Counter(opened)

    # One connection to bootstrap, one for all requests, and one that waits for the answer.
    order = Counter(looks=1, connections=3)
    reading = Counter(looks=1, connections=2)
    assert await crl("register", TASK, "v1") == order
    assert await crl("activate", TASK, "v1", "--untested") == order
    assert await crl("hold", TASK) == order
    assert await crl("undo", TASK, refused=True) == order  # only an automatic change can be undone
    assert await crl("hold", "--all") == order
    for command in ("rollbacks", "audit", "runtimes"):
        assert await crl(command) == reading
    assert await crl("policy", "show") == reading
    assert await crl("status") == reading


async def test_whoever_has_no_session_gives_orders_as_well(settled: Installation, opened: Counter[str]) -> None:

    command = task_command(m.RegisterVariant, TaskKey.parse(TASK), variant_id="v1")
    assert (await give(settled.kafka, command, 60.0)).outcome == "applied"
    assert opened["looks"] == 1


async def test_a_session_reads_and_writes_while_it_follows(installation: Installation, opened: Counter[str]) -> None:
    names = installation.names
    async with KafkaSession(installation.kafka) as session, TopicReader(session).following([DECISIONS]) as stream:
        reader = TopicReader(session)
        assert await reader.read(TASKS) == []
        async with session.producing() as producer:
            await producer.send_and_wait(names(ALERTS), b"{}", partition=1)
            await producer.send_and_wait(names(DECISIONS), b"{}", partition=2)
        [alert] = await reader.read(ALERTS)
        decision = await anext(stream)
        assert await reader.partitions(COMMANDS) == installation.kafka.partitions
        assert await reader.cluster_id()
    assert (alert.record.value, alert.record.partition) == (b"{}", 1)
    assert (decision.record.value, decision.record.partition) == (b"{}", 2)
    assert opened["looks"] == 1


async def test_a_session_may_be_opened_again_and_a_fault_of_one_question_is_not_that_of_the_next(
    installation: Installation, opened: Counter[str]
) -> None:
    session = KafkaSession(installation.kafka)
    for _ in range(2):
        async with session, session:
            with pytest.raises(ContractError):
                await TopicReader(session).read("crl.no-such-topic")
            assert await TopicReader(session).read(TASKS) == []
    assert opened["looks"] == 2
