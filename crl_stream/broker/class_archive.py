"""An archive of Kafka's classes in Java's in-memory form; it halves the time and CPU that a broker needs to start.

Java calls this application class-data sharing. The first broker to use a cache folder records which classes it loads.
The second start creates the archive (10 s, once), and every later one maps it into memory. Java ignores an archive made
by another runtime or for other jars. If the cache is not writable, the broker works without an archive.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from crl_stream.broker.jars import Progress
from crl_stream.broker.java import Java

_SECONDS: Final = 120.0
"""Seconds allowed for creating an archive."""
_QUIET: Final = "-Xlog:cds*=off"


class ClassArchive:
    """The class archive for one cache folder and one Java runtime."""

    def __init__(self, folder: Path, java: Java) -> None:
        key = hashlib.sha256(f"{java.path.resolve()}\n{java.build}".encode()).hexdigest()[:12]
        self.java = java
        self.path = folder / f"classes-{key}.jsa"
        """Path of the archive; an empty file means that this Java could not create one and must not try again."""
        self.names = folder / f"classes-{key}.txt"

    def options(self, noted: Path) -> list[str]:
        """Return Java options that make a broker use the archive or, without one, record its classes in ``noted``."""
        if not self.path.is_file():
            return [] if self.names.is_file() else [f"-XX:DumpLoadedClassList={noted}"]
        return [f"-XX:SharedArchiveFile={self.path}", _QUIET] if self.path.stat().st_size else []

    def keep_names(self, noted: Path) -> None:
        """Save the names of the classes that a running broker has loaded so far, as recorded in ``noted``."""
        with suppress(OSError):
            text = noted.read_bytes()
            noted.unlink()
            incoming = self.names.with_suffix(f".{os.getpid()}")
            incoming.write_bytes(text[: text.rfind(b"\n") + 1])
            incoming.replace(self.names)

    def make(self, class_path: str, progress: Progress) -> None:
        """Create the archive if its classes are known; return at once if another program is already creating it."""
        if self.path.is_file() or not self.names.is_file():
            return
        with suppress(OSError), self.names.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.path.is_file():
                progress("preparing Kafka for faster starts (only once)", 0, 1)
                self._make(class_path)
                progress("preparing Kafka for faster starts (only once)", 1, 1)

    def _make(self, class_path: str) -> None:
        incoming = self.path.with_suffix(f".{os.getpid()}")
        command = [str(self.java.path), "-Xshare:dump", _QUIET]
        command += [f"-XX:SharedClassListFile={self.names}", f"-XX:SharedArchiveFile={incoming}", "-cp", class_path]
        try:
            done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False)
            made = not done.returncode and incoming.is_file()
        except subprocess.TimeoutExpired:
            made = False
        try:
            if not made:
                incoming.write_bytes(b"")
            incoming.replace(self.path)
        finally:
            incoming.unlink(missing_ok=True)
