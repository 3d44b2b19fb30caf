"""A real MLflow server with SQLite, and the real client as the person who uses it.  Everything is on the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
from joins.environments import python_of

STARTED_SECONDS = 120.0
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"}
_PERSON = """
import json, mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
for name, arguments in json.loads(sys.argv[2]):
    done = getattr(mlflow.genai, name)(**arguments)
    print(json.dumps(getattr(done, "version", None)))
"""


class MLflowServer:
    """The server of the package ``mlflow``; it may be stopped and started again with the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._python = folder, python_of("mirrors")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **_QUIET, "HOME": str(self.folder)}

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        stores = ("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db")
        places = (*stores, "--default-artifact-root", str(self.folder / "artifacts"))
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._python, "-m", "mlflow", "server", *where, *places],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + STARTED_SECONDS
        async with aiohttp.ClientSession() as session:
            while True:
                assert self.process.poll() is None, (self.folder / "mlflow.log").read_text()[-2_000:]
                assert time.monotonic() < until, "the MLflow server does not answer"
                try:
                    async with session.get(f"{self.url}/health") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)

    def stop(self) -> None:
        """End the server and the processes that it has started, all of which are in its own process group."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None

    async def client(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """Call functions of ``mlflow.genai`` in a process of their own; return the version in each result, if any."""
        words: Sequence[str | Path] = (self._python, "-c", _PERSON, self.url, json.dumps(calls))
        process = await asyncio.create_subprocess_exec(
            *words, cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2_000:]
        return [json.loads(line) for line in out.splitlines()]

    async def alias(self, prompt: str = "refund", alias: str = "production") -> int:
        """Return the version at which the real client finds the alias."""
        [version] = await self.client(("load_prompt", {"name_or_uri": f"prompts:/{prompt}@{alias}"}))
        return int(version)
