"""Replaces a file, so that a reader finds the old content or the new one, even if the writer is killed."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_PART: Final = ".crl-part"


class WholeFile:
    """A file that is only ever replaced as a whole. A symbolic link stays: the file that it names is replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = Path(os.path.realpath(path))
        self._part = self._target.parent / f".{self._target.name}.{os.getpid()}{_PART}"

    def read(self) -> bytes | None:
        """Return the content; None if there is no file."""
        try:
            return self._target.read_bytes()
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """Raise ``OSError`` unless the file can be written; change nothing."""
        self._write_part(b"")
        self._part.unlink()

    def remove_leftovers(self) -> None:
        """Remove the files that killed writers have left."""
        start, end = f".{self._target.name}.", _PART
        with suppress(OSError):
            for found in self._target.parent.iterdir():
                pid = found.name.removeprefix(start).removesuffix(end)
                if found.name == f"{start}{pid}{end}" and pid.isdecimal() and not psutil.pid_exists(int(pid)):
                    with suppress(OSError):
                        found.unlink()

    def replace(self, content: bytes) -> None:
        """Replace the content and wait until it is on disk; if that fails, keep the old file and raise ``OSError``."""
        try:
            self._write_part(content)
            self._part.replace(self._target)
        except BaseException:
            with suppress(OSError):
                self._part.unlink()
            raise
        _flush_folder(self._target.parent)

    def _write_part(self, content: bytes) -> None:
        if self._target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        mode = 0o666
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(self._target.stat().st_mode)
        with suppress(FileNotFoundError):
            self._part.unlink()  # of an earlier process with the same id
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as part:  # noqa: PTH123 - it is already open
            if mode != 0o666 and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)  # the umask does not apply to a mode that a person chose
            part.write(content)
            part.flush()
            os.fsync(descriptor)


def _flush_folder(folder: Path) -> None:
    """Wait until the new name is on disk, on systems where a folder can be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
