"""One message a day about everything that waits for a person, and less and less often about the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.core.overview import Ledger, Place, daily_review, make_page
from crl_stream.core.overview.notes import note_of
from crl_stream.core.overview.review import is_due
from crl_stream.notifiers.notice import notice_of, with_link
from crl_stream.proposals.digest import digest, digest_text
from crl_stream.settings.model import Review
from crl_stream.worker.review_hours import ReviewHours

from .task import Task, proven
from .test_weekly_review import DAY, MONDAY, a_page, a_proposal

DAYS = (1.0, 3.0, 7.0)
WAITING = m.WaitingRollback(
    agent_name="a", task_type="b", rollback_id="rb-20251117-0123abcd", from_variant="v2", since=to_text(MONDAY)
)


def page_of(*proposals: m.ProposalNote, rollbacks: Sequence[m.WaitingRollback] = ()) -> m.Overview:
    page = a_page(*proposals)
    return msgspec.structs.replace(page, unreviewed=list(rollbacks), n_unreviewed=len(rollbacks))


def told_on(page: m.Overview, days: int = 40) -> list[int]:
    """Return on which days after its first one the page is worth a message."""
    return [day for day in range(1, days) if daily_review(page, MONDAY + (day - 1) * DAY, MONDAY + day * DAY, DAYS)]


def test_what_waits_is_reminded_of_after_one_three_and_seven_days_and_then_weekly() -> None:
    made = a_proposal(1, 0.8, made=to_text(MONDAY - 1), expires_at="2026-03-01T00:00:00Z")
    assert told_on(page_of(made)) == [1, 3, 7, 14, 21, 28, 35]
    assert told_on(page_of(rollbacks=[WAITING])) == [1, 3, 7, 14, 21, 28, 35]


def test_new_proposals_come_in_one_message_with_what_they_touch_and_how_to_undo_them() -> None:
    notes = [
        a_proposal(
            number,
            0.7,
            made=to_text(MONDAY + 1_000),
            touches=m.Touches(runtimes=4, outcomes_an_hour=120),
            undo_command=f"crl undo backend-architect/task-{number} --epoch 8",
        )
        for number in range(6)
    ]
    alert = daily_review(page_of(*notes), MONDAY, MONDAY + DAY, DAYS)
    assert alert is not None
    assert (alert.kind, alert.severity, alert.number) == ("daily_review", "info", 6.0)
    assert alert.text.count("touches 1 task, 4 runtimes, about 120 outcomes an hour") == 4
    assert "undo an approval: crl undo backend-architect/task-0 --epoch 8" in alert.text
    assert "and 2 more" in alert.text
    assert (
        "6 proposals pending; 0 rollbacks not reviewed; review them: crl proposals list; crl rollbacks; new: "
        in alert.text
    )
    notice = with_link(notice_of(alert), "https://crl.example.com")
    assert notice.url == "https://crl.example.com/dashboard/review"


def test_a_message_that_is_too_long_for_a_chat_keeps_the_commands() -> None:
    long = "x" * 128
    notes = [a_proposal(n, 0.7, made=to_text(MONDAY + n), target_variant=long, undo_command=long * 4) for n in range(6)]
    alert = daily_review(page_of(*notes), MONDAY - 1, MONDAY + DAY, DAYS)
    assert alert is not None
    text = notice_of(alert).text
    assert text.endswith("…")
    assert "review them: crl proposals list; crl rollbacks" in text


def test_a_reminder_says_how_long_something_has_waited_and_the_command_that_settles_it() -> None:
    alert = daily_review(page_of(rollbacks=[WAITING]), MONDAY + 2 * DAY, MONDAY + 3 * DAY, DAYS)
    assert alert is not None
    assert alert.severity == "warning"
    assert "rollback of v2, a/b, not reviewed for 3 days: crl confirm rb-20251117-0123abcd" in alert.text
    assert "1 rollback not reviewed; " in alert.text


def test_equal_pages_and_hours_give_equal_messages_and_days_have_ids_of_their_own() -> None:
    page = page_of(a_proposal(1, 0.8, made=to_text(MONDAY - 1)))
    one, again = (daily_review(page, MONDAY, MONDAY + DAY, DAYS) for _ in range(2))
    other = daily_review(page, MONDAY + 2 * DAY, MONDAY + 3 * DAY, DAYS)
    assert one is not None
    assert other is not None
    assert one == again
    assert one.alert_id != other.alert_id


def test_deferred_and_expired_proposals_are_not_reminded_of() -> None:
    deferred = a_proposal(1, 0.8, made=to_text(MONDAY - 1), status="deferred")
    expired = a_proposal(2, 0.8, made=to_text(MONDAY - 1), expires_at=to_text(MONDAY))
    assert daily_review(page_of(deferred, expired), MONDAY, MONDAY + DAY, DAYS) is None


@given(
    st.lists(st.integers(1, 5 * DAY), min_size=1, max_size=60),
    st.lists(st.integers(1, 30), max_size=4, unique=True),
)
def test_each_age_is_reminded_of_once_however_far_apart_the_hours_are(steps: list[int], days: list[int]) -> None:
    """A schedule that leaves out weekends misses no reminder; several that fall into one step count as one."""
    now, told, expected = 0, 0, 0
    last = max(days, default=0) * DAY
    for step in steps:
        before, now = now, now + step
        told += is_due(0, before, now, days)
        weeks = [last + 7 * DAY * week for week in range(1, now // (7 * DAY) + 2)]
        expected += any(before < age <= now for age in [*(day * DAY for day in days), *weeks])
    assert told == expected


def test_a_rollback_waits_on_the_page_until_a_person_has_reviewed_it() -> None:
    task = proven(bad="S" * 30)
    task.order(m.ActivateVariant, variant_id="bad")
    while task.row.active == "bad":
        task.run("bad", "F")
    [event] = task.stated(m.RollbackEvent)
    [waiting] = overview_of(task).unreviewed
    assert (waiting.rollback_id, waiting.from_variant, waiting.since) == (event.rollback_id, "bad", event.timestamp)
    task.order(m.ConfirmRollback, rollback_id=event.rollback_id)
    page = overview_of(task)
    assert (page.unreviewed, page.n_unreviewed) == ([], 0)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_digest_names_the_rollbacks_that_wait_in_the_words_of_the_daily_message(count: int) -> None:
    page = page_of(rollbacks=[msgspec.structs.replace(WAITING, rollback_id=f"rb-{n}") for n in range(count)])
    review = digest([], MONDAY + 7 * DAY, overview=page)
    assert (review.unreviewed, review.oldest_unreviewed) == (count, page.unreviewed[0] if count else None)
    text = digest_text(review)
    told = daily_review(page, MONDAY + 6 * DAY, MONDAY + 7 * DAY, DAYS)
    words = f"{count} rollback{'' if count == 1 else 's'} not reviewed"
    assert words in text
    assert ("crl rollbacks" in text) == (count > 1)
    if told is not None:
        assert words in told.text
        assert "rollback of v2, a/b, not reviewed for 7 days: crl confirm rb-0" in told.text
        assert "the oldest: rollback of v2, a/b, not reviewed for 7 d: crl confirm rb-0; or: crl undo rb-0" in text
    assert (told is None) == (count == 0)


def overview_of(task: Task) -> m.Overview:
    ledger = Ledger({})
    for offset, snapshot in enumerate(task.stated(m.TaskSnapshot)):
        ledger.apply(note_of(snapshot), Place(0, offset, task.now))
    return make_page(ledger, 0)


@pytest.mark.parametrize(
    ("schedule", "now", "hours"),
    [
        ("0 9 * * *", "2025-11-19T09:00:20", ("2025-11-18T09:00", "2025-11-19T09:00")),
        ("0 9 * * *", "2025-11-19T11:00:00", ("2025-11-18T09:00", "2025-11-19T09:00")),
        ("0 9 * * 1-5", "2025-11-24T09:00:00", ("2025-11-21T09:00", "2025-11-24T09:00")),
        ("0 9 * * *", "2025-10-26T09:00:30", ("2025-10-25T09:00", "2025-10-26T09:00")),
    ],
)
def test_the_message_covers_the_time_since_the_previous_hour_of_its_schedule(
    schedule: str, now: str, hours: tuple[str, str]
) -> None:
    zone = ZoneInfo("Europe/Vienna")

    def at(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()

    daily = ReviewHours(Review(timezone="Europe/Vienna"), at(now), schedule)
    assert daily.last_two(at(now)) == (at(hours[0]), at(hours[1]))


def test_after_a_suspended_machine_wakes_the_message_covers_every_hour_that_was_missed() -> None:
    """What was new, or due for a reminder, at an hour that was missed would else never be named."""
    friday, monday = (datetime(2025, 11, day, hour, 20, tzinfo=UTC) for day, hour in ((21, 9), (24, 9)))
    daily = ReviewHours(Review(), friday.timestamp(), "0 9 * * *")
    assert not daily.has_come(friday.timestamp() + 60)
    assert daily.has_come(monday.timestamp())
    nine = [datetime(2025, 11, day, 9, tzinfo=UTC).timestamp() for day in (21, 24, 25)]
    assert daily.last_two(monday.timestamp()) == (nine[0], nine[1])
    tuesday = nine[2] + 20
    assert daily.has_come(tuesday)
    assert daily.last_two(tuesday) == (nine[1], nine[2])
