"""Closes idle connections of a web server, so that they hold few sockets, and only briefly; logs garbage in one line.

aiohttp waits without limit for the headers of a request, and a process has about a thousand sockets.  A connection with
a request that is being answered, such as an open stream, is not idle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.web import RequestPayloadError

IDLE_SECONDS: Final = 10.0
"""How many seconds a connection may stay open without a complete request."""
MOST: Final = 200
"""When more connections than this are open, those without a request are closed after ``CROWDED_SECONDS``."""
CROWDED_SECONDS: Final = 1.0
EVERY_SECONDS: Final = 0.5


async def keep_closing_idle(server: Callable[[], Any]) -> None:
    """Close idle connections of the web server that ``server`` returns (None while there is none), until cancelled."""
    log_garbage_in_one_line()
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


def log_garbage_in_one_line() -> None:
    """Let aiohttp log a request that it cannot read in one line; it would log a traceback for each."""
    server_logger.addFilter(_without_traceback)  # a second time it changes nothing


def _without_traceback(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError | RequestPayloadError):
        record.msg, record.args = "a request cannot be read and was refused: %s", (type(error).__name__,)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = record.exc_text = None
    return True
