"""The hours of the weekly and the daily review, by the wall clock of its time zone.

The worker checks every minute instead of sleeping until the hour.  So a machine that was suspended catches up, and the
two Sundays on which clocks change do not shift the review.  When a clock that was ahead is corrected, watching restarts
from the corrected time. Otherwise the next review would wait until the wrong time is reached, perhaps years later.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from crl_stream.settings.model import Review

SMALL_STEP: Final = 6 * 3_600.0
"""How many seconds a clock may be set back without repeating hours that it has already shown."""
_SECOND: Final = timedelta(seconds=1)


class ReviewHours:
    """Detects when a scheduled hour has arrived; ``now`` is in seconds since the epoch.

    ``schedule`` is a cron expression, by default the one of the weekly review.
    """

    def __init__(self, review: Review, now: float, schedule: str = "") -> None:
        self._schedule, self._zone = schedule or review.schedule, ZoneInfo(review.timezone)
        self._now, self._since = now, self._wall(now)
        """The time of the last check, and the wall-clock time when watching began."""
        self._seen = self._since
        """The latest wall-clock time seen since watching began, so that the hour repeated in autumn counts once."""
        self._checked = self._since
        """The wall-clock time up to which the check before the last one has seen everything."""

    def has_come(self, now: float) -> bool:
        """Return whether a scheduled hour lies between the last check and ``now``; several count as one."""
        wall, back = self._wall(now), self._now - now
        self._now = now
        if back > SMALL_STEP or (back > 0 and wall < self._since):
            # The clock was wrong, not just moved by an hour: forget the times that it showed.
            self._since = self._seen = wall
        seen = self._checked = self._seen
        self._seen = max(wall, seen)
        following: datetime = croniter(self._schedule, seen).get_next(datetime)
        return following <= wall

    def last_two(self, now: float) -> tuple[float, float]:
        """Return the last scheduled hour up to ``now``, and the one before it; call it after ``has_come``.

        If several hours have come at once, the earlier one is the last before all of them, so that none is skipped.
        """
        last: datetime = croniter(self._schedule, self._wall(now + 1.0)).get_prev(datetime)
        before: datetime = croniter(self._schedule, last).get_prev(datetime)
        seen: datetime = croniter(self._schedule, self._checked + _SECOND).get_prev(datetime)
        return min(before, seen).replace(tzinfo=self._zone).timestamp(), last.replace(tzinfo=self._zone).timestamp()

    def _wall(self, now: float) -> datetime:
        return datetime.fromtimestamp(now, self._zone).replace(tzinfo=None)
