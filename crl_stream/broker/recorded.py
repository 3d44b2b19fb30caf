"""Processes that are written down before they run, so that a later program can find and end them.

A number alone names no process: when one has ended, another one gets its number.  The number and the time of its start
do.  A process is started behind a gate: it waits until it was written down, and ends by itself when the program that
started it dies before that.  So whatever kills the starter, there is no process that is not on record.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

_GATE: Final = 'read -r go && exec "$@" </dev/null'
_SAME_SECONDS: Final = 2.0
"""Start times are counted from the boot, whose time the system knows to a second."""


class Recorded(NamedTuple):
    """One process and no other one."""

    pid: int
    created: float
    """When it started, in seconds since the epoch."""

    def lives(self) -> bool:
        """Whether it runs; one that has ended and waits for its parent does not."""
        return self._process() is not None

    def send(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if (process := self._process()) is not None:
            import psutil

            # psutil looks at the start time once more: a number that has a new owner is left alone.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def is_paused(self) -> bool:
        """Whether somebody has stopped it (SIGSTOP, a debugger): it lives and does nothing."""
        import psutil

        process = self._process()
        with suppress(psutil.Error):
            return process is not None and process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
        return False

    def _process(self) -> Any:
        import psutil

        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _SAME_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def recorded(pid: int) -> Recorded:
    """The process that has this number now; ``ProcessLookupError`` when none has it."""
    import psutil

    try:
        return Recorded(pid, psutil.Process(pid).create_time())
    except psutil.Error as error:
        raise ProcessLookupError(pid) from error


def spawn(
    command: Sequence[str], record: Callable[[subprocess.Popen[bytes], Recorded], None], **options: Any
) -> subprocess.Popen[bytes]:
    """Start ``command`` when ``record`` has written it down; when that raises, nothing has run.

    ``options`` are those of ``subprocess.Popen``, without ``stdin``.  The process has a session of its own: Ctrl-C in
    a terminal is for the program that started it, which ends it in order.
    """
    gated = ["/bin/sh", "-c", _GATE, "sh", *command]
    process = subprocess.Popen(gated, stdin=subprocess.PIPE, start_new_session=True, **options)
    assert process.stdin is not None
    try:
        record(process, recorded(process.pid))
        with suppress(BrokenPipeError):
            process.stdin.write(b"go\n")
            process.stdin.close()
    except BaseException:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.kill()
        process.wait()
        raise
    return process


def end(processes: Iterable[Recorded], seconds: float, *, then_kill: bool = True) -> list[Recorded]:
    """Ask processes to end, wait, and kill what is left after ``seconds``; returns those that had to be killed.

    One that is paused is woken up for it.  Without ``then_kill`` those that are left are returned as they are.
    """
    living = [process for process in processes if process.lives()]
    for process in living:
        process.send(signal.SIGTERM)
        process.send(signal.SIGCONT)
    left = wait_for_end(living, seconds)
    if then_kill:
        for process in left:
            process.send(signal.SIGKILL)
        wait_for_end(left, 2.0)
    return left


def wait_for_end(processes: Iterable[Recorded], seconds: float) -> list[Recorded]:
    """Those that live still after ``seconds``; returns as soon as none does."""
    until = time.monotonic() + seconds
    living = [process for process in processes if process.lives()]
    while living and time.monotonic() < until:
        time.sleep(0.02)
        living = [process for process in living if process.lives()]
    return living


def is_locked(file: Path) -> bool:
    """Whether a living process holds the lock on ``file``; asked without writing anything, False without a file."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False
