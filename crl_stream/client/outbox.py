"""A bounded queue of messages for Kafka, between the agent's threads and the sending thread; everything is counted."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

QUEUE_SIZE: Final = 10_000
"""Maximum number of messages that wait while Kafka does not answer; later ones are dropped and counted."""
AT_ONCE: Final = 2_000
"""Maximum number of messages in flight."""
OF_ONE_TASK: Final = 64
"""Maximum number of messages in flight for one task.

By default the monitor remembers this many ids of a task (``limits.duplicate_ids``), so it recognises everything that is
resent over a new connection."""


class Item(NamedTuple):
    """One record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class PublisherStats(NamedTuple):
    """Counts of a client's messages by result."""

    sent: int
    """Acknowledged by Kafka."""
    queued: int
    dropped: int
    """Messages lost because the queue was full, or because Kafka did not accept them before the client closed."""
    rejected: int
    """Messages refused by the client or by Kafka; a log line says what to do."""
    abandoned: int = 0
    """Number of invocations ended from outside: they say nothing about the variant and are not published."""


class Outbox:
    """A queue with counts. ``wake`` is called when a message arrives while the sender sleeps."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.forked()

    def forked(self) -> None:
        """Start with an empty queue, even in a forked child, because the parent sends the waiting messages."""
        self._waiting: deque[Item] = deque()
        self._in_flight = self._sent = self._dropped = self._rejected = self._abandoned = 0
        self._asleep = False
        self._closed = False
        self._lock = threading.Condition(threading.Lock())

    @property
    def stats(self) -> PublisherStats:
        """Return the counts since the start."""
        with self._lock:
            queued = len(self._waiting) + self._in_flight
            return PublisherStats(self._sent, queued, self._dropped, self._rejected, self._abandoned)

    # -- the agent's side --------------------------------------------------------------------------
    def put(self, item: Item) -> bool:
        """Queue a message. If the queue is full or closed, count the message as dropped and return False."""
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
        """Count refused messages."""
        with self._lock:
            self._rejected += count

    def abandon(self) -> None:
        """Count an abandoned invocation, which has no outcome."""
        with self._lock:
            self._abandoned += 1

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until Kafka has every message; return False if that takes longer than ``timeout`` seconds."""
        until = time.monotonic() + timeout
        with self._lock:
            while self._waiting or self._in_flight:
                if (left := until - time.monotonic()) <= 0:
                    return False
                self._lock.wait(left)
        return True

    def close(self) -> None:
        """Close the queue: accept no more messages."""
        with self._lock:
            self._closed = True

    def give_up(self) -> int:
        """Drop all messages that Kafka does not have yet, and return their number."""
        with self._lock:
            lost = len(self._waiting) + self._in_flight
            self._dropped += lost
            self._waiting.clear()
            self._in_flight = 0
            self._lock.notify_all()
        return lost

    # -- the sender's side -------------------------------------------------------------------------
    def take(self) -> list[Item]:
        """Return the next messages to send, in order; if the list is empty, the sender sleeps until it is woken."""
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
        """Count messages in flight that Kafka has accepted or refused."""
        with self._lock:
            settled = min(self._in_flight, sent + rejected)
            self._in_flight -= settled
            self._sent += min(sent, settled)
            self._rejected += settled - min(sent, settled)
            if not self._in_flight and not self._waiting:
                self._lock.notify_all()

    def put_back(self, items: Iterable[Item]) -> None:
        """Put messages that may not have arrived back at the front of the queue."""
        with self._lock:
            if self._in_flight:
                self._waiting.extendleft(reversed(list(items)))
                self._in_flight = 0
