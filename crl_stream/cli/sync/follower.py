"""What the topics of active variants say now, as it is read."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from crl_stream.client.address import reason_of
from crl_stream.client.following import PATIENCE_SECONDS, Following, Reread, View
from crl_stream.client.troubles import Troubles
from crl_stream.core import messages as m
from crl_stream.settings import Settings

_PAUSE_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 8.0
_STUBBORN_SECONDS: Final = 2.0
"""Seconds allowed for a cancelled attempt to end before it is abandoned."""


class Follower:
    """Reads both topics, follows them, and reads them again after a failure. ``changed`` is set after each change."""

    def __init__(self, settings: Settings) -> None:
        self.view: View | None = None
        """What has been read to the end; None before that. After a failure, it is what was known before."""
        self.changed = asyncio.Event()
        self.failure = ""
        """Why the last attempt failed; that Kafka does not answer is reported separately."""
        self._heard = self._beaten = time.monotonic()
        self._troubles = Troubles()
        self._following = Following(settings, self, self._troubles, self._beat)

    @property
    def silence(self) -> float:
        """Return the seconds since Kafka's last answer."""
        return time.monotonic() - self._heard

    @property
    def trouble(self) -> str:
        """Return the last problem that does not end an attempt, such as a topic that does not exist."""
        return self._troubles.last

    async def follow(self) -> None:
        """Follow the topics until cancelled."""
        while True:
            self._beat()
            attempt = asyncio.ensure_future(self._following.attempt())
            try:
                while not attempt.done() and time.monotonic() - self._beaten < PATIENCE_SECONDS:
                    # Unlike awaiting the task, this does not raise what the task raises: aiokafka may raise anything,
                    # even a cancellation.
                    await asyncio.wait({attempt}, timeout=_PAUSE_SECONDS)
            finally:
                if not attempt.done():
                    attempt.cancel()
                    await asyncio.wait({attempt}, timeout=_STUBBORN_SECONDS)
            error = attempt.exception() if attempt.done() and not attempt.cancelled() else None
            if not isinstance(error, Reread):
                self.failure = "no sign of life" if error is None else reason_of(error)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _beat(self) -> None:
        self._beaten = time.monotonic()

    # -- what the follower reports -----------------------------------------------------------------
    def connected(self, cluster_id: str | None) -> None:
        """Do nothing: another cluster is shown as a new view."""

    def show(self, view: View) -> None:
        """Replace what is known."""
        self.view = view
        self.heard()
        self.changed.set()

    def tell(self, message: m.ActiveVariant | m.VariantCatalogue) -> None:  # noqa: ARG002 - the view has it already
        """Note a change."""
        self.changed.set()

    def heard(self) -> None:
        """Record that Kafka has answered."""
        self._heard = time.monotonic()

    def quiet(self) -> float:
        """Return the seconds without an answer after which to connect again."""
        return _QUIET_SECONDS


async def stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
