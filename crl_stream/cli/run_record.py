"""Records an installation that runs on this machine, so that a later command can find and stop it.

The program that runs the installation locks ``up.lock`` in the data folder. The lock is released when the program
ends, even if it is killed. ``up.json`` beside it names that program and each process it has started, with process id
and start time. A process is stopped only if both match, never by its name or id alone.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from crl_stream.broker.recorded import Recorded, end, is_locked, recorded
from crl_stream.cli.clock import second_now
from crl_stream.errors import ConfigError

LOCK: Final = "up.lock"
NOTE: Final = "up.json"


class Found(NamedTuple):
    """The contents of ``up.json``."""

    command: str
    """The command that runs the installation: ``crl up`` or ``crl demo``."""
    program: Recorded
    since: str
    processes: dict[str, Recorded]
    """The processes that the program has started, by name; some may have ended."""
    kafka: str = ""
    views: str = ""
    topic_prefix: str = ""
    broker_folder: str = ""
    """Data folder of the embedded broker, if the program started it."""

    def living(self) -> dict[str, Recorded]:
        """Return the processes that are still running."""
        return {name: process for name, process in self.processes.items() if process.lives()}


class RunRecord:
    """The record of an installation that this program runs; ``take`` creates one.

    ``before`` is the record that a killed program left behind; ``ended`` are its processes that were still running.
    """

    def __init__(self, folder: Path, lock: TextIO, command: str) -> None:
        self.folder, self._lock = folder, lock
        # First end the processes left behind; they stay on record until they have ended.
        self.before, self.ended = read(folder), end_left_behind(folder)
        self._found = Found(command, recorded(os.getpid()), second_now(), {})
        self.note()

    def note(self, **fields: Any) -> None:
        """Record more about the installation; ``fields`` are fields of ``Found``."""
        self._found = self._found._replace(**fields)
        found = self._found
        page = found._asdict() | {"program": list(found.program)}
        page["processes"] = {name: list(process) for name, process in found.processes.items()}
        _write(self.folder / NOTE, page)

    def note_process(self, name: str, process: Recorded) -> None:
        """Record a process, replacing the one with the same name."""
        self.note(processes={**self._found.processes, name: process})

    def release(self) -> None:
        """Delete the record of an installation that has ended, and release the lock."""
        forget(self.folder)
        self._lock.close()


def take(folder: Path, command: str) -> RunRecord | None:
    """Become the only program that runs an installation in ``folder``; None if another program does.

    Ends what a killed program has left behind there. Raises ``ConfigError`` if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return RunRecord(folder, lock, command)
    except OSError as error:
        raise ConfigError(
            f"The data folder {folder} cannot be written: {error.strerror or error}.",
            hint="free some space or make it writable; worker.data_dir and CRL_WORKER_DATA_DIR name another folder",
        ) from error


def is_held(folder: Path) -> bool:
    """Return whether a program is running an installation in ``folder``."""
    return is_locked(folder / LOCK)


def read(folder: Path) -> Found | None:
    """Return the record in ``folder``; None if there is none or it cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        page = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        page["program"] = Recorded(*page["program"])
        page["processes"] = {name: Recorded(*process) for name, process in page["processes"].items()}
        return Found(**page)
    return None


def end_left_behind(folder: Path, seconds: float = 3.0) -> dict[str, Recorded]:
    """End the processes that a dead program left behind; returns those that were ended, by name."""
    found = read(folder)
    if found is None:
        return {}
    living = found.living()
    end(living.values(), seconds)
    return living


def forget(folder: Path) -> None:
    """Remove the record; none of its processes may be running."""
    with suppress(OSError):
        (folder / NOTE).unlink(missing_ok=True)


def _write(path: Path, page: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(page), encoding="utf-8")
    partial.replace(path)
