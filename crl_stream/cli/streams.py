"""What ``crl`` writes to: streams that are always there, and a terminal that hangs up ends them like a broken pipe."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import Any, Final

_HUNG_UP: Final = {errno.EIO, errno.ENXIO}


class _Terminal(io.FileIO):
    """A terminal; what is written after it has hung up has lost its reader, as in a pipe."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno in _HUNG_UP:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


def prepare_streams() -> None:
    """Open what the caller has closed (`>&-`: what is said there is said to nobody), and notice a terminal's end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - until the process ends
        elif _is_terminal(stream):
            raw = io.BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
            line_buffering = stream.line_buffering
            wrapped = io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=line_buffering)
            setattr(sys, name, wrapped)


def drop_output() -> None:
    """Let what is still to be written to stdout go nowhere: its end has been told."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_terminal(stream: Any) -> bool:
    """Whether it is a character device: one that has hung up already no longer says that it is a terminal."""
    try:
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
