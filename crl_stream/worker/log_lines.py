"""The worker's log stays readable while a broker is away: libraries repeat themselves, and are told once a minute.

Of each kind of line the first is shown; those that follow within a minute are counted, and the next one that is shown
says how many there were.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from crl_stream.visible import LINE, VisibleFormatter

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 60.0
_MOST_KINDS: Final = 1_000
"""Kinds that are remembered; beyond them the oldest is forgotten, and its next line is shown."""
_VARIES: Final = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")
"""What differs between lines of one kind: numbers, addresses, names in quotes."""
LIBRARIES: Final = ("faust", "mode", "aiokafka", "kafka", "asyncio")
OWN: Final = (
    "crl_stream.worker.consumer",
    "crl_stream.worker.fetching",
    "crl_stream.worker.member",
    "crl_stream.worker.producer",
    "crl_stream.worker.table",
)
"""Faust's services log under the names of the modules that define them."""


class _Kind(NamedTuple):
    shown_at: float
    hidden: int


class OncePerMinute(logging.Filter):
    """For handlers: hushes what libraries repeat, and nothing of ours."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show a line; a repeated one gets the number of those before it."""
        if record.levelno >= logging.CRITICAL or not record.name.startswith((*LIBRARIES, *OWN)):
            return True
        try:
            message = record.getMessage()
        except Exception:  # a library's own slip: the handler says so
            return True
        now, kind = self._clock(), (record.name, record.levelno, _VARIES.sub("#", message))
        seen = self._kinds.pop(kind, None)
        if seen is not None and now - seen.shown_at < EVERY_SECONDS:
            self._kinds[kind] = seen._replace(hidden=seen.hidden + 1)
            return False
        while len(self._kinds) >= _MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = _Kind(now, 0)
        if seen is not None and seen.hidden:
            record.msg, record.args = f"{message} (and {seen.hidden} like it in {now - seen.shown_at:.0f} s)", ()
        return True


def set_up_logging() -> None:
    """Log to stderr: our own lines from INFO on, those of libraries from WARNING on, each kind once a minute."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    for name in (*LIBRARIES, *OWN):
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(VisibleFormatter(LINE))
        handler.addFilter(OncePerMinute())
    threading.excepthook = _log_end_of_thread
    # A broker that has just started says this for a second or two; aiokafka asks again, and calls it an error.
    logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(
        lambda record: "GroupCoordinatorNotAvailableError" not in record.getMessage()
    )


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Python would write the exception to stderr as it is, with whatever text of a stranger is in it."""
    if ended.exc_type is SystemExit or ended.exc_value is None:
        return
    name = ended.thread.name if ended.thread is not None else "?"
    log.critical("thread %s ended: %r", name, ended.exc_value, exc_info=ended.exc_value)
