"""A task to which only one fault sends outcomes, so that a worker must show exactly the number of outcomes sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from campaign.live.load import Sent
from campaign.live.traffic import OUTCOME, Draft
from campaign.live.world import PATIENCE, World
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS

_numbers = count(1)


class OwnTask:
    """A task that nothing else uses; create a new one for each fault."""

    def __init__(self, world: World, what: str) -> None:
        self.world, self.key = world, TaskKey(f"agent-{what}", f"task-{next(_numbers)}")
        self._ids = count(1)

    def outcome(self, *, what: str = OUTCOME, skew: timedelta = timedelta(), **fields: Any) -> Draft:
        """Return a successful outcome; ``skew`` is how far the runtime's clock is ahead of this machine's."""
        at = (datetime.now(UTC) + skew).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        given: dict[str, Any] = {
            "schema_version": 1,
            "invocation_id": f"own-{self.key.task_type}-{next(self._ids)}",
            "timestamp": at,
            "agent_name": self.key.agent_name,
            "task_type": self.key.task_type,
            "variant_id": "default",
            "status": "success",
        }
        message = m.Invocation(**(given | fields))
        return Draft(what, INVOCATIONS, self.key.encode(), encode(message), str(self.key), message.invocation_id)

    async def folded(self, sent: Sequence[Sent]) -> dict[str, Any]:
        """Wait until the given outcomes are folded, and return what a worker shows for the task."""
        newest = {each.partition: each.offset for each in sent}
        await self.world.progress.beyond(newest, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while True:
                for worker in self.world.workers:
                    status, page = await worker.get(f"/api/tasks/{self.key.agent_name}/{self.key.task_type}")
                    if status == 200 and page["as_of"]["offset"] >= max(newest.values()):
                        return dict(page)
                await asyncio.sleep(0.1)
