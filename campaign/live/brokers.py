"""The broker of a campaign: the embedded Kafka, whose data and port outlive its process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Self

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.ports import free_port
from crl_stream.settings.model import Client


class Broker:
    """One Kafka node on loopback; started again it has the same data and the same port."""

    def __init__(self, folder: Path, *, heap_mb: int = 512) -> None:
        self.folder = folder
        self.port = free_port()
        self._kafka = EmbeddedBroker(folder, Client().cache_dir, port=self.port, heap_mb=heap_mb)
        self._pid = 0

    @property
    def bootstrap_servers(self) -> str:
        """Its own address; workers may be given a proxy's instead, see ``World.bootstrap_servers``."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "server.log"

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and remove its data."""
        self.go_on()
        await self.stop()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def start(self) -> None:
        """Return when it answers; 3 to 6 seconds, more after a kill."""
        self._pid = (await asyncio.to_thread(self._kafka.start)).pid

    async def stop(self) -> None:
        """SIGTERM, and wait: it ends in order."""
        await asyncio.to_thread(self._kafka.stop)
        self._pid = 0

    async def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        child = self._kafka._child
        if child is not None:
            await asyncio.to_thread(child.wait)
        self._pid = 0

    def pause(self) -> None:
        """SIGSTOP: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)


class GivenBroker(Broker):
    """A broker that somebody else runs: for rounds that leave it alone."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._given = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        """Its address."""
        return self._given
