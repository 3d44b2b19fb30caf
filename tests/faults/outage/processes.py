"""The processes of a scene: a supervised worker, and a command that runs beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import forked
from installation import Installation, WorkerProcess

from crl_stream.settings.model import Worker

PATIENCE = 240.0


class Supervised:
    """A process that is restarted one second after it ends."""

    def __init__(self, installation: Installation, program: tuple[str, ...]) -> None:
        self.installation, self.program, self.codes = installation, program, list[int]()
        self.worker = self._start()
        self.logs = [self.worker.log]
        self.task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self.codes.append(await asyncio.to_thread(self.worker.process.wait))
            await asyncio.sleep(1.0)
            self.worker = self._start()
            self.logs.append(self.worker.log)

    def _start(self) -> WorkerProcess:
        # Use the product's default session timeout: that of the quick tests is too short for a busy machine.
        worker = Worker()
        timing = {
            "session_timeout_seconds": worker.session_timeout_seconds,
            "heartbeat_seconds": worker.heartbeat_seconds,
        }
        return self.installation.start_worker(
            self.program, **{f"worker_{name}": str(value) for name, value in timing.items()}
        )

    async def readiness(self) -> tuple[bool, str]:
        """Return whether the process is ready, and the names of the findings that keep it from being ready."""
        try:
            status, page = await asyncio.wait_for(self.worker.get("/readyz"), 2.0)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False, "down"
        return status == 200, ", ".join(sorted({f["name"] for f in page["findings"] if f["trouble"]}))

    def ends(self) -> str:
        """Return the exit codes, each with the first CRITICAL line of the log."""
        said = []
        for code, log in zip(self.codes, self.logs, strict=False):
            lines = [line.partition(": ")[2] for line in log.read_text().splitlines() if " CRITICAL " in line]
            said.append(f"{code} ({lines[0] if lines else 'stopped on request'})")
        return ", ".join(said) or "none"

    def end(self) -> None:
        self.task.cancel()
        if self.worker.process.poll() is None:
            self.worker.kill()


class Command:
    """A command that runs in the background."""

    def __init__(self, installation: Installation, folder: Path, *words: str) -> None:
        self.out, self.err = (folder / f"{words[0]}.{name}" for name in ("out", "err"))
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = forked.start(("crl_stream", *words), installation.environment(), folder, out, err)

    def said(self) -> str:
        """Return what the command has written to stderr, joined into one line."""
        return " / ".join(self.err.read_text().splitlines())

    async def says(self, words: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while words not in self.said():
                await asyncio.sleep(0.05)

    async def ends(self) -> int:
        return await asyncio.to_thread(self.process.wait)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
