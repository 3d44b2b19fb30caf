"""The hours of the weekly review, by the wall clock of its time zone.

Asked every minute instead of slept for: a machine that was suspended makes up for the hour, and the two Sundays of the
year on which clocks change do not move it.  A clock that was ahead and is put right starts over from what it shows now:
otherwise the next hour would come when it shows the wrong time again, years later perhaps.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from crl_stream.settings.model import Review

SMALL_STEP: Final = 6 * 3_600.0
"""Seconds that a clock may be set back without hours being repeated that it has shown."""


class ReviewHours:
    """Whether an hour of the schedule has come; ``now`` is in seconds since the epoch."""

    def __init__(self, review: Review, now: float) -> None:
        self._schedule, self._zone = review.schedule, ZoneInfo(review.timezone)
        self._now, self._since = now, self._wall(now)
        """When it was asked last, and what the wall clock showed when the watch began."""
        self._seen = self._since
        """The latest that the wall clock has shown since: what it shows again, in autumn, has been."""

    def has_come(self, now: float) -> bool:
        """Whether an hour lies between the last question and ``now``; several count as one."""
        wall, back = self._wall(now), self._now - now
        self._now = now
        if back > SMALL_STEP or (back > 0 and wall < self._since):
            # The clock was wrong, not the wall clock moved by an hour: nothing of what it showed has been.
            self._since = self._seen = wall
        seen = self._seen
        self._seen = max(wall, seen)
        following: datetime = croniter(self._schedule, seen).get_next(datetime)
        return following <= wall

    def _wall(self, now: float) -> datetime:
        return datetime.fromtimestamp(now, self._zone).replace(tzinfo=None)
