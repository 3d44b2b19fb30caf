"""Checks that the committed offsets of a round's groups never go back, and reach the end of the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from campaign.live.progress import Progress

EVERY: Final = 1.0
"""Seconds between two checks."""
SILENT_SECONDS: Final = 10.0
"""After this many seconds without a record, the load's short holds have expired, so no tick is due for an hour."""


class Offsets:
    """Watches the committed offsets of ``groups``: a map of groups to the topics they read (by the broker's names)."""

    def __init__(self, admin: AIOKafkaAdminClient, progress: Progress, groups: Mapping[str, Sequence[str]]) -> None:
        self._admin: Any = admin
        self._progress, self.groups = progress, groups
        self.went_back: list[str] = []
        """A description of each time that a committed offset went back."""
        self._seen: dict[tuple[str, str, int], int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start checking."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop checking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def forget(self) -> None:
        """Forget the offsets seen so far, for a fault that sets them back on purpose."""
        self._seen.clear()

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Return the committed offsets by topic and partition; those never committed are left out."""
        found = await self._admin.list_consumer_group_offsets(group)
        return {(place.topic, place.partition): at.offset for place, at in found.items() if at.offset >= 0}

    async def look(self) -> None:
        """Compare the committed offsets with those of the previous check."""
        for group in self.groups:
            for (topic, partition), offset in (await self.committed(group)).items():
                before = self._seen.get((group, topic, partition), 0)
                if offset < before:
                    self.went_back.append(f"{group}: {topic} {partition} went back from {before} to {offset}")
                self._seen[group, topic, partition] = offset

    async def settled(self, seconds: float) -> None:
        """Wait until every group has committed everything, and no new records arrive, not even ticks.

        Raises ``TimeoutError``, which lists what is not committed.
        """
        since = time.monotonic()
        until = since + seconds
        last: dict[tuple[str, int], int] | None = None
        while True:
            left: list[str] = []
            ends: dict[tuple[str, int], int] = {}
            with suppress(KafkaError, OSError):
                for group, topics in self.groups.items():
                    committed = await self.committed(group)
                    for topic in topics:
                        for partition, end in (await self._progress.ends(topic, self._partitions(topic))).items():
                            ends[topic, partition] = end
                            if committed.get((topic, partition), 0) != end:
                                at = committed.get((topic, partition), 0)
                                left.append(f"{group} is at {at} of {end} in {topic} {partition}")
                if left or ends != last:
                    last, since = (None if left else ends), time.monotonic()
                elif time.monotonic() - since >= SILENT_SECONDS:
                    return
            if time.monotonic() > until:
                raise TimeoutError(f"not settled after {seconds:.0f} s: {'; '.join(left[:5]) or 'no answer'}")
            await asyncio.sleep(0.3)

    def _partitions(self, topic: str) -> range:
        return range(1) if topic.endswith("overview-events") else self._progress.partitions

    async def _watch(self) -> None:
        while True:
            with suppress(KafkaError, OSError):
                await self.look()
            await asyncio.sleep(EVERY)
