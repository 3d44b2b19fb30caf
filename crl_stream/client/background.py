"""An event loop in a thread of its own, so that the client needs none of its caller's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class Background:
    """Runs one coroutine until it ends or is stopped; a daemon, so that it never keeps a program alive."""

    def __init__(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._main = main
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._started = threading.Event()

    def start(self) -> None:
        """Start the thread and wait for its loop."""
        self._thread.start()
        self._started.wait()

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run ``function`` in the loop, soon; nothing happens when the loop has ended."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(function, *arguments)
            except RuntimeError:
                return

    def stop(self, timeout: float = 10.0) -> None:
        """Cancel the coroutine and wait for the thread."""
        if self._task is not None:
            self.call(self._task.cancel)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def join(self, timeout: float) -> bool:
        """Wait for the coroutine to end by itself; False when it has not."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()

            async def work() -> None:
                self._task = asyncio.current_task()
                self._started.set()
                await self._main()

            try:
                runner.run(work())
            except asyncio.CancelledError:
                return
            finally:
                self._started.set()
