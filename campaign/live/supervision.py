"""A service manager for the workers of a world: a worker that ends is restarted, as in any deployment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Final, Self

from campaign.live.workers import Worker, WorkerEnded
from campaign.live.world import World

PAUSE: Final = 0.5
"""Seconds between two checks, and so between two starts of a worker that ends immediately."""
PATIENCE: Final = 180.0
"""Seconds within which all workers must be ready at the end of the block."""


class Supervisor:
    """Within ``async with``, replace each worker that ends with one of the same role and route to the broker.

    Leaving the block waits until all workers are ready.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._known = {worker.name for worker in world.started if not worker.alive}
        self.exits: Counter[int] = Counter()
        """Exit codes of the workers that ended during the block."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start watching."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        """Wait until all workers are ready, then stop watching."""
        try:
            if kind is None:
                await self.ready()
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def ready(self, seconds: float = PATIENCE) -> None:
        """Wait until all workers are ready, restarting any that end in the meantime."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._attend()
            with suppress(WorkerEnded):
                await self._world.ready(left)
                return
            await asyncio.sleep(PAUSE)
        raise TimeoutError(f"the workers were not ready after {seconds:.0f} s; exit codes {dict(self.exits)}")

    async def _run(self) -> None:
        while True:
            self._attend()
            await asyncio.sleep(PAUSE)

    def _attend(self) -> None:
        for worker in list(self._world.started):
            if worker.name not in self._known and not worker.alive:
                self._known.add(worker.name)
                self.exits[worker.process.returncode] += 1
                self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        self._world.start_worker(role=worker.role, kafka_bootstrap_servers=worker.bootstrap_servers)
