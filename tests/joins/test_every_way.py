"""Every way of joining leads to the same window, and agents with nothing but a Kafka client tell the whole story."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import confluent_kafka
import pytest
from installation import Installation

from crl_stream.client import Publisher
from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.settings import load_settings
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import DEAD_LETTERS, INVOCATIONS, TASKS
from joins.environments import python_of
from joins.programs import install_packages, program
from joins.story import PROGRAMS, agent, the_story_of_a_rollback
from joins.test_bridges import a_bridge, remove, the_forms_of_an_outcome

pytestmark = pytest.mark.integration
AGENT, TASK, VARIANT = "refund-agent", "refund", "steady"
KEY = f"{AGENT}/{TASK}"


def an_outcome(way: str) -> bytes:
    """Return the JSON that a program without our package writes."""
    return encode(
        m.Invocation(
            schema_version=1,
            invocation_id=f"by-{way}",
            timestamp=to_text(1_763_562_603_000),
            agent_name=AGENT,
            task_type=TASK,
            variant_id=VARIANT,
            status="success",
        )
    )


async def run(*words: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a program to its end; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    async with asyncio.timeout(300):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def by_librdkafka(broker: str, topic: str) -> None:
    """Publish with the settings that the contract asks for."""
    producer = confluent_kafka.Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"})
    producer.produce(topic, an_outcome("librdkafka"), KEY)
    assert producer.flush(30) == 0


async def by_node(broker: str, topic: str, folder: Path) -> None:
    """Publish with kafkajs."""
    node = await node_programs(folder)
    await run(program("node"), node / "produce.mjs", broker, topic, KEY, an_outcome("node").decode())


async def node_programs(folder: Path) -> Path:
    """Copy the programs that use kafkajs, with its package beside them."""
    node = Path(shutil.copytree(PROGRAMS / "node_producer", folder / "node_producer"))
    await asyncio.to_thread(install_packages, node)
    return node


async def by_go(broker: str, topic: str, folder: Path) -> None:
    """Publish with kafka-go."""
    await run(await go_program(folder, "."), broker, topic, KEY, an_outcome("go").decode())


async def go_program(folder: Path, source: str) -> Path:
    """Build a program that uses kafka-go, or skip the test if its modules cannot be had."""
    built = folder / "built-with-go"
    done = await asyncio.to_thread(
        subprocess.run,
        [program("go"), "build", "-o", str(built), source],
        cwd=PROGRAMS / "go_producer",
        env={**os.environ, "GOFLAGS": "-mod=readonly"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"go cannot build the program: {done.stderr.strip()[-300:]}")
    return built


async def test_one_outcome_by_each_way_lands_in_the_same_window(installation: Installation) -> None:
    spans, events = f"{installation.id}-spans", f"{installation.id}-events"
    broker, topic = installation.kafka.bootstrap_servers, installation.names(INVOCATIONS)
    forms = await the_forms_of_an_outcome()
    openfeature = python_of("openfeature")
    await installation.worker(profile="guide")
    options = {"bridges_spans_kind": "otlp", "bridges_spans_topic": spans}
    await a_bridge(installation, "events", kind="cloudevents", topic=events, **options)
    try:
        with Publisher(load_settings(environment=installation.environment())) as publisher:
            assert publisher.invocation(AGENT, TASK, VARIANT, "success", invocation_id="by-python")
        await asyncio.to_thread(by_librdkafka, broker, topic)
        await by_node(broker, topic, installation.folder)
        await by_go(broker, topic, installation.folder)
        for form, headers, value in forms:
            await installation.producer.send_and_wait(spans if form.startswith("o") else events, value, headers=headers)
        said = await run(
            openfeature, PROGRAMS / "openfeature_outcome.py", KEY, VARIANT, environment=installation.environment()
        )
        assert said == f"{VARIANT}\n"
        ways = 4 + len(forms) + 1
        snapshot = await installation.wait_for(TASKS, m.TaskSnapshot, lambda one: one.n_outcomes == ways, 60.0)
    finally:
        await remove(installation, spans)
        await remove(installation, events)
    [variant] = snapshot.variants
    assert (variant.variant_id, variant.window.outcomes) == (VARIANT, "S" * ways)
    assert await installation.records(DEAD_LETTERS) == []


@pytest.mark.parametrize("client", ["librdkafka", "node", "go"])
async def test_an_agent_with_a_plain_kafka_client_collapses_and_its_next_turn_uses_the_other_variant(
    installation: Installation, client: str
) -> None:
    words: tuple[str | Path, ...] = (sys.executable, PROGRAMS / "librdkafka_agent.py")
    if client == "node":
        words = (program("node"), await node_programs(installation.folder) / "agent.mjs")
    if client == "go":
        words = (await go_program(installation.folder, "./agent"),)
    await installation.worker(profile="guide")
    where = (installation.kafka.bootstrap_servers, installation.kafka.topic_prefix)
    async with agent(installation, *words, *where) as told:
        await the_story_of_a_rollback(installation, told)
