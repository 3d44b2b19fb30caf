"""Messages that wait for Kafka, between the agent's threads and the one that sends; bounded and counted."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

QUEUE_SIZE: Final = 10_000
"""Messages that may wait while Kafka does not answer; later ones are dropped and counted."""
AT_ONCE: Final = 2_000
"""Messages in flight together."""
OF_ONE_TASK: Final = 64
"""How many of those may be of one task: as many ids as the monitor remembers of it by default
(``limits.duplicate_ids``), so that it recognises all that is sent again over a new connection."""


class Item(NamedTuple):
    """One record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class PublisherStats(NamedTuple):
    """What has become of what was published."""

    sent: int
    """Acknowledged by Kafka."""
    queued: int
    dropped: int
    """Lost because the queue was full, or at the end because Kafka did not answer."""
    rejected: int
    """Refused locally or by Kafka, with a log line that says how to put it right."""
    abandoned: int = 0
    """Invocations that somebody ended from outside, which says nothing about the variant: not published."""


class Outbox:
    """A queue with counts.  ``wake`` is called when something comes and the sender has said that it sleeps."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.forked()

    def forked(self) -> None:
        """Begin empty, as also in a child: what waits is the parent's to send."""
        self._waiting: deque[Item] = deque()
        self._in_flight = self._sent = self._dropped = self._rejected = self._abandoned = 0
        self._asleep = False
        self._closed = False
        self._lock = threading.Condition(threading.Lock())

    @property
    def stats(self) -> PublisherStats:
        """Figures since the start."""
        with self._lock:
            queued = len(self._waiting) + self._in_flight
            return PublisherStats(self._sent, queued, self._dropped, self._rejected, self._abandoned)

    # -- the agent's side --------------------------------------------------------------------------
    def put(self, item: Item) -> bool:
        """Queue a message; False when there is no room or it is closed, which is counted."""
        with self._lock:
            if self._closed or len(self._waiting) + self._in_flight >= QUEUE_SIZE:
                self._dropped += 1
                return False
            self._waiting.append(item)
            wake, self._asleep = self._asleep, False
        if wake:
            self._wake()
        return True

    def reject(self, count: int = 1) -> None:
        """Count what was refused."""
        with self._lock:
            self._rejected += count

    def abandon(self) -> None:
        """Count an invocation that has no outcome."""
        with self._lock:
            self._abandoned += 1

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until Kafka has everything; False when it has not within ``timeout`` seconds."""
        until = time.monotonic() + timeout
        with self._lock:
            while self._waiting or self._in_flight:
                if (left := until - time.monotonic()) <= 0:
                    return False
                self._lock.wait(left)
        return True

    def close(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._closed = True

    def give_up(self) -> int:
        """Count what waits as dropped; how many that were."""
        with self._lock:
            lost = len(self._waiting) + self._in_flight
            self._dropped += lost
            self._waiting.clear()
            self._in_flight = 0
            self._lock.notify_all()
        return lost

    # -- the sender's side -------------------------------------------------------------------------
    def take(self) -> list[Item]:
        """The next messages to send, in order; when there are none, the sender sleeps until it is woken."""
        with self._lock:
            if not self._waiting:
                self._asleep = True
                return []
            taken: list[Item] = []
            of_task: Counter[bytes] = Counter()
            while self._waiting and len(taken) < AT_ONCE:
                key = self._waiting[0].key
                if of_task[key] >= OF_ONE_TASK:
                    break
                of_task[key] += 1
                taken.append(self._waiting.popleft())
            self._in_flight = len(taken)
            return taken

    def settle(self, sent: int = 0, rejected: int = 0) -> None:
        """Kafka has taken, or refused, so many of those in flight."""
        with self._lock:
            settled = min(self._in_flight, sent + rejected)
            self._in_flight -= settled
            self._sent += min(sent, settled)
            self._rejected += settled - min(sent, settled)
            if not self._in_flight and not self._waiting:
                self._lock.notify_all()

    def put_back(self, items: Iterable[Item]) -> None:
        """What was in flight and is not known to have arrived waits again, before all the rest."""
        with self._lock:
            if self._in_flight:
                self._waiting.extendleft(reversed(list(items)))
                self._in_flight = 0
