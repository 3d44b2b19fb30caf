"""Moves old events into compressed monthly files: ``rollback_events-2024-11.jsonl.gz``.

    1  copy      the old lines into ``.partial`` files, after those already archived for the month, and sync
    2  verify    read each one back to the end and compare every line, byte for byte
    3  publish   rename each to its month's name
    4  cut       replace the live file, by one rename, with one without the archived lines

An interruption before step 4 loses nothing. The next run duplicates nothing, because archived lines are recognised by
their ids.  Between steps 3 and 4 a line is in both places; ``read_rollbacks(archived=True)`` shows it once.  The writer
can continue throughout, because lines are only added at the end.  Step 4 keeps the lines added since step 1.  Only
this step blocks the writer, and the writer then opens the new file.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from crl_stream.errors import ConfigError, NotFound, Unavailable
from crl_stream.telemetry.identities import Identities
from crl_stream.telemetry.locks import ARCHIVER, HeldLock, sync_folder, touching
from crl_stream.telemetry.reading import (
    PROPOSALS_FILE,
    ROLLBACKS_FILE,
    archived_file,
    entries_of,
    read_entry,
    time_of,
)

PARTIAL: Final = ".partial"
_COPY_BYTES: Final = 1 << 20
_SAID_EVERY: Final = 1_000

Progress = Callable[[str, int, int], None]
"""A function that is called with the current step, the bytes processed so far, and the total number of bytes."""


class Moved(NamedTuple):
    """The result of archiving one file."""

    file: str
    months: dict[str, int]
    """Number of lines moved, by month."""
    kept: int
    """Number of lines left in the live file, including unreadable ones."""


def archive(
    folder: Path, older_than_ms: int, now_ms: int, *, dry_run: bool = False, progress: Progress | None = None
) -> list[Moved]:
    """Move the lines whose events are more than ``older_than_ms`` old at ``now_ms`` (both in milliseconds).

    ``folder`` holds the files, ``dry_run`` only counts the lines, and ``progress`` is called as the work proceeds.
    Raises ``NotFound`` if there is no such folder, ``UsageError`` if another archiver is working in it, and
    ``ConfigError`` if a monthly file is damaged. In these cases nothing is changed.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder}.", hint="a worker creates it; --folder selects another")
    cutoff = now_ms - older_than_ms
    say = progress or (lambda *_: None)
    try:
        if dry_run:
            return [_Move(folder / name, cutoff, say).count() for name in (ROLLBACKS_FILE, PROPOSALS_FILE)]
        lock = HeldLock(
            folder / ARCHIVER, taken=f"Another crl archive is running in {folder}", hint="wait until it has finished"
        )
        try:
            return [_Move(folder / name, cutoff, say).run() for name in (ROLLBACKS_FILE, PROPOSALS_FILE)]
        finally:
            lock.release()
    except OSError as error:
        raise Unavailable(
            f"The archive in {folder} cannot be written: {error.strerror or error}.",
            hint="nothing is lost; free some space or repair the disk, then run crl archive again",
        ) from error


class _Month:
    """A monthly archive file while it is being written."""

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(path.name + PARTIAL)
        self.lines = self.fresh = 0
        self._digest = hashlib.sha256()
        self._raw: BinaryIO = self.partial.open("wb")
        # Leave out name and time, so that the same lines give the same bytes.
        self._gz = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)
        try:
            known = []
            for entry in _lines_of_month(path):
                known.append(entry.event_id)
                self._write(entry.data)
            self._known = Identities(known)
        except BaseException:
            self.close()
            raise

    def add(self, event_id: str, data: bytes) -> None:
        """Add a line unless the archive already has it."""
        if event_id not in self._known:
            self._known.add(event_id)
            self._write(data)
            self.fresh += 1

    def seal(self) -> None:
        """Write the file to disk and read it back; raises ``Unavailable`` if the content differs."""
        self._gz.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()
        digest, lines = hashlib.sha256(), 0
        with gzip.open(self.partial, "rb") as file:
            for line in file:
                digest.update(line)
                lines += 1
        if lines != self.lines or digest.digest() != self._digest.digest():
            raise Unavailable(
                f"{self.partial.name} does not read back as it was written.",
                hint="the disk is faulty; nothing was moved, and the live file is unchanged",
            )

    def publish(self) -> None:
        """Rename the file to the month's name."""
        self.partial.replace(self.path)

    def close(self) -> None:
        """Close the file, whatever its state."""
        self._gz.close()
        self._raw.close()

    def _write(self, data: bytes) -> None:
        self._gz.write(data)
        self._digest.update(data)
        self.lines += 1


def _lines_of_month(path: Path) -> list[Any]:
    try:
        return list(entries_of(path))
    except (OSError, EOFError) as error:
        raise ConfigError(
            f"{path.name} is damaged: {error}.", hint="restore it from a backup, or move it away; nothing was changed"
        ) from error


class _Move:
    """Moves one file's old lines."""

    def __init__(self, live: Path, cutoff: int, progress: Progress) -> None:
        self.live, self.cutoff, self.progress = live, cutoff, progress
        self.months: dict[str, int] = {}
        self.kept = 0
        self._last = b""

    def count(self) -> Moved:
        """Count the lines that would be moved."""
        self._walk(lambda _month, _event_id, _line: None, lambda _line: None)
        return self._moved()

    def run(self) -> Moved:
        """Move the lines."""
        for left_behind in self.live.parent.glob(f"{self.live.stem}-*{PARTIAL}"):
            left_behind.unlink()
        rest = self.live.with_name(f".{self.live.name}{PARTIAL}")
        with ExitStack() as stack:
            months: dict[str, _Month] = {}

            def move(month: str, event_id: str, line: bytes) -> None:
                if month not in months:
                    months[month] = _Month(archived_file(self.live, month))
                    stack.callback(months[month].close)
                months[month].add(event_id, line)

            with rest.open("wb") as remaining:
                end = self._walk(move, remaining.write)
                if not months:
                    rest.unlink()
                    return self._moved()
                remaining.flush()
                os.fsync(remaining.fileno())
            for month in months.values():
                month.seal()
        for month in months.values():
            month.publish()
        sync_folder(self.live.parent)
        self._cut(rest, end)
        return self._moved()

    def _walk(self, move: Callable[[str, str, bytes], None], keep: Callable[[bytes], Any]) -> int:
        """Pass every complete line to one of two functions; return the offset at which the last line ends."""
        size = self.live.stat().st_size if self.live.exists() else 0
        if not size:
            return 0
        what, at = f"archive {self.live.name}", 0
        self.progress(what, 0, size)
        with self.live.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    # An incomplete line: the writer is about to finish it, or a repair will cut it.
                    break
                at += len(line)
                self._last = line
                entry = read_entry(line)
                if entry is not None and 0 <= entry.time < self.cutoff:
                    month = time_of(entry.fields)[:7]
                    self.months[month] = self.months.get(month, 0) + 1
                    move(month, entry.event_id, line)
                else:
                    self.kept += 1
                    keep(line)
                if number % _SAID_EVERY == 0:
                    self.progress(what, min(at, size - 1), size)
        self.progress(what, size, size)
        return at

    def _cut(self, rest: Path, end: int) -> None:
        """Replace the live file with the remaining lines plus what the writer has added after ``end``."""
        with touching(self.live.parent), self.live.open("rb") as live, rest.open("ab") as remaining:
            live.seek(end - len(self._last))
            if live.read(len(self._last)) != self._last:
                raise Unavailable(
                    f"Another program has truncated {self.live.name} in the meantime.",
                    hint="nothing is lost; run crl archive again to continue",
                )
            while data := live.read(_COPY_BYTES):
                remaining.write(data)
            remaining.flush()
            os.fsync(remaining.fileno())
            rest.replace(self.live)
            sync_folder(self.live.parent)

    def _moved(self) -> Moved:
        return Moved(self.live.name, dict(sorted(self.months.items())), self.kept)
