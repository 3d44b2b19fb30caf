"""The examples with hooks, on real Kafka: their outcomes arrive, and joining costs the lines that the docs promise."""

from __future__ import annotations

import asyncio
import re

import pytest
from installation import Installation
from source_tree import ROOT

from crl_stream.core import messages as m
from crl_stream.wire.topics import INVOCATIONS
from joins.environments import python_of

EXAMPLES = ("04_langgraph_hook.py", "05_openai_agents_hook.py")


@pytest.mark.integration
@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_publishes_one_outcome_for_each_conversation(installation: Installation, name: str) -> None:
    agent = await asyncio.create_subprocess_exec(
        str(python_of("hooks")),
        str(ROOT / "examples" / name),
        env=installation.environment(client_cache_dir=str(installation.folder / "cache")),
        cwd=installation.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(agent.communicate(), 120)
    assert (agent.returncode, out.decode().splitlines()) == (0, ["careful: Answer kindly."] * 10), err.decode()
    found = [one for one in await installation.messages(INVOCATIONS) if isinstance(one, m.Invocation)]
    assert {one.session_id for one in found} == {f"conversation-{number}" for number in range(10)}
    assert {(one.status, one.variant_id, one.tokens_input) for one in found} == {("success", "careful", 120)}
    assert len(found) == 10


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_hook_costs_two_imports_and_two_lines(name: str) -> None:
    lines = (ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()
    joined = [line.strip() for line in lines if re.search(r"  # joins\b", line)]
    imports = [line for line in joined if line.startswith("from crl_stream")]
    assert (len(imports), len(joined) - len(imports)) == (2, 2)
    assert imports == [line for line in lines if line.startswith("from crl_stream")]
