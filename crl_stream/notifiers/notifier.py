"""One channel with retries: notices are sent in order, each retried until it is accepted."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from crl_stream.core.instant import to_text
from crl_stream.errors import Unavailable
from crl_stream.notifiers.backlog import summarise
from crl_stream.notifiers.channels import KINDS, Channel
from crl_stream.notifiers.channels.log import LogOptions
from crl_stream.notifiers.failures import Refused, Undelivered
from crl_stream.notifiers.notice import Notice, with_link
from crl_stream.notifiers.options import Options
from crl_stream.notifiers.repetition import Repetitions
from crl_stream.notifiers.selection import Selection, topics_of
from crl_stream.wire.records import Record

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 300.0
"""First and longest pause between attempts, in seconds; it doubles each time, and half of it is random."""
LONGEST_ASKED_WAIT: Final = 3_600.0
"""Longest wait that a receiver can ask for, in seconds."""
REFUSALS: Final = 5
"""Number of refusals after which a notice is not tried again."""

Sleep = Callable[[float], Awaitable[Any]]


class Notifier:
    """One configured channel.

    ``dashboard`` is the address of the dashboard that notices link to, if any. ``deliver`` may be called for several
    partitions at once, but only one notice is sent at a time. ``now`` returns seconds since the epoch, ``elapsed``
    seconds of a monotonic clock, and ``spread`` draws a random number between two bounds.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        channel: Channel | None = None,
        *,
        dashboard: str = "",
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name, self.options, self._dashboard = name, options, dashboard
        self.topics = topics_of(options)
        """Catalog names of the topics that the channel's consumer group reads."""
        self.delivered = self.undelivered = self.attempts_failed = 0
        self.failing: str | None = None
        """Why the last attempt failed; None if it succeeded."""
        self._channel = channel if channel is not None else KINDS[options.kind].channel(name, options)
        self._selection = Selection(options)
        self._repetitions = Repetitions(options.remind_after_minutes)
        self._now, self._elapsed, self._sleep, self._spread = now, elapsed, sleep, spread
        self._one_at_a_time = asyncio.Lock()

    async def deliver(self, topic: str, records: Sequence[Record]) -> None:
        """Deliver the notices in a batch of raw records; return when each was accepted or logged as undelivered.

        Notices older than ``max_age_hours`` go into one summary. Otherwise a new channel would send a year of alerts
        one by one, and a channel restarted in the morning a whole night's.
        """
        async with self._one_at_a_time:
            waiting = self._selection.choose(topic, records)
            while waiting:
                now = int(self._now() * 1_000)
                limit = now - self.options.max_age_hours * 3_600_000
                if old := [notice for notice in waiting if notice.at() < limit]:
                    await self._send(with_link(summarise(old, now, self.options.max_age_hours), self._dashboard))
                    waiting = [notice for notice in waiting if notice.at() >= limit]
                    for notice in old:
                        self._selection.mark_sent(notice.id)
                else:
                    await self._tell(waiting.pop(0))

    async def _tell(self, notice: Notice) -> None:
        """Send a notice, unless it only repeats a recent one."""
        if (admitted := self._repetitions.admit(notice, self._elapsed())) is not None:
            delivered = await self._send(with_link(admitted, self._dashboard))
            self._repetitions.settle(notice, self._elapsed(), delivered=delivered)
        self._selection.mark_sent(notice.id)

    async def send_test(self) -> None:
        """Send a test line once; raises ``Unavailable`` if the channel does not accept it."""
        at = to_text(int(self._now() * 1_000))
        text = f"test of notifiers.{self.name}: this channel works; there is no alert"
        try:
            await self._attempt(Notice(f"test-{at}", at, "test", "info", f"notifiers.{self.name}", text))
        except Undelivered as error:
            raise Unavailable(
                f"notifiers.{self.name} did not accept the test line: {error}.",
                hint="crl notify list shows where it sends; crl config show shows where its settings come from",
            ) from error

    async def close(self) -> None:
        """Close the channel, and log the repetitions that no later notice has counted."""
        for kind, subject, number in self._repetitions.untold():
            log.info("notifiers.%s: %d repetitions of %s %s were not sent", self.name, number, kind, subject)
        await self._channel.close()

    def status(self) -> dict[str, Any]:
        """Return the channel's figures for the worker's views."""
        return {
            "name": self.name,
            "kind": self.options.kind,
            "delivered": self.delivered,
            "undelivered": self.undelivered,
            "withheld": self._repetitions.withheld,
            "attempts_failed": self.attempts_failed,
            "failing": self.failing,
        }

    async def _send(self, notice: Notice) -> bool:
        """Try until the notice is accepted; return False if the notifier gives up on it first."""
        began, failures, refusals = self._elapsed(), 0, 0
        while True:
            try:
                await self._attempt(notice)
            except Undelivered as error:
                failures += 1
                refusals += isinstance(error, Refused)
                self.attempts_failed += 1
                self.failing = str(error)
                wait = max(self._wait(failures), min(error.retry_after, LONGEST_ASKED_WAIT))
                if refusals >= REFUSALS or self._is_spent(self._elapsed() - began + wait):
                    self.undelivered += 1
                    log.critical(
                        "UNDELIVERED through notifiers.%s after %d attempts (%s): %s",
                        self.name,
                        failures,
                        error,
                        notice.text,
                    )
                    return False
                if failures & (failures - 1) == 0:
                    # Log the 1st, 2nd, 4th, 8th ... attempt, so that a dead channel does not fill the log.
                    log.warning(
                        "notifiers.%s: attempt %d failed (%s); next attempt in %.0f s: %s",
                        self.name,
                        failures,
                        error,
                        wait,
                        notice.id,
                    )
                await self._sleep(wait)
            else:
                self.delivered += 1
                if failures:
                    log.info("notifiers.%s works again after %d failed attempts", self.name, failures)
                self.failing = None
                return True

    async def _attempt(self, notice: Notice) -> None:
        seconds = self.options.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._channel.send(notice)
        except Undelivered:
            raise
        except TimeoutError as error:
            raise Undelivered(f"not accepted within {seconds:g} s") from error
        except Exception as error:
            log.debug("notifiers.%s failed", self.name, exc_info=True)
            # The text of a library's error may contain a secret from the address.
            raise Undelivered(f"the channel failed with {type(error).__name__}") from error

    def _wait(self, failures: int) -> float:
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 30))
        return self._spread(longest / 2, longest)

    def _is_spent(self, seconds: float) -> bool:
        limit = self.options.give_up_after_hours * 3_600
        return limit > 0 and seconds > limit


def open_notifiers(channels: Mapping[str, Options], dashboard: str = "") -> list[Notifier]:
    """Create the configured channels, or the worker's log if there is none; raises ``ConfigError``.

    ``dashboard`` is the address of the dashboard that notices link to (``web.url``).
    """
    return [
        Notifier(name, options, dashboard=dashboard) for name, options in (channels or {"log": LogOptions()}).items()
    ]
