"""What is written down about an installation that runs on this machine, so that a later command can find and end it.

``up.lock`` in the data folder is held by the program that runs the installation, and by nothing else: a program that
was killed holds nothing.  ``up.json`` beside it names that program and each process it has started, with the time of
its start.  Processes are ended by both together, never by a name or by a number alone.
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
    """What the note of a data folder says."""

    command: str
    """``crl up`` or ``crl demo``."""
    program: Recorded
    since: str
    processes: dict[str, Recorded]
    """The processes that it has started, by name; some may have ended."""
    kafka: str = ""
    views: str = ""
    topic_prefix: str = ""
    broker_folder: str = ""
    """Data folder of the embedded broker, when the program started it."""

    def living(self) -> dict[str, Recorded]:
        """The processes that live."""
        return {name: process for name, process in self.processes.items() if process.lives()}


class RunRecord:
    """The record of an installation that this program runs; ``take`` makes one.

    ``before`` is what a program that was killed has left behind, ``ended`` those of its processes that lived still.
    """

    def __init__(self, folder: Path, lock: TextIO, command: str) -> None:
        self.folder, self._lock = folder, lock
        # First these: they are on record until they have ended.
        self.before, self.ended = read(folder), end_left_behind(folder)
        self._found = Found(command, recorded(os.getpid()), second_now(), {})
        self.note()

    def note(self, **fields: Any) -> None:
        """Write down more about the installation: fields of ``Found``."""
        self._found = self._found._replace(**fields)
        found = self._found
        page = found._asdict() | {"program": list(found.program)}
        page["processes"] = {name: list(process) for name, process in found.processes.items()}
        _write(self.folder / NOTE, page)

    def note_process(self, name: str, process: Recorded) -> None:
        """Write a process down, in place of the one that had its name."""
        self.note(processes={**self._found.processes, name: process})

    def release(self) -> None:
        """The installation has ended: forget it and let the next one in."""
        forget(self.folder)
        self._lock.close()


def take(folder: Path, command: str) -> RunRecord | None:
    """Be the one program that runs an installation in ``folder``; None when another one does.

    Ends what a program that was killed has left behind there.  ``ConfigError`` when nothing can be written.
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
    """Whether a program runs an installation in ``folder`` now."""
    return is_locked(folder / LOCK)


def read(folder: Path) -> Found | None:
    """The note of ``folder``; None when there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        page = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        page["program"] = Recorded(*page["program"])
        page["processes"] = {name: Recorded(*process) for name, process in page["processes"].items()}
        return Found(**page)
    return None


def end_left_behind(folder: Path, seconds: float = 3.0) -> dict[str, Recorded]:
    """End what the note of a program that no longer lives has left behind; returns what was ended, by name."""
    found = read(folder)
    if found is None:
        return {}
    living = found.living()
    end(living.values(), seconds)
    return living


def forget(folder: Path) -> None:
    """Remove the note: nothing that it names lives."""
    with suppress(OSError):
        (folder / NOTE).unlink(missing_ok=True)


def _write(path: Path, page: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(page), encoding="utf-8")
    partial.replace(path)
