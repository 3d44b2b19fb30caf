"""The worker's own log, used if no other channel is configured."""

from __future__ import annotations

import logging
from typing import Final

from crl_stream.notifiers.notice import Notice
from crl_stream.notifiers.options import Options

log = logging.getLogger("crl_stream.alerts")
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class LogOptions(Options):
    """Settings of a log channel."""

    kind: str = "log"

    def place(self) -> str:
        """Return the name of the logger."""
        return f"logger {log.name}"


class LogChannel:
    """Writes each notice as one line, at the level of its severity."""

    def __init__(self, name: str, options: Options) -> None:
        self.name, self.options = name, options

    async def send(self, notice: Notice) -> None:
        """Log the notice."""
        log.log(_LEVELS[notice.severity], "%s%s", "RESOLVED " if notice.resolved else "", notice.text)

    async def close(self) -> None:
        """Do nothing, because a log channel keeps nothing open."""


OPTIONS, CHANNEL = LogOptions, LogChannel
