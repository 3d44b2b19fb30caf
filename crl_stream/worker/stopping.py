"""SIGINT and SIGTERM: the process is gone within seconds, whatever it waits for.

Nothing is lost by leaving without the last commit: the partition rows say where to go on.  So a stop that hangs, as
the broker does not answer or the event loop stands still, is cut short by a thread that waits for nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from time import monotonic
from typing import Any, Final

STOP_SECONDS: Final = 4.5
"""From the signal, or from the decision to leave, until the process ends in any case."""
ORDERLY_SECONDS: Final = 3.5
"""The part of these for finishing what is in flight and leaving the group."""
AGAIN_SECONDS: Final = 1.0
"""A second signal later than this ends the process at once; one that comes sooner is the same wish, sent twice."""


class Stopping:
    """Hears the signals from its creation on; needs a running event loop and the main thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.asked = asyncio.Event()
        self.exit_code = 0
        """Exit code of a process that has to be cut short."""
        self._asked_at: float | None = None
        self._armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not ``loop.add_signal_handler``: that waits for a loop which may stand still.
            signal.signal(number, self._hear)

    def _hear(self, *_: Any) -> None:
        if self._asked_at is None:
            self._asked_at = monotonic()
            self.cut_short()
            self._loop.call_soon_threadsafe(self.asked.set)
        elif monotonic() - self._asked_at > AGAIN_SECONDS:
            os._exit(self.exit_code)

    def cut_short(self) -> None:
        """From now on the process has ``STOP_SECONDS``; called again it changes nothing."""
        if not self._armed:
            self._armed = True
            threading.Thread(target=self._leave, name="crl-stop", daemon=True).start()

    def _leave(self) -> None:
        time.sleep(STOP_SECONDS)
        # The logging module may be what hangs.
        text = f"crl worker: did not stop in {STOP_SECONDS:g} s: leaving without the last commit; a restart goes on\n"
        os.write(2, text.encode())
        os._exit(self.exit_code)
