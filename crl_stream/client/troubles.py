"""Logs a client's problems: each kind at most once a minute, with a count, so that none goes unreported.

aiokafka logs every failed attempt to reach a broker: dozens of lines a second during an outage. In the client's
threads, its lines go to the logger ``crl_stream.client.aiokafka`` at DEBUG; elsewhere they are unchanged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from crl_stream.core.instant import to_text
from crl_stream.visible import visible

log = logging.getLogger("crl_stream.client")
_detail = logging.getLogger("crl_stream.client.aiokafka")

SPEAK_SECONDS: Final = 60.0
"""Seconds between two lines about the same kind of trouble."""


def utc_now() -> str:
    """Return the current time in the format of the contract."""
    return to_text(time.time_ns() // 1_000_000)


class _Kind:
    """What is known about one kind of trouble."""

    __slots__ = ("count", "open", "said", "since", "text")

    def __init__(self) -> None:
        self.said = float("-inf")
        """When this kind of trouble was last logged."""
        self.since = 0.0
        self.count = 0
        """Number of occurrences since this kind of trouble was last logged."""
        self.open = False
        """Whether this kind has been logged but its end has not."""
        self.text = ""


class Troubles:
    """Counts problems and logs them rarely. It is thread-safe and never raises."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}
        self.last = ""
        """The latest problem, as a sentence; empty if there was none."""
        self.last_at: str | None = None

    def forked(self) -> None:
        """Forget all problems in a forked child."""
        self.__init__()  # type: ignore[misc]

    def say(self, kind: str, text: str, count: int = 1) -> None:
        """Record ``count`` problems of one kind; the first is logged at once."""
        text, now = visible(text), time.monotonic()
        with self._lock:
            found = self._kinds.setdefault(kind, _Kind())
            found.since = found.since if found.count else now
            found.count += count
            found.text = text
            self.last, self.last_at = text, utc_now()
            line = self._line(found, now) if now - found.said >= SPEAK_SECONDS else None
        if line:
            log.warning("%s", line)

    def over(self, kind: str, text: str) -> None:
        """Record that a kind of trouble is over; if it was logged, log its end and its unlogged occurrences."""
        with self._lock:
            found = self._kinds.get(kind)
            if found is None:
                return
            more = f" ({found.count} more times)" if found.count else ""
            found.count, open_, found.open = 0, found.open, False
        if open_:
            log.info("%s%s", text, more)

    def tick(self) -> None:
        """Log the counts of kinds that were last logged over a minute ago."""
        now = time.monotonic()
        with self._lock:
            due = [k for k in self._kinds.values() if k.count and now - k.said >= SPEAK_SECONDS]
            lines = [self._line(found, now) for found in due]
        for line in lines:
            log.warning("%s", line)

    def close(self) -> None:
        """Log all counts that have not been logged yet."""
        now = time.monotonic()
        with self._lock:
            lines = [self._line(found, now) for found in self._kinds.values() if found.count]
        for line in lines:
            log.warning("%s", line)

    @staticmethod
    def _line(found: _Kind, now: float) -> str:
        times = f" ({found.count} times within {max(1.0, now - found.since):.0f} s)" if found.count > 1 else ""
        found.said, found.count, found.open = now, 0, True
        return f"{found.text}{times}"


# -- aiokafka's own lines --------------------------------------------------------------------------
_hushed: set[int] = set()
"""Ids of the clients' threads."""


class _OfOurThreads(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread not in _hushed:
            return True
        _detail.debug("%s: %s", record.name, record.getMessage())
        return False


_filter = _OfOurThreads()


@contextmanager
def hushed() -> Iterator[None]:
    """Send this thread's log lines from aiokafka and asyncio to our logger at DEBUG during the block."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in {"aiokafka", "asyncio"}:
            logger.addFilter(_filter)
    thread = threading.get_ident()
    _hushed.add(thread)
    try:
        yield
    finally:
        _hushed.discard(thread)


def forget_threads() -> None:
    """Forget the parent's threads in a forked child."""
    _hushed.clear()


def note_of_loop(_: Any, context: dict[str, Any]) -> None:
    """Log what asyncio reports about a client's loop, such as exceptions that were never retrieved."""
    _detail.debug("%s: %r", context.get("message"), context.get("exception"))
