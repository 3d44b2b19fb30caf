"""A real MLflow server with SQLite, and the real client as the person who uses it.  Everything is on the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from joins.environments import python_of

STARTED_SECONDS = 120.0
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
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
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, **_QUIET, "HOME": str(folder)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        stores = ("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db")
        places = (*stores, "--default-artifact-root", str(self.folder / "artifacts"))
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        log = self.folder / "mlflow.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._python, "-m", "mlflow", "server", *where, *places],
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + STARTED_SECONDS
        while not self._answers():
            assert self._process.poll() is None, log.read_text()[-2_000:]
            assert time.monotonic() < until, "the MLflow server does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End the server and the processes that it has started, all of which are in its own process group."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    async def client(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """Call functions of ``mlflow.genai`` in a process of their own; return the version in each result, if any."""
        words: Sequence[str | Path] = (self._python, "-c", _PERSON, self.url, json.dumps(calls))
        process = await asyncio.create_subprocess_exec(
            *words, cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2_000:]
        return [json.loads(line) for line in out.splitlines()]


class Prompt:
    """One prompt in the server, whose alias a person reads and moves with the real client."""

    def __init__(self, server: MLflowServer, name: str) -> None:
        self.server, self.name = server, name

    def ref(self, version: int) -> str:
        """Return the ref of a variant that is this version."""
        return f"prompts:/{self.name}/{version}"

    async def create(self, versions: int) -> None:
        """Register the versions, and set the alias to the first."""
        calls = [("register_prompt", {"name": self.name, "template": f"Version {n}"}) for n in range(1, versions + 1)]
        made = await self.server.client(*calls, self._at(1, "production"))
        assert made == [*range(1, versions + 1), None]

    async def move(self, version: int, *, by: str = "") -> None:
        """Move the alias; with ``by``, first give a name at the same version."""
        names = [self._at(version, f"by-{by}")] if by else []
        await self.server.client(*names, self._at(version, "production"))

    def _at(self, version: int, alias: str) -> tuple[str, dict[str, Any]]:
        return "set_prompt_alias", {"name": self.name, "alias": alias, "version": version}

    async def alias(self) -> int:
        """Return the version at which the real client finds the alias."""
        [version] = await self.server.client(("load_prompt", {"name_or_uri": f"prompts:/{self.name}@production"}))
        return int(version)
