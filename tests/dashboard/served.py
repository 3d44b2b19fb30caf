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


@asynccontextmanager
async def serving(folder: Path, *, host: str = "127.0.0.1", **flags: Any) -> AsyncIterator[Served]:
    """Serve a dashboard as a worker does, beside the JSON views' gate."""
    settings = some_settings(folder, **flags)
    dashboard = make_dashboard(settings, host)
    dashboard.hub = StillHub(settings)
    token = settings.worker.web_token.get_secret_value()
    app = web.Application(middlewares=[make_gate(host, URL(f"http://{host}"), token)])
    dashboard.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Served(f"http://127.0.0.1:{runner.addresses[0][1]}", dashboard, settings, runner)
    finally:
        await runner.cleanup()
