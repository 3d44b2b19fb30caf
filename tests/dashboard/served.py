"""A dashboard on a real socket, whose fleet is that of the golden hour, without a Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from yarl import URL

from crl_stream.dashboard.web.doors import BASE
from crl_stream.dashboard.web.hub import Hub, now_ms
from crl_stream.dashboard.web.routes import Dashboard
from crl_stream.dashboard.web.server import make_dashboard
from crl_stream.settings import Settings, load_settings
from crl_stream.worker.dashboard_process import only_for
from crl_stream.worker.dashboard_relay import Relay
from crl_stream.worker.views.gate import make_gate
from dashboard.golden_topics import shared_golden_fleet

ACTOR = "ada"


class StillHub(Hub):
    """A hub whose fleet is known and does not change by itself."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.kafka)
        self.fleet = shared_golden_fleet()
        self.trouble = ""

    @property
    def live(self) -> bool:
        """Whether nothing is wrong."""
        return not self.trouble

    async def view(self) -> bool:
        """Return at once."""
        return True


class Served(NamedTuple):
    """A dashboard that answers at ``url``."""

    url: str
    dashboard: Dashboard
    settings: Settings
    runner: web.AppRunner

    def link(self) -> str:
        """Return an address that opens it once."""
        return f"{self.url}{BASE}/enter?token={self.dashboard.doors.mint(ACTOR, now_ms())}"


def some_settings(folder: Path, **flags: Any) -> Settings:
    """Return settings of which only the flags differ from the defaults; Kafka is nowhere."""
    given = {"kafka.bootstrap_servers": "127.0.0.1:1", "worker.data_dir": str(folder)}
    return load_settings(
        environment={}, flags=given | {name.replace("__", "."): value for name, value in flags.items()}
    )


class RelayHere(Relay):
    """A relay to a dashboard of this process; everything else is as in a worker."""

    def __init__(self, settings: Settings, host: str, dashboard: Dashboard) -> None:
        super().__init__(settings, host, URL(f"http://{host}"))
        self._dashboard = dashboard
        self._runner: web.AppRunner | None = None

    async def _started(self) -> None:
        if self._runner is None:
            app = web.Application(middlewares=[only_for(self.secret)])
            self._dashboard.add_to(app)
            self._runner, self.port = await _listening(app)
        self._open_session()

    async def close(self) -> None:
        """Close both ends."""
        await super().close()
        if self._runner is not None:
            await self._runner.cleanup()


async def _listening(app: web.Application) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


@asynccontextmanager
async def serving(
    folder: Path, *, host: str = "127.0.0.1", relayed: bool = False, **flags: Any
) -> AsyncIterator[Served]:
    """Serve a dashboard beside the JSON views' gate; ``relayed`` as a worker does, through its relay."""
    settings = some_settings(folder, **flags)
    dashboard = make_dashboard(settings, host)
    dashboard.hub = StillHub(settings)
    token = settings.worker.web_token.get_secret_value()
    app = web.Application(middlewares=[make_gate(host, URL(f"http://{host}"), token)])
    (RelayHere(settings, host, dashboard) if relayed else dashboard).add_to(app)
    runner, port = await _listening(app)
    try:
        yield Served(f"http://127.0.0.1:{port}", dashboard, settings, runner)
    finally:
        await runner.cleanup()
