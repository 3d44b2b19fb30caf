"""Operating-system threads, even where gevent has replaced threads with greenlets.

Under gevent's monkey patch, a ``threading.Thread`` is a greenlet in the thread that starts it. Two asyncio event loops
cannot run in one thread, and a loop would have to wait for the agent's greenlets. So the client uses the original
threads. Its locks and events are still gevent's; they work across threads and let other greenlets run.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

_LOOK_SECONDS: Final = 0.01
"""Seconds between two checks of whether a thread has ended."""


def make_thread(name: str, run: Callable[[], None]) -> Any:
    """Return an unstarted daemon thread with ``start``, ``is_alive`` and ``join`` as in ``threading.Thread``."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return threading.Thread(target=run, name=name, daemon=True)
    # Creating the first hub imports modules. Two threads doing so at once would deadlock, because gevent's import locks
    # need the hub that is being created.
    sys.modules["gevent"].get_hub()
    return _NativeThread(run, monkey.get_original("_thread", "start_new_thread"))


class _NativeThread:
    """A thread that gevent does not know about."""

    def __init__(self, run: Callable[[], None], start_new_thread: Callable[..., Any]) -> None:
        self._run, self._start_new_thread = run, start_new_thread
        self._started = self._ended = False

    def start(self) -> None:
        """Start the thread; raises ``RuntimeError`` if no more threads can be started."""
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
        """Return whether the thread is running."""
        return self._started and not self._ended

    def join(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for the thread to end, while other greenlets run."""
        until = time.monotonic() + timeout
        while self.is_alive() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
