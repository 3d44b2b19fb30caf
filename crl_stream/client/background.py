"""An event loop in a separate thread, which runs until it is told to stop.

aiokafka may raise anything at any await: after a long outage, even stopping a consumer raises a ``CancelledError`` that
no caller asked for. So no exception ends the thread. Every attempt at the work is a separate task. When it ends, the
reason is reported and the next attempt begins. An attempt that shows no sign of life is abandoned.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from crl_stream.client.event_loop import ClientLoop, close_loop, let_go_of_descriptors
from crl_stream.client.lifetimes import outlives
from crl_stream.client.native_threads import make_thread
from crl_stream.client.troubles import hushed, note_of_loop

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Longest pause between two attempts, in seconds; short, so that runtimes soon learn of rollbacks after an outage."""
_STEADY_SECONDS: Final = 10.0
"""Seconds after which an attempt counts as a success, so the pause after it is short again."""
_TICK_SECONDS: Final = 1.0
_STUBBORN_SECONDS: Final = 2.0
"""Seconds allowed for a cancelled attempt to end before it is abandoned."""


class Background:
    """Runs ``main`` repeatedly in a daemon thread until it returns or ``stop`` is called.

    ``trouble`` is called with the error when an attempt fails, ``tick`` about once a second. ``main`` calls ``beat`` to
    show that it is alive: after ``patience`` seconds without a beat it is cancelled and restarted (0: never).
    """

    def __init__(
        self,
        name: str,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        trouble: Callable[[BaseException], None] | None = None,
        tick: Callable[[], None] | None = None,
        patience: float = 0.0,
    ) -> None:
        self._main, self._trouble, self._tick, self._patience = main, trouble, tick, patience
        self._thread = make_thread(name, self._run)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._halt: asyncio.Event | None = None
        self._stopping = threading.Event()
        self._beaten = time.monotonic()
        self.attempts = 0
        """Number of attempts that were started."""
        outlives(self)

    def start(self) -> None:
        """Start the thread without waiting for it."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether the thread is running."""
        return bool(self._thread.is_alive())

    @property
    def stopping(self) -> bool:
        """Return whether the thread was told to stop."""
        return self._stopping.is_set()

    def beat(self) -> None:
        """Show that the current attempt is alive."""
        self._beaten = time.monotonic()

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Schedule ``function`` in the loop; do nothing if there is no loop."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *arguments)

    def tell_to_stop(self) -> None:
        """Tell the work to end, without waiting for it."""
        self._stopping.set()
        self.call(self._cancel)

    def stop(self, timeout: float = 10.0) -> bool:
        """Tell the work to end, and wait for it; return False if it has not ended within ``timeout`` seconds."""
        self.tell_to_stop()
        return self.join(timeout)

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the thread to end; return False if it has not."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def at_exit(self, deadline: float) -> None:
        """End the thread cleanly when the program ends, so that it does not outlive the interpreter."""
        self.stop(max(0.05, deadline - time.monotonic()))

    def forked(self) -> None:
        """Forget the thread in a forked child. Its sockets belong to the parent and are not closed."""
        self._stopping.set()
        if self._loop is not None:
            let_go_of_descriptors(self._loop)

    # -- in the thread -----------------------------------------------------------------------------
    def _run(self) -> None:
        with hushed():
            self._go_on()

    def _go_on(self) -> None:
        while not self._stopping.is_set():
            try:
                loop = ClientLoop()
                loop.set_exception_handler(note_of_loop)
                self._loop = loop
                try:
                    if self._drive(loop):
                        return
                finally:
                    close_loop(loop)
            except BaseException as error:  # this loop must never end
                self._report(error)
            self._stopping.wait(FIRST_PAUSE)

    def _drive(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Run the supervisor until it ends; return True if the work is finished."""
        supervisor = loop.create_task(self._supervise())
        while not supervisor.done():
            try:
                loop.run_until_complete(supervisor)
            except (KeyboardInterrupt, SystemExit) as error:
                # asyncio lets KeyboardInterrupt and SystemExit escape from any task or callback, but the loop can
                # continue. The attempt that raised one of them is over; the supervisor notices that next.
                if supervisor.done():
                    raise
                if self._task is None or not self._task.done():
                    self._report(error)
        return supervisor.result()

    async def _supervise(self) -> bool:
        self._halt = asyncio.Event()
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            self.attempts += 1
            self.beat()
            self._task = task = asyncio.ensure_future(self._main())
            error = await self._outcome(task)
            if error is None:
                return True
            if self._stopping.is_set():
                break
            self._report(error)
            if time.monotonic() - began > _STEADY_SECONDS:
                pause = FIRST_PAUSE
            # Spread the attempts of all the fleet's runtimes over time.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._halt.wait(), pause * random.uniform(0.7, 1.0))
            self._ticked()
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    async def _outcome(self, task: asyncio.Task[None]) -> BaseException | None:
        """Return why the attempt is over; None if it returned normally."""
        while True:
            # Unlike awaiting the task, this does not raise the task's exceptions.
            await asyncio.wait({task}, timeout=_TICK_SECONDS)
            if task.done():
                return asyncio.CancelledError("cancelled") if task.cancelled() else task.exception()
            self._ticked()
            silent = time.monotonic() - self._beaten
            if self._stopping.is_set() or 0 < self._patience < silent:
                task.cancel()
                await asyncio.wait({task}, timeout=_STUBBORN_SECONDS)
                return TimeoutError(f"no sign of life for {silent:.0f} s")

    def _cancel(self) -> None:
        if self._halt is not None:
            self._halt.set()
        if self._task is not None:
            self._task.cancel()

    def _report(self, error: BaseException) -> None:
        if self._trouble is not None and not self._stopping.is_set():
            with suppress(Exception):
                self._trouble(error)

    def _ticked(self) -> None:
        if self._tick is not None:
            with suppress(Exception):
                self._tick()
