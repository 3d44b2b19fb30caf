"""The hours of the weekly review, by the wall clock of its time zone.

Asked every minute instead of slept for: a machine that was suspended makes up for the hour, and the two Sundays of the
year on which clocks change do not move it.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from crl_stream.settings.model import Review


class ReviewHours:
    """Whether an hour of the schedule has come; ``now`` is in seconds since the epoch."""

    def __init__(self, review: Review, now: float) -> None:
        self._schedule, self._zone = review.schedule, ZoneInfo(review.timezone)
        self._seen = self._wall(now)
        """The latest that the wall clock has shown: what it shows again, in autumn, has been."""

    def has_come(self, now: float) -> bool:
        """Whether an hour lies between the last question and ``now``; several count as one."""
        wall, seen = self._wall(now), self._seen
        self._seen = max(wall, seen)
        following: datetime = croniter(self._schedule, seen).get_next(datetime)
        return following <= wall

    def _wall(self, now: float) -> datetime:
        return datetime.fromtimestamp(now, self._zone).replace(tzinfo=None)
