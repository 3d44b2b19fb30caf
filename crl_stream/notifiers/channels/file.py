"""A file of JSON lines, one per notice, for log shippers, ``tail -f`` and scripts."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any

import orjson

from crl_stream.errors import ConfigError
from crl_stream.notifiers.failures import Undelivered
from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.options import Options
from crl_stream.visible import escape_json


class FileOptions(Options):
    """Settings of a file channel."""

    path: Path

    def place(self) -> str:
        """Return the path of the file."""
        return str(self.path)


class FileChannel:
    """Opens the file for each notice, so that it can be rotated at any time."""

    def __init__(self, name: str, options: Any) -> None:
        self.path: Path = options.path
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(b"")
        except OSError as error:
            raise ConfigError(
                f"notifiers.{name}.path: {self.path} cannot be written: {error.strerror}.", hint="name another file"
            ) from error

    async def send(self, notice: Notice) -> None:
        """Append the line and wait until it is on disk."""
        line = escape_json(orjson.dumps(notice.document())) + b"\n"
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise Undelivered(f"{self.path}: {error.strerror}") from error

    async def close(self) -> None:
        """Do nothing, because the file is open only while a notice is written."""

    def _append(self, line: bytes) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            if line and size and os.pread(file, 1, size - 1) != b"\n":
                # A writer died in the middle of a line; start a new one.
                line = b"\n" + line
            left = memoryview(line)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        finally:
            os.close(file)


OPTIONS, CHANNEL = FileOptions, FileChannel
