"""What a drill does as a runtime: it publishes outcomes with the client that all runtimes use."""

from __future__ import annotations

import asyncio
from typing import Final

from crl_stream.cli.drill.explanation import Missing
from crl_stream.client import Client
from crl_stream.core.drills import FAILING
from crl_stream.core.identity import TaskKey

_SLICE_SECONDS: Final = 0.5
"""How long one wait in a thread may last, because a thread cannot be interrupted when the drill ends."""


class RuntimePart:
    """A runtime that works on one drill task."""

    def __init__(self, client: Client, key: TaskKey) -> None:
        self.client, self.key = client, key

    def succeed(self, variant_id: str, epoch: int | None) -> None:
        """Publish a good outcome of a variant that is not in use.

        Without an ``epoch`` no variant is known to be active: the first such outcome makes its variant the active one.
        """
        self.client.publisher.invocation(
            self.key.agent_name,
            self.key.task_type,
            variant_id,
            "success",
            reward=1.0,
            variant_source="default" if epoch is None and variant_id != FAILING else "explore",
            active_epoch=epoch,
        )

    def work(self, *, good: bool) -> str:
        """Run one invocation with the variant that the client chooses; return that variant.

        Only the failing variant can fail.  The client may follow a rollback before the drill has seen it, and failures
        of the target would make the monitor take the rollback back.
        """
        with self.client.invocation(*self.key, default=FAILING) as invocation:
            fails = not good and invocation.variant_id == FAILING
            invocation.reward = -1.0 if fails else 1.0
            if fails:
                invocation.failed()
        return invocation.variant_id

    async def flush(self) -> None:
        """Wait until Kafka has every outcome; raises ``Missing`` if one was lost."""
        publisher = self.client.publisher
        while not await asyncio.to_thread(publisher.flush, _SLICE_SECONDS):
            pass
        stats = publisher.stats
        if stats.dropped or stats.rejected:
            raise Missing("outcomes", "Kafka has not accepted every outcome")

    @property
    def trouble(self) -> str:
        """Return the client's last problem; empty if it had none."""
        return self.client.health().trouble.rstrip(".")
