"""Checks in a separate thread whether a process responds, so that a hung check blocks nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 2.0
"""Seconds between two checks of a process."""


class Pulse:
    """Checks repeatedly, in a separate thread that ends with the program, whether a process responds."""

    def __init__(self, ask: Callable[[], bool], *, pause: float = PAUSE_SECONDS) -> None:
        self._ask, self._pause = ask, pause
        self._answered = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the checks; the start itself counts as a response."""
        self._answered = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the checks, without waiting for the last one to finish."""
        self._stop.set()

    def silent_seconds(self) -> float:
        """Return the number of seconds since the last response."""
        return time.monotonic() - self._answered

    def _beat(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                answered = self._ask()
            except Exception:  # noqa: S112 - any error means no answer
                continue
            if answered:
                self._answered = time.monotonic()
