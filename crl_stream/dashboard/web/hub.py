"""Keeps the fleet up to date for everybody who looks: one consumer for the whole process.

The consumer starts with the first viewer and stops some minutes after the last one, so a process without viewers
reads nothing.  If Kafka does not answer, the fleet stays as it was and says since when; the consumer continues where it
was as soon as Kafka answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.entries import moment
from crl_stream.dashboard.findings import NOT_RUNNING
from crl_stream.dashboard.fleet import EVENTS, STATES, Change, Fleet
from crl_stream.errors import CrlError
from crl_stream.kafka.fleet_records import Batch, Followed, follow_fleet
from crl_stream.settings.model import Kafka

log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 300.0
"""How long the consumer continues after the last viewer."""
SILENT_SECONDS: Final = 4.0
"""If Kafka has not answered for so long, what is shown is not live."""
READY_SECONDS: Final = 10.0
"""How long a page waits until the topics have been read."""
INSPECT_SECONDS: Final = 10.0
"""Seconds between two looks at what is running."""
INSPECTED_SECONDS: Final = 3.0
"""How long the first page waits for the first of them."""
REJOIN_SECONDS: Final = 30.0
"""After an outage Kafka has forgotten who was running; so long it may take until all have announced themselves."""
REJOIN_INSPECT_SECONDS: Final = 3.0
"""Seconds between two looks meanwhile."""
NOT_KNOWN_YET: Final = "It is not known yet what is running, because Kafka did not answer until a short while ago."
RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)
NOTICE_MS: Final = 3_600_000
"""How long pages say that a topic was made again."""
WAITING_TASKS: Final = 500
WAITING_EVENTS: Final = 200
"""How much may wait for a viewer that reads slowly; beyond it, the viewer is told to fetch the page again."""
REMEMBERED: Final = 1_000
"""How many changes are remembered for viewers that come back."""
TASK_CHANGES: Final = frozenset(("task", "active", "receipt"))
"""Kinds of changes that alter how a task looks; the others are events of their own."""


class Subscription:
    """What one viewer has not been told yet, bounded."""

    def __init__(self, about: TaskKey | None) -> None:
        self.about = about
        """The task whose changes are wanted; None for all."""
        self.tasks: dict[TaskKey, None] = {}
        self.events: deque[Change] = deque()
        self.overview = False
        self.refetch = False
        """Whether too much has changed to be told one by one."""
        self.wake = asyncio.Event()

    def take(self, changes: Sequence[Change]) -> None:
        """Note changes; only their names are kept, because the fleet has the newest state."""
        for change in changes:
            if change.kind == "overview":
                self.overview = True
            elif self.about is None or change.key is None or change.key == self.about:
                if change.key is not None:
                    self.tasks[change.key] = None
                if change.kind not in TASK_CHANGES:
                    self.events.append(change)
        if len(self.tasks) > WAITING_TASKS or len(self.events) > WAITING_EVENTS:
            self.ask_to_refetch()
        if self.tasks or self.events or self.overview or self.refetch:
            self.wake.set()

    def ask_to_refetch(self) -> None:
        """Replace everything that waits with the advice to fetch the page again."""
        self.tasks.clear()
        self.events.clear()
        self.overview, self.refetch = False, True
        self.wake.set()


class Hub:
    """The fleet as one process knows it, and everybody who watches it."""

    def __init__(self, kafka: Kafka, inspect: Callable[[], Awaitable[list[str]]] | None = None) -> None:
        self._kafka, self._inspect = kafka, inspect
        self.closing = False
        self._viewers: set[Subscription] = set()
        self._reading: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._viewed = 0.0
        self._begin_again()

    def _begin_again(self) -> None:
        self.fleet = Fleet()
        self.id = secrets.token_hex(4)
        """Changes when the fleet is read from the beginning; versions of another id cannot be compared."""
        self.version = 0
        """Grows with every change."""
        self.told_at = 0
        """The version of the newest change that is more than one of a task's row."""
        self.troubles: list[str] = []
        """One line for each thing that is not working, as ``crl dashboard`` prints it."""
        self.trouble = self._why = "the topics are being read"
        """Why the fleet is not live; empty while it is."""
        self.lost_at: int | None = None
        """Since when the fleet is not live, in milliseconds; None while it is, and before it first was."""
        self.remade: tuple[str, int] | None = None
        """The topic that was last found to be made again, and when; what the fleet was before is not known any more."""
        self._answered = now_ms()
        self._followed = Followed()
        self._past: deque[tuple[int, Change]] = deque(maxlen=REMEMBERED)
        self._caught_up, self._inspected = asyncio.Event(), asyncio.Event()
        self._look_now = asyncio.Event()
        self._outage = False
        self._found_again: float | None = None
        """When the last outage ended, on the monotonic clock."""
        self._settled = asyncio.Event()

    @property
    def live(self) -> bool:
        """Whether the fleet follows the topics."""
        return self._reading is not None and not self.trouble

    @property
    def notice(self) -> str:
        """What happened to the topics themselves a short while ago; usually empty."""
        if self.remade is None or now_ms() - self.remade[1] > NOTICE_MS:
            return ""
        return f"{self.remade[0]} was deleted and created again, seen {moment(self.remade[1])}."

    @property
    def viewers(self) -> int:
        """The number of open streams."""
        return len(self._viewers)

    async def view(self) -> bool:
        """Make sure that the fleet is followed, and wait until it is known; return whether it is.

        If Kafka does not answer, it returns as soon as that is clear.
        """
        self._viewed = time.monotonic()
        if self._reading is None and not self.closing:
            self._reading = asyncio.create_task(self._follow())
            self._looking = asyncio.create_task(self._look())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                await self._settled.wait()
                async with asyncio.timeout(INSPECTED_SECONDS):
                    await self._inspected.wait()
        return self._caught_up.is_set()

    async def known(self) -> None:
        """Wait until the topics have been read for the first time."""
        await self._caught_up.wait()

    def subscribe(self, about: TaskKey | None, seen: str) -> Subscription:
        """Return a subscription to changes of one task, or of all, that begins after ``seen``, a ``stamp``."""
        found = Subscription(about)
        hub, _, number = seen.partition(".")
        version = int(number) if number.isdecimal() and len(number) < 20 else -1
        first = self._past[0][0] if self._past else self.version + 1
        if hub != self.id or version < first - 1:
            found.ask_to_refetch()
        else:
            found.take([change for at, change in self._past if at > version])
        self._viewers.add(found)
        return found

    def unsubscribe(self, found: Subscription) -> None:
        """End a subscription."""
        self._viewers.discard(found)
        self._viewed = time.monotonic()

    @property
    def stamp(self) -> str:
        """Which state of the fleet a page shows: the hub and its version."""
        return f"{self.id}.{self.version}"

    async def close(self) -> None:
        """Stop following, and end all streams."""
        self.closing = True
        for viewer in self._viewers:
            viewer.wake.set()
        await self._stop()

    async def _stop(self) -> None:
        tasks = [task for task in (self._reading, self._looking) if task is not None]
        self._reading = self._looking = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        """Follow the topics through outages until there is no viewer any more."""
        tries = 0
        while not self._is_forgotten():
            try:
                async with aclosing(follow_fleet(self._kafka, STATES, EVENTS, self._followed)) as batches:
                    async for batch in batches:
                        tries = 0
                        self._hear(batch)
                        if self._is_forgotten():
                            break
            except CrlError as error:
                self._lose(error.message)
            except Exception:
                log.exception("the dashboard cannot read the topics")
                self._lose("the topics cannot be read; the log of this process says why")
            else:
                continue
            self._settled.set()
            await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1
        if self._looking is not None:
            self._looking.cancel()
        self._reading = self._looking = None
        self._begin_again()

    async def _look(self) -> None:
        """Find out from time to time what is not working; the topics do not tell it."""
        while self._inspect is not None:
            self._look_now.clear()
            try:
                found = await self._inspect()
            except Exception:
                log.exception("the dashboard cannot find out what is running")
                found = ["kafka: nothing is known of what is running; the log of this process says why."]
            self._inspected.set()
            sure = self._what_is_sure(found)
            if sure != self.troubles:
                self.troubles = sure
                self._tell([Change("overview", None, "overview")])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INSPECT_SECONDS if sure == found else REJOIN_INSPECT_SECONDS):
                    await self._look_now.wait()
        self._inspected.set()

    def _what_is_sure(self, found: list[str]) -> list[str]:
        """Leave out that services are not running, while an outage may be the reason why Kafka does not name them."""
        again = self._found_again
        is_over = not self._outage and (again is None or time.monotonic() - again > REJOIN_SECONDS)
        rest = [line for line in found if not line.startswith(NOT_RUNNING)]
        return found if is_over or len(rest) == len(found) else [*rest, NOT_KNOWN_YET]

    def _tell(self, changes: Sequence[Change]) -> None:
        """Count changes, remember them for viewers that come back, and tell those that are here."""
        for change in changes:
            self.version += 1
            if change.kind not in TASK_CHANGES:
                self.told_at = self.version
            if self._caught_up.is_set():
                self._past.append((self.version, change))
        if self._caught_up.is_set():
            for viewer in self._viewers:
                viewer.take(changes)

    def _is_forgotten(self) -> bool:
        return not self._viewers and time.monotonic() - self._viewed > IDLE_SECONDS

    def _hear(self, batch: Batch) -> None:
        if batch.made_again:
            self._start_over(batch.made_again)
        changes = [change for received in batch.received for change in self.fleet.take(received.topic, received)]
        if batch.silent >= SILENT_SECONDS:
            self._lose("Kafka does not answer")
        else:
            self._answered = now_ms()
            if batch.caught_up:
                if not self._caught_up.is_set():
                    self._caught_up.set()
                    self._refetch_all()
                self._settled.set()
                self._find_again()
            elif not self._caught_up.is_set() and batch.total:
                self.trouble = f"{self._why}, {batch.total - batch.left:,} of {batch.total:,} records so far"
        self._tell(changes)

    def _start_over(self, topic: str) -> None:
        """Forget a fleet that is no longer on the topics; every page fetches itself again once the new one is known."""
        log.warning("%s was deleted and created again; the dashboard forgets what it knew, and reads again", topic)
        self.fleet, self.id, self.version, self.told_at = Fleet(), secrets.token_hex(4), 0, 0
        self._past.clear()
        self._caught_up.clear()
        self._settled.clear()
        self.lost_at = None
        self.trouble = self._why = f"{topic} was deleted and created again, so all topics are being read again"
        self.remade = (topic, now_ms())
        self._wake_all()

    def _lose(self, trouble: str) -> None:
        if not self.trouble or self.lost_at is None:
            self.lost_at = self._answered if self._caught_up.is_set() else None
            self._wake_all()
        self.trouble, self._outage = trouble, True

    def _find_again(self) -> None:
        if self.trouble:
            if self._outage:
                self._outage, self._found_again = False, time.monotonic()
            self.trouble, self.lost_at = "", None
            self._look_now.set()
            self._wake_all()

    def _refetch_all(self) -> None:
        for viewer in self._viewers:
            viewer.ask_to_refetch()

    def _wake_all(self) -> None:
        for viewer in self._viewers:
            viewer.wake.set()


def now_ms() -> int:
    """Return the current time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
