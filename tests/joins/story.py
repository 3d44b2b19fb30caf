"""The same small agent, told what to do line by line, and its story from collapse to proof."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from builders import a_command
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import INVOCATIONS, ROLLBACKS
from joins.proof import prove_that_it_moved

AGENT, TASK = "refund-agent", "refund"
RUNTIME = "runtime-1"
PROGRAMS = Path(__file__).resolve().parent / "programs"


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
        assert line, "the agent ended"
        found: list[list[Any]] = json.loads(line)
        return found


@asynccontextmanager
async def agent(installation: Installation, *words: str | Path, **more: str) -> AsyncIterator[Agent]:
    """Start the program of an agent with ``more`` in its environment, and end it after the block."""
    environment = installation.environment() | {"XDG_CACHE_HOME": str(installation.folder)} | more
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        yield Agent(process)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            await process.communicate()


async def outcomes(installation: Installation, count: int, seconds: float = 60.0) -> list[m.Invocation]:
    """Wait until the log has so many outcomes, and return them."""
    found: list[m.Invocation] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            found = [one for one in await installation.messages(INVOCATIONS) if isinstance(one, m.Invocation)]
            await asyncio.sleep(0.1)
    return found


async def collapse_and_rollback(installation: Installation, told: Agent) -> m.RollbackEvent:
    """Let the active variant of an agent collapse until it is rolled back; return the rollback."""
    await told.do(25)
    await told.do(25, variant="bold")
    await outcomes(installation, 50)
    await installation.order(a_command(m.ActivateVariant, agent_name=AGENT, task_type=TASK, variant_id="bold"))
    done = await told.do(12, epoch=2)
    assert done == [["bold", 2]] * 12
    await outcomes(installation, 62)
    rollback = await fail_until_rolled_back(installation, told, "bold")
    assert (rollback.from_variant, rollback.to_variant) == ("bold", "steady")
    return rollback


async def fail_until_rolled_back(installation: Installation, told: Agent, variant: str) -> m.RollbackEvent:
    """Let an agent fail with the active variant, turn by turn; return the rollback that follows."""
    before = len(await outcomes(installation, 1))
    rolled_back = asyncio.create_task(installation.wait_for(ROLLBACKS, m.RollbackEvent, seconds=120))
    for number in range(1, 31):
        await told.do(1, fails=[variant])
        await outcomes(installation, before + number)
        await installation.settled()
        await asyncio.wait({rolled_back}, timeout=0.2)
        if rolled_back.done():
            break
    rollback: m.RollbackEvent = await rolled_back
    return rollback


async def the_story_of_a_rollback(installation: Installation, told: Agent) -> None:
    """Let the active variant collapse, and prove that the agent's next turn uses the other one."""
    rollback = await collapse_and_rollback(installation, told)
    assert await told.do(1, epoch=rollback.epoch) == [["steady", rollback.epoch]]
    await prove_that_it_moved(installation, rollback, RUNTIME)
