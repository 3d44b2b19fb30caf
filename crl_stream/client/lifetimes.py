"""Handles forks and the end of a process.

Every object with a thread or a queue registers here as a member. In a forked child, ``forked`` is called before the
child runs any other code. At the end of the program, ``at_exit`` is called with a deadline that all members share.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Final, Protocol
from weakref import WeakSet

from crl_stream.client.troubles import forget_threads

EXIT_SECONDS: Final = 2.0
"""Seconds that all clients together may delay the end of a program."""


class Member(Protocol):
    """An object that has a thread or waiting messages."""

    def forked(self) -> None:
        """Handle a fork; called in the child, where the parent's threads do not exist."""
        ...

    def at_exit(self, deadline: float) -> None:
        """Handle the end of the program; finish by ``deadline``, a time of ``time.monotonic``."""
        ...


_queues: WeakSet[Any] = WeakSet()
"""Members with messages to send; they are handled first, before the sending threads end."""
_threads: WeakSet[Any] = WeakSet()
_left_behind: list[Any] = []
"""A child's copies of its parent's threads. They are never collected, because that would close the parent's sockets."""
_lock = threading.Lock()
_at_end_of: set[int] = set()
"""Ids of the processes in which ``notice_the_end`` has already run."""


def outlives(thread: Member) -> None:
    """Register a thread."""
    with _lock:
        _threads.add(thread)


def waits(queue: Member) -> None:
    """Register a member that may have messages to send at the end."""
    with _lock:
        _queues.add(queue)
    notice_the_end()


class _Anchor:
    """The object for which after-fork functions are registered with a multiprocessing library."""


_anchor = _Anchor()


def notice_the_end() -> None:
    """Notice the end of this process even where ``atexit`` does not run: in children of ``multiprocessing`` and Celery.

    A ``multiprocessing`` child exits with ``os._exit``, after it has run the functions registered with its library. It
    empties that registry when it starts work, possibly after an import has already created a client.
    """
    _notice_celery()
    if os.getpid() in _at_end_of:
        return
    _at_end_of.add(os.getpid())
    for library in ("multiprocessing", "billiard"):
        package, utilities = sys.modules.get(library), sys.modules.get(f"{library}.util")
        if package is None or utilities is None:
            continue

        def register(_: Any, utilities: Any = utilities) -> None:
            utilities.Finalize(None, end, exitpriority=100)

        with suppress(Exception):
            utilities.register_after_fork(_anchor, register)
            if package.parent_process() is not None:
                register(None)


def _notice_celery() -> None:
    """Notice the end of Celery's processes, which send a signal and then exit with ``os._exit``."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        with suppress(Exception):
            # Connect only once; children inherit the connection.
            signals.worker_process_shutdown.connect(_end_of_process, weak=False, dispatch_uid="crl-stream")


def _end_of_process(**_: Any) -> None:
    end()


def end() -> None:
    """Send waiting messages and end the threads, within ``EXIT_SECONDS``."""
    deadline = time.monotonic() + EXIT_SECONDS
    for members in (_queues, _threads):
        for member in list(members):
            with suppress(Exception):
                member.at_exit(deadline)


def _forked() -> None:
    global _lock  # noqa: PLW0603 - the parent may have held the lock
    _lock = threading.Lock()
    _left_behind.extend(_threads)
    threads, queues = list(_threads), list(_queues)
    _threads.clear()
    forget_threads()
    for member in (*threads, *queues):
        with suppress(Exception):
            member.forked()


atexit.register(end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
