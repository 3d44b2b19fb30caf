"""A real Chromium that a test drives, in a process of its own; without one, the test is skipped and says so."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joins.environments import python_of
from source_tree import environment_of_this_checkout

FOLDER = Path(__file__).resolve().parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Chromium:
    """Sends requests to ``look.py``; every method is one of ``Looker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        async def ask(*args: Any, **more: Any) -> Any:
            return await self.ask(name, args, more)

        return ask

    async def ask(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": name, "args": args, "more": more}).encode() + b"\n")
        await self._process.stdin.drain()
        return await self.answer()

    async def answer(self) -> Any:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the browser has ended"
        answered = json.loads(line)
        assert "error" not in answered, answered["error"]
        return answered["result"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Start a browser; the test is skipped if the packages or the browser are missing."""
    python = python_of("browser")
    axe = python.parent.parent / "npm" / "node_modules" / "axe-core" / "axe.min.js"
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs Chromium, for example Debian's: apt-get install chromium")
    if not axe.exists():
        pytest.skip("needs axe-core, which scripts/environment browser installs if there is npm")
    process = await asyncio.create_subprocess_exec(
        python,
        str(FOLDER / "look.py"),
        program,
        str(axe),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
        env=environment_of_this_checkout(),
    )
    try:
        browser = Chromium(process)
        assert await browser.answer() == "ready"
        yield browser
    finally:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
