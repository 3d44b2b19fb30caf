"""Agents that report with other systems only, on a real Kafka and with the real packages of those systems."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import a_command
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS, RECEIPTS, ROLLBACKS
from joins.collector import collector, program
from joins.environments import python_of

pytestmark = pytest.mark.integration

PROGRAMS = Path(__file__).resolve().parent / "programs"
AGENT, TASK = "refund-agent", "refund"


class Agent:
    """An agent in a process of its own; each line that it reads is answered with one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def do(self, turns: int, **order: Any) -> list[list[Any]]:
        """Do turns; return the variant and the epoch of each."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"turns": turns} | order).encode() + b"\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(90):
            line = await self.process.stdout.readline()
        found: list[list[Any]] = json.loads(line)
        return found


@asynccontextmanager
async def agent(installation: Installation, *arguments: str) -> AsyncIterator[Agent]:
    """Start the program ``otel_agent.py`` with the packages of its environment."""
    environment = installation.environment() | {"XDG_CACHE_HOME": str(installation.folder)}
    words = [str(PROGRAMS / "otel_agent.py"), "--kafka", installation.kafka.bootstrap_servers, *arguments]
    process = await asyncio.create_subprocess_exec(
        python_of("bridges"), *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        yield Agent(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def a_bridge(installation: Installation, name: str, **options: Any) -> Any:
    """Start a worker with one bridge and nothing else, and wait until it is ready."""
    environment = {f"bridges_{name}_{field}": str(value) for field, value in options.items()}
    worker = installation.start_worker(("-m", "crl_stream", "worker", "--role", "bridge"), **environment)
    await worker.ready()
    return worker


async def outcomes(installation: Installation, count: int, seconds: float = 60.0) -> list[m.Invocation]:
    """Wait until the log has so many outcomes, and return them."""
    found: list[m.Invocation] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            found = [one for one in await installation.messages(INVOCATIONS) if isinstance(one, m.Invocation)]
            await asyncio.sleep(0.1)
    return found


async def the_story_of_a_rollback(installation: Installation, told: Agent) -> None:
    """Let the active variant of an agent collapse, and check that its next turn uses the other one."""
    await told.do(25)
    await told.do(25, variant="bold")
    await outcomes(installation, 50)
    await installation.order(a_command(m.ActivateVariant, agent_name=AGENT, task_type=TASK, variant_id="bold"))
    done = await told.do(12, epoch=2)
    assert done == [["bold", 2]] * 12
    await outcomes(installation, 62)
    rolled_back = asyncio.create_task(installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120))
    for number in range(63, 93):
        await told.do(1, fails=["bold"])
        await outcomes(installation, number)
        await installation.settled()
        await asyncio.wait({rolled_back}, timeout=0.2)
        if rolled_back.done():
            break
    rollback = await rolled_back
    assert (rollback.from_variant, rollback.to_variant) == ("bold", "steady")
    assert await told.do(1, epoch=rollback.epoch) == [["steady", rollback.epoch]]
    receipt = await installation.wait_for(RECEIPTS, m.Receipt, lambda one: one.epoch == rollback.epoch)
    assert receipt.runtime_id == "runtime-1"
    assert await installation.records(DEAD_LETTERS) == []


@pytest.mark.parametrize("encoding", ["otlp_json", "otlp_proto"])
async def test_an_agent_that_only_emits_spans_collapses_and_its_next_turn_uses_the_other_variant(
    installation: Installation, encoding: str
) -> None:
    topic = f"{installation.id}-spans"
    await installation.worker(profile="guide")
    await a_bridge(installation, "otel", kind="otlp", topic=topic)
    try:
        async with agent(installation, "--topic", topic, "--encoding", encoding) as told:
            await the_story_of_a_rollback(installation, told)
    finally:
        await remove(installation, topic)
    found = await outcomes(installation, 60)
    assert {(one.tokens_input, one.provider, one.model, one.session_id) for one in found} == {
        (120, "local", "model-1", "conversation-1")
    }
    assert all(one.trace_id == one.invocation_id.partition("-")[0] for one in found)


@pytest.mark.parametrize("encoding", ["otlp_json", "otlp_proto"])
async def test_what_the_real_collector_writes_is_read(installation: Installation, encoding: str) -> None:
    program()
    topic = f"{installation.id}-spans"
    exporter = {"traces": {"topic": topic, "encoding": encoding}, "partition_traces_by_id": True}
    await installation.worker(profile="guide")
    await a_bridge(installation, "otel", kind="otlp", topic=topic)
    try:
        async with (
            collector(installation.kafka.bootstrap_servers, installation.folder, exporter) as url,
            agent(installation, "--to", url) as told,
        ):
            await the_story_of_a_rollback(installation, told)
    finally:
        await remove(installation, topic)


async def remove(installation: Installation, topic: str) -> None:
    """Delete the topic of the other system."""
    async with installation.admin._admin() as admin:
        await admin.delete_topics([topic])
