"""The weekly review is published at the time that the guide gives, in a time zone that the user chooses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from crl_stream.core.identity import TaskKey
from crl_stream.errors import ConfigError
from crl_stream.settings import load_settings
from crl_stream.settings.model import Review


def test_the_weekly_review_is_every_monday_at_nine_unless_told_otherwise() -> None:
    """Guide, Example 3: "Run every Monday at 9 AM"."""
    hours = croniter(Review().schedule, datetime(2025, 11, 19, 14, 30, tzinfo=UTC))
    found = [hours.get_next(datetime) for _ in range(3)]
    assert [moment.strftime("%A %d %H:%M") for moment in found] == [
        "Monday 24 09:00",
        "Monday 01 09:00",
        "Monday 08 09:00",
    ]


def test_the_hour_is_that_of_the_named_zone() -> None:
    settings = load_settings(environment={}, flags={"review.timezone": "Europe/Vienna"})
    zone = ZoneInfo(settings.review.timezone)
    following = croniter(settings.review.schedule, datetime(2025, 7, 2, tzinfo=zone)).get_next(datetime)
    assert following.astimezone(UTC).strftime("%A %H:%M") == "Monday 07:00"


@pytest.mark.parametrize("schedule", ["0 9 29 2 *", "0 9 31 * *", "0 9 * * fri", "0 9 l 2 *", "0 9 * mar mon#5"])
def test_a_day_that_comes_seldom_is_taken(schedule: str) -> None:
    assert Review(schedule=schedule).schedule == schedule


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("review.schedule", "every monday", "cron expression"),
        ("review.schedule", "* * * * * *", "five fields"),
        ("review.schedule", "0 25 * * 1", "cron expression"),
        ("review.schedule", "0 9 30 2 *", "this day never comes"),
        ("review.schedule", "0 0 31 4,6,9,11 *", "this day never comes"),
        ("review.schedule", "*/5 * 30-31 feb *", "this day never comes"),
        ("review.schedule", "0 9 * * 1#6", "cron expression"),
        ("review.schedule", "R 9 * * 1", "cron expression"),
        ("review.schedule", "0 H * * *", "cron expression"),
        ("review.timezone", "Vienna", "time zone"),
        ("review.timezone", "", "time zone"),
        ("review.timezone", "../etc", "time zone"),
    ],
)
def test_an_hour_that_never_comes_is_refused_with_an_example(name: str, value: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as error:
        load_settings(environment={}, flags={name: value})
    assert re.search(r"\b(like|as)\b", error.value.message)
    assert error.value.hint


def test_the_section_has_settings_of_the_policy_beside_those_of_the_schedule() -> None:
    settings = load_settings(
        environment={"CRL_REVIEW_FOUR_EYES": "true", "CRL_REVIEW_TIMEZONE": "Europe/Vienna"}, flags={}
    )
    assert settings.policies.default.review.four_eyes
    assert settings.review.timezone == "Europe/Vienna"
    assert settings.origins["review.four_eyes"].value is True
    assert settings.origins["review.four_eyes"].source == "environment CRL_REVIEW_FOUR_EYES"
    task = {"tasks.a/b.review.four_eyes": "true"}
    assert load_settings(environment={}, flags=task).policies.for_task(TaskKey("a", "b")).review.four_eyes


@pytest.mark.parametrize("text", ["2, 4.5", "2,4.5,", "[2, 4.5]", "(2.0, 4.5)"])
def test_the_days_of_reminders_can_be_given_wherever_settings_are(text: str) -> None:
    """As a text in the environment and on the command line, also as ``crl config show`` prints them."""
    for given in (
        load_settings(environment={"CRL_REVIEW_REMIND_DAYS": text}, flags={}),
        load_settings(environment={}, flags={"review.remind_days": text}),
    ):
        assert given.review.remind_days == (2.0, 4.5)


@pytest.mark.parametrize(
    ("text", "word"),
    [("often", "ages in days, like 1, 3, 7"), ("1;3", "like 1, 3, 7"), ("0", "greater"), ("nan", "365")],
)
def test_days_that_are_none_are_refused_with_an_example(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        load_settings(environment={"CRL_REVIEW_REMIND_DAYS": text}, flags={})
