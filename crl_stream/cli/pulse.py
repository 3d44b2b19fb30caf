"""Whether something that runs also answers: asked beside the work, so that what is asked may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 2.0
"""Between two questions."""


class Pulse:
    """Asks again and again in a thread of its own, which ends with the program."""

    def __init__(self, ask: Callable[[], bool], *, pause: float = PAUSE_SECONDS) -> None:
        self._ask, self._pause = ask, pause
        self._answered = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Ask from now on; it counts as an answer that it has just started."""
        self._answered = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask no more; does not wait for the last answer."""
        self._stop.set()

    def silent_seconds(self) -> float:
        """Since the last answer."""
        return time.monotonic() - self._answered

    def _beat(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                answered = self._ask()
            except Exception:  # noqa: S112 - whatever goes wrong, it was no answer
                continue
            if answered:
                self._answered = time.monotonic()
