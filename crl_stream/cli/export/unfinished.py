"""The part of an export that is written so far, and the note beside it that says how far that is.

The note is written after the lines that it counts, so after any interruption the lines beyond it are cut off and
written again: the finished file is the same, byte for byte, as if nothing had happened.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from crl_stream.cli.export.span import Stretch
from crl_stream.cli.whole_file import WholeFile
from crl_stream.errors import UsageError

PART: Final = ".crl-part"
NOTE: Final = ".crl-export"


class Asked(msgspec.Struct, frozen=True):
    """What an export was asked for; only the same request goes on with an unfinished file."""

    what: str
    format: str
    since: str | None
    until: str | None
    agent: str | None
    task: str | None
    cluster: str
    """The cluster's id, so that another cluster's records never end in the same file."""
    prefix: str


class Note(msgspec.Struct):
    """How far an export is: what is left to read, and how many bytes of the file are complete."""

    asked: Asked
    topics: dict[str, str]
    """Id of each topic when the export began, by name: a topic that was made again has other records."""
    left: list[Stretch]
    size: int = 0
    """How many offsets the whole export covers."""
    bytes: int = 0
    lines: int = 0
    unreadable: int = 0
    deleted: int = 0
    """How many offsets the broker deleted before they could be read."""


class Unfinished:
    """The unfinished file of one export; used as a context, it keeps other exports away from the file."""

    def __init__(self, output: Path) -> None:
        self.output = Path(os.path.realpath(output))  # a symbolic link stays: the file that it names is written
        self.part = self.output.with_name(f"{self.output.name}{PART}")
        self._note = WholeFile(self.output.with_name(f"{self.output.name}{NOTE}"))

    def __enter__(self) -> Self:
        try:
            if self.output.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if self.output.exists() and not self.output.is_file():
                # The finished file would take the place of the device or the pipe.
                raise UsageError(
                    f"{self.output} is not a file, so it would be replaced by one.",
                    hint="leave --output out and use > or | of the shell",
                )
            self._file = open(self.part, "ab")  # noqa: PTH123 - closed in __exit__
        except OSError as error:
            raise UsageError(
                f"{self.output} cannot be written: {error.strerror}.", hint="name another file with --output"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UsageError(
                f"Another crl is exporting to {self.output} right now.", hint="wait for it, or name another file"
            ) from error
        except OSError:
            pass  # some file systems have no locks
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self.note() is None:
            self.part.unlink(missing_ok=True)  # nothing was begun

    def note(self) -> Note | None:
        """Return how far an earlier run came; None if there was none, or its note cannot be read."""
        try:
            data = self._note.read()
            return None if data is None else msgspec.json.decode(data, type=Note)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def forget(self) -> None:
        """Begin again: forget what an earlier run wrote."""
        self._note.path.unlink(missing_ok=True)
        self._file.truncate(0)

    def cut(self, note: Note) -> bool:
        """Cut the file to what the note counts; return False if the file is shorter, so that it is no use."""
        if os.fstat(self._file.fileno()).st_size < note.bytes:
            return False
        self._file.truncate(note.bytes)
        return True

    def append(self, data: bytes, note: Note) -> None:
        """Write data, wait until the disk has it, and then note how far the export is."""
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
            note.bytes += len(data)
            self._note.replace(msgspec.json.encode(note))
        except OSError as error:
            raise UsageError(
                f"{self.part} cannot be written: {error.strerror}.",
                hint="make room, then run the same command: it goes on where it stopped",
            ) from error

    def finish(self) -> None:
        """Give the complete file its name, and remove the note."""
        self.part.replace(self.output)
        self._note.path.unlink(missing_ok=True)
