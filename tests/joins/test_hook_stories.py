"""On real Kafka: an agent joined by each hook collapses, is rolled back, and goes on with the other variant."""

from __future__ import annotations

import asyncio
import json

import pytest
from builders import AGENT, TASK, a_command, invocations
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, ROLLBACKS
from joins.environments import python_of
from joins.hook_running import CHECKS
from joins.proof import prove_that_it_moved

pytestmark = pytest.mark.integration
NAME = f"{AGENT}/{TASK}"
FRAMEWORKS = {
    "langgraph": "hooks",
    "openai_agents": "hooks",
    "pydantic_ai": "hooks",
    "claude_agent": "hooks",
    "crewai": "hooks-crewai",
}


async def test_an_agent_that_collapses_is_rolled_back_and_its_next_session_uses_the_other_variant(
    installation: Installation,
) -> None:
    await tell(installation, "langgraph")


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "langgraph"])
async def test_the_same_agent_with_any_other_framework_is_rolled_back_in_the_same_way(
    installation: Installation, framework: str
) -> None:
    await tell(installation, framework)


async def tell(installation: Installation, framework: str) -> None:
    python = python_of(FRAMEWORKS[framework])
    await installation.worker()
    await installation.publish(*invocations("careful", "S" * 30))
    await installation.publish(*invocations("brave", "S" * 30, variant_source="explore"))
    await installation.settled()
    for variant in ("careful", "brave"):
        configuration = json.dumps({"prompt": variant})
        code, _, err = await installation.run_crl("register", NAME, variant, "--configuration", configuration)
        assert code == 0, err
    await installation.order(a_command(m.ActivateVariant, variant_id="brave"))
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda active: active.epoch == 2)

    agent = await asyncio.create_subprocess_exec(
        str(python),
        str(CHECKS / "story.py"),
        framework,
        AGENT,
        TASK,
        env=installation.environment(client_cache_dir=str(installation.folder / "cache"))
        | {"HOME": str(installation.folder), "OTEL_SDK_DISABLED": "true"},
        cwd=installation.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(200):
            out, err = await agent.communicate()
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()
    assert agent.returncode == 0, err.decode()[-3000:]
    *runs, last = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    assert {(run["variant"], run["epoch"], run["prompt"]) for run in runs} == {("brave", 2, "brave")}
    assert (last["variant"], last["epoch"], last["prompt"], last["failed"]) == ("careful", 3, "careful", False)

    event = await installation.wait_for(ROLLBACKS, m.RollbackEvent)
    assert (event.from_variant, event.to_variant, event.epoch) == ("brave", "careful", 3)
    await installation.settled()
    await prove_that_it_moved(installation, event, "joined-agent")
