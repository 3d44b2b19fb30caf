"""The weekly review is published once at its wall-clock hour, whatever happens to clocks and machines."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from crl_stream.settings.model import Review
from crl_stream.worker.review_hours import ReviewHours

VIENNA = ZoneInfo("Europe/Vienna")


def hours_between(first: str, last: str, schedule: str, *, asleep: tuple[str, str] | None = None) -> list[str]:
    """Return the times at which a process that checks every five minutes, except while asleep, finds a review due."""
    now, end = at(first), at(last)
    hours = ReviewHours(Review(schedule=schedule, timezone="Europe/Vienna"), now)
    came = []
    while now < end:
        now += 300.0
        if asleep is not None and at(asleep[0]) < now < at(asleep[1]):
            continue
        if hours.has_come(now):
            came.append(f"{datetime.fromtimestamp(now, VIENNA):%m-%d %H:%M}")
    return came


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA).timestamp()


@pytest.mark.parametrize(
    ("first", "came"),
    [
        ("2026-03-22T12:00", ["03-23 09:00", "03-30 09:00", "04-06 09:00"]),  # clocks go forward on the 29th
        ("2026-10-18T12:00", ["10-19 09:00", "10-26 09:00", "11-02 09:00"]),  # clocks go back on the 25th
    ],
)
def test_monday_at_nine_is_monday_at_nine_when_clocks_have_changed_on_sunday(first: str, came: list[str]) -> None:
    last = f"{datetime.fromisoformat(first) + timedelta(days=16):%Y-%m-%dT%H:%M}"
    assert hours_between(first, last, "0 9 * * 1") == came


def test_an_hour_that_clocks_leave_out_comes_late_and_one_that_they_show_twice_comes_once() -> None:
    assert hours_between("2026-03-29T00:00", "2026-03-29T12:00", "30 2 * * *") == ["03-29 03:00"]
    assert hours_between("2026-10-25T00:00", "2026-10-25T12:00", "30 2 * * *") == ["10-25 02:30"]


def test_a_machine_that_was_suspended_makes_up_for_the_hour_once() -> None:
    asleep = ("2026-11-20T18:00", "2026-11-24T08:00")
    assert hours_between("2026-11-20T12:00", "2026-11-30T08:00", "0 9 * * *", asleep=asleep)[:2] == [
        "11-24 08:00",
        "11-24 09:00",
    ]


@pytest.mark.parametrize("ahead", ["2035-01-01T00:00", "2026-06-01T12:00", "2027-01-04T09:00"])
@pytest.mark.parametrize("when", ["at its start", "while it ran"])
def test_a_clock_that_was_ahead_once_does_not_end_the_weekly_reviews(ahead: str, when: str) -> None:
    """A machine is started before its clock is set, or its clock jumps and is corrected."""
    now = at("2026-01-05T08:00")
    hours = ReviewHours(Review(timezone="Europe/Vienna"), at(ahead) if when == "at its start" else now)
    if when == "while it ran":
        hours.has_come(at(ahead))
    came = [look for look in range(30 * 24 * 12) if hours.has_come(now + 300.0 * look)]
    assert len(came) == 5


@pytest.mark.parametrize("hours_back", [0.2, 1, 3, 5])
def test_a_clock_that_is_set_back_a_little_repeats_no_review(hours_back: float) -> None:
    now = at("2026-01-05T03:00")
    hours = ReviewHours(Review(timezone="Europe/Vienna"), now)
    came = [hours.has_come(now + 60.0 * minute) for minute in range(6 * 60 + 20)]
    corrected = now + 60.0 * len(came) - 3_600.0 * hours_back
    came += [hours.has_come(corrected + 60.0 * minute) for minute in range(9 * 60)]
    assert sum(came) == 1


def test_a_start_with_a_clock_that_is_ahead_by_minutes_does_not_skip_the_review() -> None:
    """The clock shows 9:10 when it is 8:40, and is corrected immediately."""
    hours = ReviewHours(Review(timezone="Europe/Vienna"), at("2026-01-05T09:10"))
    assert sum(hours.has_come(at("2026-01-05T08:41") + 60.0 * minute) for minute in range(60)) == 1


def test_of_two_runs_over_the_hour_that_clocks_show_twice_each_brings_a_review_once() -> None:
    """In autumn the local clock is set back, but UTC is not."""
    first = hours_between("2026-10-25T00:00", "2026-10-25T02:50", "30 2 * * *")
    second = datetime.fromisoformat("2026-10-25T00:50+00:00").timestamp()  # 2:50, for the first time
    hours = ReviewHours(Review(schedule="30 2 * * *", timezone="Europe/Vienna"), second)
    assert first == ["10-25 02:30"]
    assert not any(hours.has_come(second + 60.0 * minute) for minute in range(3 * 60))
