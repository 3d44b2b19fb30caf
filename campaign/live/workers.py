"""The worker processes of a world, which can be started, queried, stopped, killed and paused."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

READY_SECONDS: Final = 120.0
"""Seconds after which a worker that is not ready counts as broken; long enough for a busy machine."""
STOP_SECONDS: Final = 60.0
SKIPPED: Final = re.compile(r"(\d+) records from offset \d+ on were already folded and are skipped")
"""Pattern of what a worker logs when it is assigned a partition whose rows are ahead of the committed offset."""


class Worker:
    """One ``crl worker`` process; its log is a file."""

    def __init__(
        self,
        name: str,
        role: str,
        process: subprocess.Popen[bytes],
        url: str,
        log: Path,
        session: aiohttp.ClientSession,
        bootstrap_servers: str,
    ) -> None:
        self.name, self.role, self.process, self.url, self.log = name, role, process, url, log
        self.bootstrap_servers = bootstrap_servers
        """The Kafka address that the worker uses."""
        self._session = session

    @property
    def alive(self) -> bool:
        """Whether the process exists, paused or not."""
        return self.process.poll() is None

    # -- what it says ------------------------------------------------------------------------------
    def said(self, since: int = 0) -> str:
        """Return the worker's log from byte ``since`` on."""
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    async def get(self, path: str) -> tuple[int, Any]:
        """Return status and body of one of the worker's HTTP views, or (0, None) if it does not answer."""
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._session.get(self.url + path, timeout=aiohttp.ClientTimeout(5)) as response:
                return response.status, await response.json()
        return 0, None

    async def figures(self) -> dict[str, Any]:
        """Return the worker's counters and partitions (``/api/worker``), or nothing if it does not answer."""
        status, body = await self.get("/api/worker")
        return body if status == 200 and isinstance(body, dict) else {}

    async def is_ready(self) -> bool:
        """Return whether the worker is working on all partitions that it was given."""
        if self.role == "monitor":
            return bool((await self.figures()).get("ready"))
        status, _ = await self.get("/readyz")
        return status == 200

    async def partitions(self) -> set[int]:
        """Return the partitions of the log that the worker reports as its own."""
        return {each["partition"] for each in (await self.figures()).get("partitions", ())}

    async def ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until the worker is working on all its partitions; raise ``WorkerEnded`` with its last lines if it ends.

        This does not wait for ``/readyz``, which also requires the policy of the worker's settings, because the load
        sends other policies.
        """
        async with asyncio.timeout(seconds):
            while True:
                if not self.alive:
                    raise WorkerEnded(self)
                if await self.is_ready():
                    return
                await asyncio.sleep(0.05)

    # -- actions on it --------------------------------------------------------------------------
    def kill(self) -> None:
        """Kill the process with ``kill -9``."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait until the process ends."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until the process has ended; return its exit code."""
        return await asyncio.to_thread(self.process.wait, seconds)

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM, wait, and return its exit code."""
        self.terminate()
        return await self.ended(seconds)

    def pause(self) -> None:
        """Pause the process with SIGSTOP, which it cannot notice."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Send SIGCONT, which ends a pause."""
        self.process.send_signal(signal.SIGCONT)


class WorkerEnded(RuntimeError):
    """Raised when a worker exits before it becomes ready."""

    def __init__(self, worker: Worker) -> None:
        last = worker.said().strip().splitlines()[-3:]
        super().__init__(f"{worker.name} ended with code {worker.process.returncode}: {' / '.join(last)[-600:]}")
        self.worker = worker
