"""SIGINT and SIGTERM end the process within seconds, no matter what it waits for.

Exiting without the last commit loses nothing, because the partition rows say where to continue. So when a stop hangs,
because the broker does not respond or the event loop is blocked, a separate thread ends the process.
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
"""The longest time from the signal, or the decision to exit, to the end of the process."""
ORDERLY_SECONDS: Final = 3.5
"""The part of ``STOP_SECONDS`` for finishing what is in flight and leaving the group."""
AGAIN_SECONDS: Final = 1.0
"""A second signal later than this ends the process at once; an earlier one counts as a repetition of the first."""


class Stopping:
    """Handles the signals as soon as it is created; create it in the main thread with a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.asked = asyncio.Event()
        self.exit_code = 0
        """The exit code if the process has to be ended by force."""
        self._asked_at: float | None = None
        self._armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not ``loop.add_signal_handler``, which needs the event loop to run: it may be blocked.
            signal.signal(number, self._hear)

    def _hear(self, *_: Any) -> None:
        if self._asked_at is None:
            self._asked_at = monotonic()
            self.cut_short()
            self._loop.call_soon_threadsafe(self.asked.set)
        elif monotonic() - self._asked_at > AGAIN_SECONDS:
            os._exit(self.exit_code)

    def cut_short(self) -> None:
        """End the process after ``STOP_SECONDS``; a second call changes nothing."""
        if not self._armed:
            self._armed = True
            threading.Thread(target=self._leave, name="crl-stop", daemon=True).start()

    def _leave(self) -> None:
        time.sleep(STOP_SECONDS)
        # The logging module may be what hangs.
        text = f"crl worker: did not stop in {STOP_SECONDS:g} s: exiting without the last commit; a restart continues\n"
        os.write(2, text.encode())
        os._exit(self.exit_code)
