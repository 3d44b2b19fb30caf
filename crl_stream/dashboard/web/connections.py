"""Closes idle connections of a web server, so that they hold few sockets, and only briefly.

aiohttp waits without limit for the headers of a request, and a process has about a thousand sockets.  A connection with
a request that is being answered, such as an open stream, is not idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

IDLE_SECONDS: Final = 10.0
"""How many seconds a connection may stay open without a complete request."""
MOST: Final = 200
"""When more connections than this are open, those without a request are closed after ``CROWDED_SECONDS``."""
CROWDED_SECONDS: Final = 1.0
EVERY_SECONDS: Final = 0.5


async def keep_closing_idle(server: Callable[[], Any]) -> None:
    """Close idle connections of the web server that ``server`` returns (None while there is none), until cancelled."""
    idle: dict[Any, float] = {}
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        found = server()
        if found is not None:
            idle = close_idle(found.connections, idle, monotonic())


def close_idle(connections: list[Any], idle: dict[Any, float], now: float) -> dict[Any, float]:
    """Close ``connections`` that have been idle too long; take and return the time at which each became idle."""
    allowed = IDLE_SECONDS if len(connections) <= MOST else CROWDED_SECONDS
    since = {one: idle.get(one, now) for one in connections if one._current_request is None}  # noqa: SLF001
    for connection, began in since.items():
        if now - began >= allowed:
            connection.force_close()
    return since
