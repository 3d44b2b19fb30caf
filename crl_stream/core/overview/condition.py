"""The system's health in one word, from the page as read at a given time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from crl_stream.core.instant import from_text
from crl_stream.core.messages import AlertNote, Overview, ProposalNote, TaskStanding
from crl_stream.core.overview.ledger import MONTH, RATE_LIMIT, WEEK
from crl_stream.core.overview.rows import ATTENTION, INCIDENT, INCIDENTS
from crl_stream.core.reach import with_reach

Word = Literal["HEALTHY", "STABLE", "ATTENTION NEEDED"]

ROLLBACKS_BELOW: Final = 3
"""A healthy system has fewer rollbacks than this in 30 days."""
PENDING_BELOW: Final = 5
"""A healthy system has fewer pending proposals than this."""


class Condition:
    """The page as read at ``now`` (milliseconds since the epoch), without entries that have since become too old."""

    def __init__(self, overview: Overview, now: int) -> None:
        times = [from_text(text) for text in overview.rollback_times]
        self.rollbacks_month = sum(now - MONTH < time for time in times)
        self.rollbacks_week = sum(now - WEEK < time for time in times)
        self.proposals: Sequence[ProposalNote] = [p for p in overview.proposals if from_text(p.expires_at) > now]
        self.pending = overview.pending_proposals - len(overview.proposals) + len(self.proposals)
        self.alerts: Sequence[AlertNote] = [
            a for a in overview.open_alerts if a.kind not in INCIDENTS or from_text(a.timestamp) > now - INCIDENT
        ]
        self.failing: Sequence[TaskStanding] = [v for v in overview.degraded if v.active]
        self.unlisted = overview.n_degraded - len(overview.degraded)
        """How many degraded variants are not on the page; how many of them are active is unknown."""
        self.open_alerts = overview.n_open_alerts - len(overview.open_alerts) + len(self.alerts)

    @property
    def word(self) -> Word:
        """The system's health: HEALTHY, STABLE or ATTENTION NEEDED."""
        if self.rollbacks_week > RATE_LIMIT or any(alert.kind in ATTENTION for alert in self.alerts):
            return "ATTENTION NEEDED"
        return "STABLE" if self.concerns else "HEALTHY"

    @property
    def concerns(self) -> list[str]:
        """The reasons why the system is not HEALTHY, one sentence each, worst first."""
        found = [with_reach(alert.text, alert) for alert in self.alerts if alert.kind in ATTENTION]
        others = self.open_alerts - len(found)
        if self.rollbacks_week > RATE_LIMIT:
            found.append(f"High rollback rate: {self.rollbacks_week} in last 7 days")
        if others:
            many = "s are" if others > 1 else " is"
            lists = "them" if others > 1 else "it"
            found.append(f"{others} {'more ' if found else ''}critical alert{many} open; crl dashboard lists {lists}")
        if self.failing:
            first, more = self.failing[0], len(self.failing) - 1
            named = f"{first.agent_name}/{first.task_type} runs {first.variant_id}, {_how_it_fails(first)}"
            found.append(f"{named}; {more} more {'task' if more == 1 else 'tasks'} like it" if more else named)
        elif self.unlisted > 0:
            found.append(
                f"{self.unlisted} degraded variant{'s are' if self.unlisted > 1 else ' is'} not listed on the page"
            )
        if self.rollbacks_month >= ROLLBACKS_BELOW:
            found.append(f"{self.rollbacks_month} rollbacks in last 30 days; fewer than {ROLLBACKS_BELOW} is healthy")
        if self.pending >= PENDING_BELOW:
            found.append(f"{self.pending} proposals are pending; fewer than {PENDING_BELOW} is healthy")
        return found


def _how_it_fails(variant: TaskStanding) -> str:
    """Describe a failing variant: its current verdict, when it became degraded, and what prevents a rollback."""
    again = variant.verdict not in {None, "DEGRADED"}
    what = f"which has not recovered yet and is now {variant.verdict}" if again else "which is degraded"
    since = f" (degraded since {variant.since[:19].replace('T', ' ')} UTC)" if variant.since else ""
    held = f"; not rolled back: {variant.no_rollback}" if variant.no_rollback else ""
    return f"{what}: {variant.reason}{since}{held}"


def health(overview: Overview, now: int) -> Word:
    """Return the system's health in one word at ``now``, in milliseconds since the epoch.

    HEALTHY: fewer than 3 enforced rollbacks in 30 days, fewer than 5 pending proposals, no open critical alert, and no
    active variant that is degraded or whose last 10 or more outcomes include no success.
    ATTENTION NEEDED: more than 3 enforced rollbacks in 7 days, or an open alert of kind no_target, stuck,
    data_gap, fleet_hold or common_cause.  STABLE: everything else.
    """
    return Condition(overview, now).word
