"""One file of lines: appended in whole batches, and repaired if it ends in the middle of a line.

A batch counts as written once it is on disk. A process that dies earlier leaves at most the beginning of the batch. A
torn line is cut off when the file is opened, and the unacknowledged batch is repeated. Existing lines are recognised by
their ids, in the file and in the archive of their month.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from crl_stream.telemetry.identities import Identities
from crl_stream.telemetry.locks import sync_folder, touching
from crl_stream.telemetry.reading import archived_file, entries_of, read_entry

log = logging.getLogger(__name__)
_CHUNK: Final = 1 << 16
_TRIES: Final = 3
"""How often to try to write a batch if the file keeps being deleted."""


class Line(NamedTuple):
    """A line of a telemetry file, to be written once."""

    event_id: str
    month: str
    """Month whose archive may contain the line, such as ``2024-11``."""
    data: bytes
    """The bytes of the line, including the line feed."""


class Journal:
    """Appends lines to one file, each id once; for use by one thread at a time, in one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repaired = 0
        """Bytes of torn lines cut off since the start."""
        self._file = -1
        self._size = 0
        self._known = Identities()
        self._archived: dict[str, tuple[tuple[int, int], Identities]] = {}
        with touching(path.parent):
            self._open()

    def append(self, lines: Sequence[Line]) -> int:
        """Write the lines that are neither in the file nor archived; return how many, once they are on disk.

        Raises ``OSError`` if that fails. The batch can then be tried again: a torn line is cut off first.
        """
        for _ in range(_TRIES):
            with touching(self.path.parent):
                if self._is_replaced():
                    self._open()
                fresh: dict[str, bytes] = {}
                for line in lines:
                    if line.event_id not in fresh and not self._is_there(line):
                        fresh[line.event_id] = line.data
                if fresh:
                    self._write(b"".join(fresh.values()))
                for event_id in fresh:
                    self._known.add(event_id)
                # Another program may ignore the lock and delete or replace the file; then the batch is lost with it.
                if not self._is_replaced():
                    return len(fresh)
        raise OSError(errno.ESTALE, f"{self.path.name} keeps being deleted or changed")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except BaseException:
            # If the torn line cannot be cut off now, the next append reopens the file and does it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            self.close()
            raise
        self._size += len(data)

    def _is_replaced(self) -> bool:
        """Return whether the file at the path is gone, was replaced, or was extended or cut by another program."""
        if self._file < 0:
            return True
        try:
            there, ours = self.path.stat(), os.fstat(self._file)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return (there.st_dev, there.st_ino, there.st_size) != (ours.st_dev, ours.st_ino, self._size)

    def _open(self) -> None:
        self.close()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        sync_folder(self.path.parent)
        self._repair()
        self._known = Identities(entry.event_id for entry in entries_of(self.path))

    def _repair(self) -> None:
        """Cut off an incomplete last line: an interrupted write, or blocks that a power failure left empty."""
        size = end = os.fstat(self._file).st_size
        while end:
            start = self._line_start(end)
            line = os.pread(self._file, end - start, start)
            if read_entry(line) is not None:
                if not line.endswith(b"\n"):
                    # Only the line feed is missing: the write was interrupted, or an editor removed it.
                    os.write(self._file, b"\n")
                    size = end = end + 1
                break
            end = start
        if end < size:
            log.warning("%s: cutting off the last %d bytes, which are not a complete line", self.path, size - end)
            os.ftruncate(self._file, end)
            os.fsync(self._file)
            self.repaired += size - end
        self._size = end

    def _line_start(self, end: int) -> int:
        """Return the start of the line that ends at ``end``."""
        at = end - 1
        while at > 0:
            begin = max(0, at - _CHUNK)
            found = os.pread(self._file, at - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            at = begin
        return 0

    def _is_there(self, line: Line) -> bool:
        if line.event_id in self._known:
            return True
        path = archived_file(self.path, line.month)
        try:
            state = path.stat()
        except FileNotFoundError:
            return False
        version = state.st_ino, state.st_mtime_ns
        cached = self._archived.get(line.month)
        if cached is None or cached[0] != version:
            cached = version, Identities(entry.event_id for entry in entries_of(path))
            self._archived[line.month] = cached
        return line.event_id in cached[1]
