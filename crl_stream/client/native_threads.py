"""Threads of the operating system, also where gevent has put greenlets in their place.

Under gevent's monkey patch a ``threading.Thread`` is a greenlet of the thread that starts it.  Two event loops of
asyncio cannot run in one thread, and one would wait for whatever the agent's greenlets do.  So the client asks for what
gevent has replaced.  Its locks and events stay gevent's, which work across threads and let other greenlets go on.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

_LOOK_SECONDS: Final = 0.01
"""Between two looks whether a thread has ended."""


def make_thread(name: str, run: Callable[[], None]) -> Any:
    """A daemon thread, not started yet, with ``start``, ``is_alive`` and ``join`` as ``threading.Thread`` has them."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return threading.Thread(target=run, name=name, daemon=True)
    # The first hub imports modules.  Two threads that did so at once would wait for each other for ever: the locks of
    # imports are gevent's, and need the hub that is being made.
    sys.modules["gevent"].get_hub()
    return _NativeThread(run, monkey.get_original("_thread", "start_new_thread"))


class _NativeThread:
    """A thread that gevent knows nothing of."""

    def __init__(self, run: Callable[[], None], start_new_thread: Callable[..., Any]) -> None:
        self._run, self._start_new_thread = run, start_new_thread
        self._started = self._ended = False

    def start(self) -> None:
        """As ``threading.Thread``; ``RuntimeError`` when there can be no more threads."""
        self._started = True
        try:
            self._start_new_thread(self._go, ())
        except BaseException:
            self._started = False
            raise

    def _go(self) -> None:
        try:
            self._run()
        finally:
            self._ended = True

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._started and not self._ended

    def join(self, timeout: float) -> None:
        """Wait for its end, at most ``timeout`` seconds; other greenlets go on."""
        until = time.monotonic() + timeout
        while self.is_alive() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
