"""The weekly review as an alert: the pending proposals most worth reviewing (guide: "Review top 5").

``crl proposals digest`` describes the same week in detail.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from crl_stream.core.ids import fact_id
from crl_stream.core.instant import to_text
from crl_stream.core.messages import Alert, Overview
from crl_stream.core.overview.condition import Condition
from crl_stream.core.version import ENGINE_VERSION

TOP: Final = 5


def weekly_review(overview: Overview, now: int) -> Alert:
    """Return the review for the ISO week (in UTC) of ``now``, in milliseconds since the epoch.

    The id of the alert depends on the week, so consumers can recognise a repeated alert.
    """
    moment = datetime.fromtimestamp(now / 1_000, UTC)
    year, number, _ = moment.isocalendar()
    week = f"{year}-W{number:02d}"
    monday = datetime.fromisocalendar(year, number, 1).replace(tzinfo=UTC)
    condition = Condition(overview, now)
    top = condition.proposals[:TOP]
    count = f"{condition.pending} proposal{'' if condition.pending == 1 else 's'} pending"
    best = "; ".join(
        f"{p.proposal_id} ({p.confidence:.0%}, {p.proposal_type}, {p.agent_name}/{p.task_type})" for p in top
    )
    action = "review them: crl proposals digest" if top else "nothing"
    return Alert(
        alert_id=fact_id("alert", round(monday.timestamp() * 1_000), "weekly_review", week),
        timestamp=to_text(now),
        kind="weekly_review",
        severity="info",
        subject="all tasks",
        action=action,
        text=f"Weekly review {week}: {count}" + (f"; top {len(top)}: {best}; {action}" if top else ""),
        cause_id=week,
        number=float(condition.pending),
        engine_version=ENGINE_VERSION,
    )
