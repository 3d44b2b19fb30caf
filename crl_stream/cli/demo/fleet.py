"""Several runtime processes and their reports."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from crl_stream.core.identity import TaskKey
from crl_stream.settings import Settings


class Fleet:
    """The demo's runtimes: ``size`` processes that work on one task."""

    def __init__(
        self, settings: Settings, key: TaskKey, size: int, *, default: str, qualities: Mapping[str, float]
    ) -> None:
        self.settings, self.key = settings, key
        self.default, self.qualities = default, qualities
        self.names = [f"runtime-{number + 1}" for number in range(size)]
        self.reports: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """The invocations of each runtime, in order."""
        self.stats: dict[str, dict[str, int]] = {}
        self._kept: tempfile.TemporaryDirectory[str] | None = None
        self._processes: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()

    async def start(self) -> None:
        """Start all runtimes.

        Each run uses a new cache folder. A cache from an earlier demo could name the same task on another Kafka at the
        same address, and would then determine the variant of the first invocations.
        """
        self._kept = tempfile.TemporaryDirectory(prefix="crl-demo-", ignore_cleanup_errors=True)
        for number, name in enumerate(self.names):
            arguments = ["--agent", self.key.agent_name, "--task", self.key.task_type, "--name", name]
            arguments += ["--number", str(number), "--default", self.default]
            for variant_id, quality in self.qualities.items():
                arguments += ["--quality", f"{variant_id}={quality}"]
            arguments += ["--set", f"kafka.bootstrap_servers={self.settings.kafka.bootstrap_servers}"]
            arguments += ["--set", f"kafka.topic_prefix={self.settings.kafka.topic_prefix}"]
            arguments += ["--set", f"client.cache_dir={self._kept.name}"]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "crl_stream.cli.demo.runtime", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            self._processes.append(process)
            self._readers.append(asyncio.create_task(self._read(name, process)))

    async def tell(self, line: str) -> None:
        """Send a line of text to every runtime."""
        for process in self._processes:
            if process.stdin is not None and process.returncode is None:
                process.stdin.write(f"{line}\n".encode())
                await process.stdin.drain()

    async def wait_for(self, true: Callable[[], bool]) -> None:
        """Wait until ``true()`` holds; it is checked after each report."""
        async with self._news:
            await self._news.wait_for(true)

    def invocations(self, variant_id: str, epoch: int) -> int:
        """Count the invocations that used a variant in an epoch."""
        return sum(r["variant_id"] == variant_id and r["epoch"] == epoch for rs in self.reports.values() for r in rs)

    def failures(self, variant_id: str) -> int:
        """Count the failed invocations of a variant."""
        return sum(
            r["status"] == "failure" and r["variant_id"] == variant_id for rs in self.reports.values() for r in rs
        )

    async def stop(self, seconds: float = 15.0) -> None:
        """Let every runtime finish and close; kill those still running after ``seconds``."""
        with suppress(ConnectionError):
            await self.tell("stop")
        ends = [asyncio.create_task(process.wait()) for process in self._processes]
        if ends:
            await asyncio.wait(ends, timeout=seconds)
        for process in self._processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*ends, *self._readers, return_exceptions=True)
        if self._kept is not None:
            self._kept.cleanup()

    async def _read(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            report = json.loads(line)
            async with self._news:
                if "stats" in report:
                    self.stats[name] = report["stats"]
                else:
                    self.reports[name].append(report)
                self._news.notify_all()
