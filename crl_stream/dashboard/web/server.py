"""Serves the dashboard without a worker, until the process is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from yarl import URL

from crl_stream.broker.ports import free_port, why_not_bindable
from crl_stream.dashboard.web.access import make_rules
from crl_stream.dashboard.web.connections import keep_closing_idle
from crl_stream.dashboard.web.doors import BASE, doors_of
from crl_stream.dashboard.web.routes import Dashboard
from crl_stream.errors import UsageError
from crl_stream.settings import Settings

log = logging.getLogger(__name__)

EVERY_ADDRESS: Final = frozenset(("0.0.0.0", "::"))  # noqa: S104 - only compared, nothing binds to it
SHUTDOWN_SECONDS: Final = 2.0


def make_dashboard(settings: Settings, host: str, url: URL | None = None) -> Dashboard:
    """Return the dashboard for a server that listens on ``host`` and is known as ``url``.

    Raises ``ConfigError`` if it would be open to strangers.
    """
    known_as = {socket.gethostname()} | ({url.host} if url is not None and url.host else set())
    rules = make_rules(settings, host, known_as)
    return Dashboard(settings, rules, doors_of(settings), environment=settings.kafka.topic_prefix.strip(".-_"))


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve the dashboard until SIGINT or SIGTERM; ``announce`` gets its address once it answers."""
    host, port = settings.web.host, settings.web.port
    dashboard = make_dashboard(settings, host)
    if (why := why_not_bindable(port, host)) is not None:
        raise UsageError(
            f"The dashboard cannot listen on {host}, port {port}: {why}.",
            hint="--set web.port=0 picks a free port; web.host must be an address of this machine",
        )
    port = port or free_port(host)
    named = socket.gethostname() if host in EVERY_ADDRESS else f"[{host}]" if ":" in host else host
    url = f"http://{named}:{port}"
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(dashboard, host, port, lambda: announce(url)))


async def _serve(dashboard: Dashboard, host: str, port: int, announce: Callable[[], None]) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows; Ctrl-C still raises there
            loop.add_signal_handler(number, asked.set)
    app = web.Application()
    dashboard.add_to(app)
    app.router.add_get("/", _to_dashboard)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    closing = asyncio.create_task(keep_closing_idle(lambda: runner.server))
    try:
        await web.TCPSite(runner, host, port).start()
        announce()
        await asked.wait()
    finally:
        closing.cancel()
        await runner.cleanup()


async def _to_dashboard(_request: web.Request) -> Any:
    return web.Response(status=303, headers={"Location": f"{BASE}/"})
