"""The process that serves the dashboard of a worker, so that people who look take no time from the fold.

    python -m crl_stream.worker.dashboard_process     # reads a ``Startup`` from standard input, and prints its port

It listens on loopback, answers only requests that carry the secret of its worker (``dashboard_relay``), and ends when
its standard input ends, which happens however the worker ends.  Once it knows the fleet, its priority is low: on a
busy machine, the fold comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import pickle
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from crl_stream.dashboard.web.connections import log_garbage_in_one_line
from crl_stream.dashboard.web.hub import Hub
from crl_stream.dashboard.web.server import make_dashboard
from crl_stream.worker.dashboard_relay import HOST, PEER, SECRET, Startup
from crl_stream.worker.log_lines import set_up_logging

NICENESS: Final = 10


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the worker ends this one
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    told: Startup = pickle.loads(sys.stdin.buffer.read(size))  # noqa: S301 - it comes from the process that started this
    set_up_logging()
    log_garbage_in_one_line()
    asyncio.run(_serve(told))


async def _serve(told: Startup) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending anyway
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    app = web.Application(middlewares=[only_for(told.secret)])
    dashboard = make_dashboard(told.settings, told.host, told.url)
    dashboard.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        giving_way = asyncio.create_task(_give_way(dashboard.hub))
        await over.wait()
        giving_way.cancel()
    finally:
        await runner.cleanup()


async def _give_way(hub: Hub) -> None:
    """Lower the priority of the process, once the first page can be shown."""
    await hub.known()
    with contextlib.suppress(AttributeError, OSError):  # Windows has no such priorities
        os.nice(NICENESS)


def only_for(secret: str) -> Middleware:
    """Return the middleware that refuses requests without the secret, and restores the address of the sender."""

    @web.middleware
    async def relayed(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get(SECRET, "").encode(errors="replace"), secret.encode()):
            return web.Response(status=403, text="This port is for the worker; open the dashboard at its address.\n")
        return await handler(request.clone(remote=request.headers.get(PEER, "")))

    return relayed


if __name__ == "__main__":
    main()
