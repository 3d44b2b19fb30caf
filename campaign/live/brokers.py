"""The broker of a campaign: the embedded Kafka, whose data and ports outlive its process, and the routes to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final, Self

from campaign.live.listeners import listener_properties, stable_ports
from campaign.live.proxy import Proxy
from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.configuration import HOST
from crl_stream.settings.model import Client

ROUTES: Final = 4
"""Number of separate routes, and so of workers that can have one each."""


class Broker:
    """One Kafka node on loopback; a restart keeps its data and its ports.

    The campaign and the oracle reach it directly.  A worker that is to have a bad network uses one of the
    broker's ``routes``; all others keep a good network.
    """

    def __init__(self, folder: Path, *, heap_mb: int = 512) -> None:
        self.folder = folder
        self.port, self._controller, self._guarded, *upstreams = stable_ports(3 + ROUTES)
        self.routes = [Proxy(upstream) for upstream in upstreams]
        self._kafka: EmbeddedBroker | None = None
        self._heap_mb, self._pid = heap_mb, 0
        self._stack = AsyncExitStack()

    @property
    def bootstrap_servers(self) -> str:
        """The broker's own address.  Workers may use a proxy's instead; see ``World.bootstrap_servers``."""
        return f"{HOST}:{self.port}"

    @property
    def guarded_servers(self) -> str:
        """The address where a client must authenticate (``listeners.USER``) and can be denied access."""
        return f"{HOST}:{self._guarded}"

    def address_of(self, route: int) -> str:
        """Return the address for clients on this route."""
        return f"{HOST}:{self.routes[route].port}"

    def route_to(self, address: str) -> Proxy:
        """Return the route with this address."""
        return next(proxy for proxy in self.routes if address == f"{HOST}:{proxy.port}")

    @property
    def log(self) -> Path:
        """The broker's log file."""
        return self.folder / "server.log"

    async def __aenter__(self) -> Self:
        """Start the broker, with a good network on every route."""
        for proxy in self.routes:
            await self._stack.enter_async_context(proxy)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the broker, and remove its data."""
        self.go_on()
        await self.stop()
        await self._stack.aclose()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def start(self) -> None:
        """Start the broker, and return when it responds: after 3 to 6 seconds, or later after a kill."""
        properties = listener_properties(self.port, self._controller, self._guarded, self.routes)
        self._kafka = EmbeddedBroker(
            self.folder, Client().cache_dir, port=self.port, heap_mb=self._heap_mb, properties=properties
        )
        self._pid = (await asyncio.to_thread(self._kafka.start)).pid

    async def stop(self) -> None:
        """Send SIGTERM and wait for a clean shutdown."""
        if self._kafka is not None:
            await asyncio.to_thread(self._kafka.stop)
        self._pid = 0

    async def kill(self) -> None:
        """Kill the broker with ``kill -9``, and wait until its process is gone."""
        self._signal(signal.SIGKILL)
        await self.stop()

    async def ended(self, seconds: float) -> None:
        """Wait until the broker exits on its own; raise ``TimeoutError`` if it does not."""
        assert self._kafka is not None
        async with asyncio.timeout(seconds):
            while await asyncio.to_thread(self._kafka.status) is not None:
                await asyncio.sleep(0.2)
        await self.stop()

    @property
    def alive(self) -> bool:
        """Whether the broker's process exists, paused or not."""
        return self._kafka is not None and self._kafka.status() is not None

    def pause(self) -> None:
        """Pause the broker with SIGSTOP: connections stay open, but requests get no response."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Send SIGCONT, which ends a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)


class GivenBroker(Broker):
    """An existing broker, for rounds that inject no fault into it."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._given = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address."""
        return self._given
