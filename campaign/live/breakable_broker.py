"""The embedded Kafka as the campaign breaks it: restarted, killed, paused, with a proxy in front of it per worker.

The harness and the oracle reach it directly; a worker only through its route, so that one worker's network can be bad
while all others' is good.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from campaign.live.proxy import Proxy
from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.configuration import HOST
from crl_stream.broker.ports import bindable, listens
from crl_stream.broker.process import Endpoint
from crl_stream.errors import BrokerError

ROUTES: Final = 4
USER: Final = "campaign"
PASSWORD: Final = "loopback only"  # noqa: S105 - opens a broker of this machine that lives as long as the campaign
GUARDED: Final = "GUARDED"
"""Name of the listener that asks who is there; only its user can be denied something."""


class BreakableBroker:
    """One Kafka node with data that outlives it, ``routes`` proxies, and faults; a context manager.

    ``guarded`` adds the authorizer and a listener with a password, at ``guarded_address``: the campaign's own
    connections are a super user's, ``USER`` may do what no ACL denies.
    """

    def __init__(
        self, folder: Path, cache_dir: Path, *, routes: int = ROUTES, guarded: bool = False, **properties: Any
    ) -> None:
        ports = _ports(routes + 3)
        self.port, self._controller, self._guarded, *upstreams = ports
        self.routes = [Proxy(upstream) for upstream in upstreams]
        self.starts = 0
        self.guarded = guarded
        self._properties = properties
        self._folder, self._cache_dir = folder, cache_dir
        self._broker: EmbeddedBroker | None = None
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        """For the campaign's own connections: no fault of the network is on this way."""
        return f"{HOST}:{self.port}"

    @property
    def guarded_address(self) -> str:
        """For a client that says who it is (SASL_PLAINTEXT, PLAIN)."""
        return f"{HOST}:{self._guarded}"

    def address_of(self, route: int) -> str:
        """For the client of one route."""
        return f"{HOST}:{self.routes[route].port}"

    async def __aenter__(self) -> Self:
        """Start, with a good network."""
        for proxy in self.routes:
            await self._stack.enter_async_context(proxy)
        self._stack.push_async_callback(self.stop)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop whatever state it is in; the folder stays."""
        self.resume()
        await self._stack.aclose()

    # -- faults ----------------------------------------------------------------------------------------
    async def start(self) -> Endpoint:
        """Start on the data and ports of the last time, and wait until it answers."""
        self._broker = EmbeddedBroker(
            self._folder, self._cache_dir, port=self.port, properties=self._listeners() | self._properties
        )
        endpoint = await asyncio.to_thread(self._broker.start)
        self.starts += 1
        return endpoint

    async def stop(self) -> None:
        """An orderly end (TERM)."""
        if self._broker is not None:
            await asyncio.to_thread(self._broker.stop)

    async def kill(self) -> None:
        """The end of the process without a word (KILL)."""
        self._signal(signal.SIGKILL)
        await self.stop()

    def pause(self) -> None:
        """Let it stand still: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on; nothing when it runs or is gone."""
        if self.pid is not None:
            self._signal(signal.SIGCONT)

    @property
    def pid(self) -> int | None:
        """Of the process, None when none runs."""
        status = None if self._broker is None else self._broker.status()
        return None if status is None else status.pid

    @property
    def log(self) -> str:
        """What it has said since its last start."""
        return (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            raise BrokerError("No broker runs that could be broken.", hint="start it first")
        os.kill(pid, number)

    def _listeners(self) -> dict[str, Any]:
        plain = [("PLAINTEXT", self.port, self.port)]
        plain += [(f"ROUTE{n}", proxy.upstream, proxy.port) for n, proxy in enumerate(self.routes)]
        named = [*plain, *([(GUARDED, self._guarded, self._guarded)] if self.guarded else [])]
        protocols = {name: "PLAINTEXT" for name, *_ in [*plain, ("CONTROLLER",)]}
        found = {
            "controller.quorum.voters": f"1@{HOST}:{self._controller}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port, _ in named)
            + f",CONTROLLER://{HOST}:{self._controller}",
            "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, _, port in named),
        }
        if self.guarded:
            protocols[GUARDED] = "SASL_PLAINTEXT"
            login = "org.apache.kafka.common.security.plain.PlainLoginModule"
            found |= {
                "sasl.enabled.mechanisms": "PLAIN",
                f"listener.name.{GUARDED.lower()}.plain.sasl.jaas.config": (
                    f'{login} required user_{USER}="{PASSWORD}";'
                ),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "true",
            }
        return found | {"listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items())}


def _ports(count: int) -> list[int]:
    """Free ports that no outgoing connection is given while the broker is down: below the ephemeral range."""
    found: set[int] = set()
    random = Random()
    while len(found) < count:
        port = random.randrange(15_000, 32_000)
        if not listens(port) and bindable(port):
            found.add(port)
    return sorted(found)
