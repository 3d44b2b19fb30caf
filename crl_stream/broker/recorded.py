"""Processes that are recorded before they run, so that a later program can find and end them.

A process id alone does not identify a process, because ids are reused; the id and the start time together do. A process
is started behind a gate: it waits until it is recorded, and exits if its starter dies before that. So no process is
ever left running unrecorded, whatever kills its starter.
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
"""Tolerance in seconds when start times are compared: the boot time they depend on is known only to the second."""


class Recorded(NamedTuple):
    """One particular process."""

    pid: int
    created: float
    """Start time in seconds since the epoch."""

    def lives(self) -> bool:
        """Return whether the process is running; a zombie does not count."""
        return self._process() is not None

    def send(self, number: int) -> None:
        """Send a signal to the process if it is running."""
        if (process := self._process()) is not None:
            import psutil

            # psutil checks the start time again, so a process that reuses the id gets no signal.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def is_paused(self) -> bool:
        """Return whether the process is paused, by SIGSTOP or a debugger."""
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
    """Return the process that has this id now; raises ``ProcessLookupError`` if there is none."""
    import psutil

    try:
        return Recorded(pid, psutil.Process(pid).create_time())
    except psutil.Error as error:
        raise ProcessLookupError(pid) from error


def spawn(
    command: Sequence[str], record: Callable[[subprocess.Popen[bytes], Recorded], None], **options: Any
) -> subprocess.Popen[bytes]:
    """Start ``command`` after ``record`` has recorded it; if ``record`` raises, the command does not run.

    ``options`` are those of ``subprocess.Popen``, except ``stdin``. The process gets its own session: Ctrl-C in a
    terminal reaches only the program that started it, which can then stop it cleanly.
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
    """Ask processes to end, kill those left after ``seconds``, and return the ones that had to be killed.

    A paused process is resumed so that it can end. Without ``then_kill``, the ones left are returned but not killed.
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
    """Wait up to ``seconds`` for processes to end, and return those still running."""
    until = time.monotonic() + seconds
    living = [process for process in processes if process.lives()]
    while living and time.monotonic() < until:
        time.sleep(0.02)
        living = [process for process in living if process.lives()]
    return living


def is_locked(file: Path) -> bool:
    """Return whether a running process holds the lock on ``file``, without writing to it; False if there is no file."""
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
