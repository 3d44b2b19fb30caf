"""Node, npm and Go, where they are installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Return the path of a program, or skip the test and say why."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def install_packages(folder: Path) -> None:
    """Install the packages of ``package-lock.json``, or skip the test if there is no registry."""
    done = subprocess.run(
        [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install the packages of {folder.name}: {done.stderr.strip()[-300:]}")


async def end(process: asyncio.subprocess.Process) -> None:
    """Terminate a program, and read what it still says, so that its pipes are closed."""
    if process.returncode is None:
        process.terminate()
    async with asyncio.timeout(60):
        await process.communicate()
