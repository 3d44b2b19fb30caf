"""The event loop in a client's thread. It needs no thread pool, leaves nothing open, and survives a fork."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

LEAVING: Final = "crl-leaving"
"""Name of a task that closes a connection; it may finish after the work is over."""
STUBBORN_SECONDS: Final = 2.0
"""Seconds allowed for connections to close before they are abandoned."""


class ClientLoop(asyncio.SelectorEventLoop):
    """A loop that looks up host names in a daemon thread, so a hanging DNS query cannot keep a program from exiting.

    asyncio's usual thread pool is joined at exit. It also accepts no work after the interpreter begins to shut down,
    when a finished script may still have to connect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sockets: WeakSet[socket.socket] = WeakSet()
        """All connected sockets that still exist; the selector does not always hold every one of them."""

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket, and remember it so that a forked child can replace it."""
        self.sockets.add(sock)
        await super().sock_connect(sock, address)

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Look up a name in a thread that is never joined; the parameters are those of ``socket.getaddrinfo``."""
        found: asyncio.Future[Any] = self.create_future()

        def look() -> None:
            try:
                answer: Any = socket.getaddrinfo(host, port, family, type, proto, flags)
            except Exception as error:
                answer = error
            with suppress(RuntimeError):
                self.call_soon_threadsafe(_settle, found, answer)

        try:
            threading.Thread(target=look, name="crl-resolve-name", daemon=True).start()
        except RuntimeError:
            look()  # a program that is ending cannot start threads
        return await found


def _settle(found: asyncio.Future[Any], answer: Any) -> None:
    if found.done():
        return
    if isinstance(answer, Exception):
        found.set_exception(answer)
    else:
        found.set_result(answer)


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Let closing tasks finish, cancel the others, and close the loop; tasks that do not end are abandoned."""
    try:
        loop.run_until_complete(_ended(loop))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own switch
    finally:
        loop.close()


async def _ended(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    if leaving := [task for task in tasks if task.get_name() == LEAVING]:
        await asyncio.wait(leaving, timeout=STUBBORN_SECONDS)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=STUBBORN_SECONDS / 4)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # otherwise asyncio would log an exception that was never retrieved
    for transport in list(getattr(loop, "_transports", {}).values()):
        transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)  # lets each connection run its closing callbacks


_dead_end: list[int] = []


def let_go_of_descriptors(loop: asyncio.AbstractEventLoop) -> None:
    """Replace a forked child's copies of its parent's sockets and selector with /dev/null.

    Closing them through asyncio would unregister the parent's sockets from the shared selector. Keeping them would keep
    the parent's connections open after the parent has closed them. The descriptor numbers stay in use, so late
    references to them do no harm.
    """
    selector = getattr(loop, "_selector", None)
    if selector is None:
        return
    if not _dead_end:
        _dead_end.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    numbers = [key.fd for key in list(selector.get_map().values())]
    numbers += [number for known in list(getattr(loop, "sockets", ())) if (number := known.fileno()) >= 0]
    with suppress(OSError, ValueError, AttributeError):
        numbers.append(selector.fileno())
    for number in numbers:
        with suppress(OSError):
            os.dup2(_dead_end[0], number, inheritable=False)
