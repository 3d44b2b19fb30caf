"""Prepares stdout and stderr: replaces closed ones, and treats a terminal that hangs up like a broken pipe."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import Any, Final

_HUNG_UP: Final = {errno.EIO, errno.ENXIO}


class _Terminal(io.FileIO):
    """A terminal; writing to it after it has hung up is like writing to a broken pipe."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno in _HUNG_UP:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


def prepare_streams() -> None:
    """Open streams that the caller has closed (`>&-`), discarding what is written there, and detect a hang-up."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - open until the process ends
        elif _is_terminal(stream):
            raw = io.BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
            line_buffering = stream.line_buffering
            wrapped = io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=line_buffering)
            setattr(sys, name, wrapped)


def drop_output() -> None:
    """Discard output that is still to be written to stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_terminal(stream: Any) -> bool:
    """Return whether the stream is a character device; ``isatty`` is false once a terminal has hung up."""
    try:
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
