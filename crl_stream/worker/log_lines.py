"""Keeps the log readable while Kafka is down: one line a minute, and none from the libraries.

Faust and aiokafka log every failed attempt, from every component.  So their lines are held until ``topic_watch``, which
checks every few seconds, has found out whether Kafka responds.  If it does not, the lines are about the outage and are
only counted.  Otherwise they are shown, each kind at most once a minute.  Lines in between are counted, and the next
one shown says how many there were. ``crl -v`` shows library lines without waiting.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

from crl_stream.visible import LINE, VisibleFormatter

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 60.0
HOLD_SECONDS: Final = 15.0
"""The longest time that a line is held: enough for two requests to Kafka, each with its timeout."""
AFTER_SECONDS: Final = 20.0
"""How long after an outage lines can still be about it, while members rejoin groups and old requests fail."""
_MOST_HELD: Final = 1_000
_MOST_KINDS: Final = 1_000
"""How many kinds are remembered; beyond that the oldest is forgotten, and its next line is shown."""
_VARIES: Final = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")
"""The parts that differ between lines of the same kind: numbers, addresses, names in quotes."""
LIBRARIES: Final = ("faust", "mode", "aiokafka", "kafka", "asyncio")
OWN: Final = (
    "crl_stream.worker.transport.consumer",
    "crl_stream.worker.transport.fetching",
    "crl_stream.worker.member",
    "crl_stream.worker.transport.producer",
    "crl_stream.worker.table",
)
"""Our own loggers that Faust writes to, because its services log under the name of the module that defines them."""
_OF_A_START: Final = ("GroupCoordinatorNotAvailableError", "Marking the coordinator dead")
RETRIED: Final = {"crl_retried": True}
"""The ``extra`` for our own lines about an attempt that is retried; they are treated like a library's lines."""


class _Kind(NamedTuple):
    shown_at: float
    hidden: int


class _Held(NamedTuple):
    """The first waiting line of its kind, and how many similar lines have arrived since."""

    at: float
    record: logging.LogRecord
    more: int


def _is_detail(record: logging.LogRecord) -> bool:
    """Return whether a line is a detail: not critical, and either from a library or about a retried attempt."""
    if record.levelno >= logging.CRITICAL:
        return False
    return record.name.startswith((*LIBRARIES, *OWN)) or hasattr(record, "crl_retried")


def _kind_of(record: logging.LogRecord) -> tuple[str, int, str] | None:
    """Return the kind of a line, by which repetitions are recognised; None if the line is malformed."""
    try:
        return record.name, record.levelno, _VARIES.sub("#", record.getMessage())
    except Exception:
        return None


class OncePerMinute(logging.Filter):
    """A filter for handlers that hides repeated lines: those of libraries, and our own that are marked ``RETRIED``."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a line; add to it the number of similar lines hidden before it."""
        if not _is_detail(record):
            return True
        kind = _kind_of(record)
        if kind is None:
            return True
        now, message = self._clock(), record.getMessage()
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

    def hide(self, record: logging.LogRecord, count: int) -> None:
        """Count ``count`` lines like the one that has just been filtered."""
        kind = _kind_of(record)
        if kind is not None and (seen := self._kinds.get(kind)) is not None:
            self._kinds[kind] = seen._replace(hidden=seen.hidden + count)


class Calm(logging.Handler):
    """Passes our own lines to ``shown`` at once, and details as soon as it is clear that they are not about an outage.

    Callers report Kafka's state with ``answered`` and ``silent``; without either, a line waits ``HOLD_SECONDS``.
    """

    def __init__(self, shown: logging.Handler, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._shown, self._clock = shown, clock
        self._only = OncePerMinute(clock)
        self._held: dict[tuple[str, int, str] | int, _Held] = {}
        """Waiting lines by kind, oldest first: aiokafka writes hundreds of lines a second about a lost broker."""
        self._away = False
        self._until = float("-inf")
        """The time until which lines count as being about the last outage."""
        self.hushed = 0
        """How many lines about the current or last outage were hidden."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a log line, hold it for a moment, or hide and count it."""
        now = self._clock()
        self._release(now - HOLD_SECONDS)
        if not _is_detail(record):
            if record.levelno >= logging.CRITICAL:
                self._release(now)  # first show the lines that led up to this one
            self._shown.handle(record)
        elif self._away or now < self._until:
            self.hushed += 1
        else:
            self._hold(now, record)

    def _hold(self, now: float, record: logging.LogRecord) -> None:
        kind = _kind_of(record) or id(record)
        held = self._held.get(kind)
        self._held[kind] = _Held(now, record, 0) if held is None else held._replace(more=held.more + 1)
        if len(self._held) > _MOST_HELD:
            self._show_oldest()

    @property
    def held(self) -> int:
        """How many lines wait until it is clear whether they are about an outage."""
        with self._locked():
            return sum(1 + held.more for held in self._held.values())

    def silent(self) -> None:
        """Record that Kafka has not responded to a request, so recent lines are about the outage."""
        with self._locked():
            if not self._away:
                self.hushed = 0
            self._away = True
            self.hushed += sum(1 + held.more for held in self._held.values())
            self._held.clear()

    def answered(self, asked_at: float) -> int:
        """Record a response to a request sent at ``asked_at``; return how many lines were hidden if an outage ends."""
        with self._locked():
            if not self._away:
                self._release(asked_at)
                return 0
            self._away, self._until = False, self._clock() + AFTER_SECONDS
            return self.hushed

    def flush(self) -> None:
        """Show the lines that are still waiting, when the program ends."""
        with self._locked():
            self._release(float("inf"))
        self._shown.flush()

    def _locked(self) -> Any:
        assert self.lock is not None
        return self.lock

    def _release(self, before: float) -> None:
        while self._held and next(iter(self._held.values())).at <= before:
            self._show_oldest()

    def _show_oldest(self) -> None:
        held = self._held.pop(next(iter(self._held)))
        if self._only.filter(held.record):
            self._shown.handle(held.record)
        self._only.hide(held.record, held.more)


def set_up_logging(*, verbose: bool = False) -> Calm | None:
    """Log to stderr: our own lines from INFO up, and the libraries' lines from WARNING up, through ``Calm``.

    With ``verbose``, library lines are shown from INFO up, each kind once a minute, and None is returned.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(VisibleFormatter(LINE))
    calm = None if verbose else Calm(stream)
    if calm is None:
        stream.addFilter(OncePerMinute())
    logging.basicConfig(level=logging.INFO, handlers=[calm or stream], force=True)
    threading.excepthook = _log_end_of_thread
    for name in (*LIBRARIES, *OWN):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose:
        # A broker that has just started has no group coordinator for a second or two. aiokafka retries, but logs it as
        # a problem.
        logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(
            lambda record: not any(words in record.getMessage() for words in _OF_A_START)
        )
    return calm


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Log an exception that ends a thread, because Python would print it without escaping untrusted text."""
    # A thread that is stopped while it waits for Kafka ends with a cancellation.
    if ended.exc_type in {SystemExit, CancelledError} or ended.exc_value is None:
        return
    name = ended.thread.name if ended.thread is not None else "?"
    log.critical("thread %s ended: %r", name, ended.exc_value, exc_info=ended.exc_value)
