"""Operating-system locks on files, which are released however the process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crl_stream.errors import UsageError

WRITER, ARCHIVER, TOUCH = ".writer.lock", ".archiver.lock", ".touch.lock"


class HeldLock:
    """A lock held until ``release`` or the end of the process; raises ``UsageError`` if another process holds it.

    The file names the holder, so that a refused process can report it. It remains after the lock is released.
    """

    def __init__(self, path: Path, *, taken: str, hint: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 100, 0).decode("utf-8", "replace").strip()
            os.close(self._file)
            raise UsageError(f"{taken} ({holder}).", hint=hint) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)

    def is_there(self) -> bool:
        """Return whether others can see the lock; False if its file or folder was deleted or replaced."""
        return self._file >= 0 and leads_to(self._path, self._file)

    def release(self) -> None:
        """Release the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def touching(folder: Path) -> Iterator[None]:
    """Lock the files of a folder briefly, so that only one process at a time appends to them or replaces them."""
    path = folder / TOUCH
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not leads_to(path, file):
                continue  # deleted while we waited: the next process would not see our lock
            yield
        finally:
            os.close(file)
        return


def leads_to(path: Path, file: int) -> bool:
    """Return whether a path still refers to the open file."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    ours = os.fstat(file)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that new and renamed files survive a power failure."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
