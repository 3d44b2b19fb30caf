"""What a process lives through: it forks, and it ends.

Whatever has a thread or a queue registers here.  In a forked child ``forked`` is called, before any other code of the
child runs; at the end of the program ``at_exit`` is called with the deadline that all share.
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
"""How long the end of a program may be held up, for all clients together."""


class Member(Protocol):
    """Something with a thread, or with messages that wait."""

    def forked(self) -> None:
        """Called in a child, in which the threads of the parent do not exist."""
        ...

    def at_exit(self, deadline: float) -> None:
        """Called at the end; be done by ``deadline`` (of ``time.monotonic``)."""
        ...


_queues: WeakSet[Any] = WeakSet()
"""Those that send what waits; before the threads end that do it."""
_threads: WeakSet[Any] = WeakSet()
_left_behind: list[Any] = []
"""What a child has of its parent's threads: never collected, since collecting closes what is the parent's too."""
_lock = threading.Lock()
_at_end_of: set[int] = set()
"""Process ids whose end is taken care of beside ``atexit``."""


def outlives(thread: Member) -> None:
    """Register a thread."""
    with _lock:
        _threads.add(thread)


def waits(queue: Member) -> None:
    """Register what has something to send at the end."""
    with _lock:
        _queues.add(queue)
    notice_the_end()


class _Anchor:
    """What a library's register of things to do after a fork holds on to."""


_anchor = _Anchor()


def notice_the_end() -> None:
    """Have this process's end noticed also where ``atexit`` is not run: in children of ``multiprocessing`` and Celery.

    The former leave by ``os._exit`` after what their own library has registered.  A child empties that register when it
    begins its work, which may be after a client was made at import.
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
    """Celery's processes leave by ``os._exit`` too, each after a signal of its own."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        with suppress(Exception):
            # Connected once, however often it is asked for; children inherit it.
            signals.worker_process_shutdown.connect(_end_of_process, weak=False, dispatch_uid="crl-stream")


def _end_of_process(**_: Any) -> None:
    end()


def end() -> None:
    """Send what waits and end the threads, within ``EXIT_SECONDS``."""
    deadline = time.monotonic() + EXIT_SECONDS
    for members in (_queues, _threads):
        for member in list(members):
            with suppress(Exception):
                member.at_exit(deadline)


def _forked() -> None:
    global _lock  # noqa: PLW0603 - the parent may have held it
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
