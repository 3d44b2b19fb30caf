"""The weekly review as an alert, and the daily message about what waits for a person.

The weekly review names the pending proposals most worth reviewing (guide: "Review top 5"); ``crl proposals digest``
describes the same week in detail.  The daily review says in one message what is new, and reminds people less and less
often of what still waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from crl_stream.core.ids import fact_id
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages import Alert, Overview, ProposalNote, WaitingRollback
from crl_stream.core.overview.condition import Condition
from crl_stream.core.reach import reach_parts
from crl_stream.core.version import ENGINE_VERSION

TOP: Final = 5
DAY: Final = 86_400_000
WEEK: Final = 7 * DAY
NAMED: Final = 4
"""How many new proposals, and how many that still wait, the daily review names."""


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
    count = _count(condition.pending, "proposal pending", "proposals pending")
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


def daily_review(overview: Overview, since: int, until: int, remind_days: Sequence[float]) -> Alert | None:
    """Return one message about everything that waits for a person; None if nothing is new or due for a reminder.

    ``since`` and ``until`` are the previous and this hour of the schedule, in milliseconds since the epoch.  A proposal
    is new if it was made between them.  A proposal or a rollback that still waits is due if it became ``remind_days``
    old between them, or after the last of these days another week older.  So equal pages and hours give equal alerts.
    What the page does not list, only the counts include.
    """
    condition = Condition(overview, until)
    waiting = [one for one in condition.proposals if one.status == "pending" and one.made is not None]
    new = [one for one in waiting if since < from_text(one.made or "") <= until]
    due: list[tuple[int, ProposalNote | WaitingRollback]] = [
        *((from_text(one.made or ""), one) for one in waiting),
        *((from_text(one.since), one) for one in overview.unreviewed),
    ]
    reminders = sorted(
        (one for one in due if is_due(one[0], since, until, remind_days)),
        key=lambda one: (one[0], one[1].agent_name, one[1].task_type),
    )
    if not new and not reminders:
        return None
    day = to_text(until)[:10]
    action = "review them: crl proposals list; crl rollbacks"
    # The command comes first, because chat services cut long texts.
    pending = _count(condition.pending, "proposal pending", "proposals pending")
    parts = [pending, not_reviewed(overview.n_unreviewed), action]
    parts += _named("new", [_request(one) for one in new])
    parts += _named("still waiting", [_reminder(one, (until - made) // DAY) for made, one in reminders])
    return Alert(
        alert_id=fact_id("alert", until, "daily_review", day),
        timestamp=to_text(until),
        kind="daily_review",
        severity="warning" if reminders else "info",
        subject="all tasks",
        action=action,
        text=f"To review on {day}: {'; '.join(parts)}",
        cause_id=to_text(until),
        number=float(len(new) + len(reminders)),
        engine_version=ENGINE_VERSION,
    )


def not_reviewed(count: int) -> str:
    """Return how many rollbacks wait for a person, in the words of the alert and of ``crl proposals digest``."""
    return _count(count, "rollback not reviewed", "rollbacks not reviewed")


def rollback_words(one: WaitingRollback, age: str) -> str:
    """Return which rollback waits for a person, how long it has, and the command that confirms it."""
    task = f"{one.agent_name}/{one.task_type}"
    return f"rollback of {one.from_variant}, {task}, not reviewed for {age}: crl confirm {one.rollback_id}"


def is_due(made: int, since: int, until: int, remind_days: Sequence[float]) -> bool:
    """Return whether what was made at ``made`` is due for a reminder after ``since``, up to ``until``.

    >>> [day for day in range(1, 31) if is_due(0, (day - 1) * DAY, day * DAY, (1, 3, 7))]
    [1, 3, 7, 14, 21, 28]
    """
    ages = sorted(round(days * DAY) for days in remind_days)
    if any(since < made + age <= until for age in ages):
        return True
    last = made + (ages[-1] if ages else 0)
    weeks = (until - last) // WEEK
    return weeks >= 1 and since < last + weeks * WEEK


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _named(title: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return []
    more = [f"and {len(entries) - NAMED} more"] if len(entries) > NAMED else []
    return [f"{title}: {' | '.join([*entries[:NAMED], *more])}"]


def _request(one: ProposalNote) -> str:
    undo = [f"undo an approval: {one.undo_command}"] if one.undo_command else []
    about = f"{one.proposal_id} ({one.confidence:.0%}, {one.proposal_type} {one.target_variant}"
    return ", ".join([f"{about}, {one.agent_name}/{one.task_type})", *reach_parts(one), *undo])


def _reminder(one: ProposalNote | WaitingRollback, days: int) -> str:
    age = f"{days} day{'' if days == 1 else 's'}"
    return f"{_request(one)}, waiting for {age}" if isinstance(one, ProposalNote) else rollback_words(one, age)
