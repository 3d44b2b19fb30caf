"""Collects what the topics and the client show about drill tasks, and wakes the exercise that waits for it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, TypeVar

from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.core.identity import TaskKey
from crl_stream.errors import CrlError
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, DEGRADATIONS, RECEIPTS, ROLLBACKS

WATCHED: Final = (DEGRADATIONS, ROLLBACKS, ALERTS, ACTIVE_VARIANTS, RECEIPTS)

T = TypeVar("T")


class Followed(NamedTuple):
    """An event: the drill's own client now uses a new active variant."""

    active: m.ActiveVariant


class Sight(NamedTuple, Generic[T]):
    """One message, or one change of the active variant, that was seen."""

    message: T
    appended: int
    """When the broker stored the record, in milliseconds since the epoch; 0 for what only this process knows."""
    at: float
    """When this process saw it, on the monotonic clock."""


class Witness:
    """What has been seen since the drill began, by task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen: dict[TaskKey, list[Sight[Any]]] = defaultdict(list)
        self._waiting: dict[TaskKey, list[asyncio.Future[None]]] = defaultdict(list)
        self._failed: CrlError | None = None

    async def listen(self, reader: TopicReader, partition: int | None, ready: asyncio.Future[None]) -> None:
        """Collect new records of one partition, or of all, until cancelled; complete ``ready`` once positions are set.

        If Kafka fails, every exercise gets the error.
        """
        try:
            async with reader.following(WATCHED, partition) as received:
                ready.set_result(None)
                async for one in received:
                    if one.message is not None and is_drill(one.message.agent_name):
                        self._take(Sight(one.message, one.record.timestamp, time.monotonic()))
        except CrlError as error:
            self._failed = error
            if not ready.done():
                ready.set_exception(error)
            for key in list(self._waiting):
                self._wake(key)

    def follow(self, active: m.ActiveVariant) -> None:
        """Record a change of the active variant; the client's resolver calls this from its own thread."""
        if is_drill(active.agent_name):
            with suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._take, Sight(Followed(active), 0, time.monotonic()))

    def _take(self, sight: Sight[Any]) -> None:
        message = sight.message.active if isinstance(sight.message, Followed) else sight.message
        key = TaskKey(message.agent_name, message.task_type)
        self._seen[key].append(sight)
        self._wake(key)

    def _wake(self, key: TaskKey) -> None:
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)

    def find(self, key: TaskKey, kind: type[T], fits: Callable[[T], bool]) -> Sight[T] | None:
        """Return the first recorded message of this kind for which ``fits`` holds; None if there is none yet."""
        if self._failed is not None:
            raise self._failed
        return next((s for s in self._seen[key] if isinstance(s.message, kind) and fits(s.message)), None)

    async def news(self, key: TaskKey, seconds: float | None = None) -> None:
        """Return when the next message about the task is recorded, or after ``seconds``."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting[key].append(future)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await future

    async def see(self, key: TaskKey, kind: type[T], fits: Callable[[T], bool]) -> Sight[T]:
        """Wait for the first message of this kind for which ``fits`` holds."""
        while (found := self.find(key, kind, fits)) is None:
            await self.news(key)
        return found
