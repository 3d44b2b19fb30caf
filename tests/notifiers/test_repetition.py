"""Changes are sent at once; repetitions are sent at growing intervals, with their number."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.notifiers.channels.webhook import WebhookChannel, WebhookOptions
from crl_stream.notifiers.failures import Undelivered
from crl_stream.notifiers.notice import MAX_TEXT, notice_of
from crl_stream.notifiers.repetition import LONGEST_SECONDS, ONE_STATE, REMEMBERED, Repetitions
from notifiers.receiver import Receiver
from notifiers.stage import NOW, Clock, Scripted, a_notifier, an_alert, down, records

MINUTE = 60.0


def held(number: int, **fields: Any) -> Any:
    """Return the alert that the monitor repeats every 50 outcomes while a degraded variant is held."""
    own = {"kind": "held_degradation", "subject": "a/t v2", "cause_id": "deg-1", "timestamp": NOW, "undo_command": None}
    return an_alert(number, **(own | {"text": "a/t v2: degraded but not rolled back: held by kim"} | fields))


def over(number: int, **fields: Any) -> Any:
    return held(number, **({"severity": "info", "resolved": True, "text": "a/t v2: over"} | fields))


async def told(clock: Clock, *batches: list[Any], **options: Any) -> list[str]:
    channel = Scripted()
    notifier = a_notifier(channel, clock, **options)
    for batch in batches:
        await notifier.deliver("crl.alerts", records(batch))
    return [notice.text for notice in channel.taken]


async def test_five_thousand_failures_of_a_held_task_are_one_critical_webhook_and_the_recovery_counts_the_rest(
    receiver: Receiver,
) -> None:
    options = WebhookOptions(kind="webhook", url=receiver.url, secret="0123456789abcdef-of-the-receiver")
    clock = Clock()
    notifier = a_notifier(WebhookChannel("ops", options, now=clock.now), clock, settings=options)
    for start in range(0, 100, 10):
        await notifier.deliver("crl.alerts", records([held(start + n) for n in range(10)]))
        clock.seconds += 0.4
    assert len(receiver.requests) == 1
    assert notifier.status()["withheld"] == 99
    await notifier.deliver("crl.alerts", records([over(100)]))
    await notifier.close()
    assert len(receiver.requests) == 2
    assert b"99 repetitions were not sent since 2025-11-19T15:00:00Z" in receiver.requests[1][1]


async def test_reminders_come_after_growing_intervals_up_to_a_day_and_say_how_often_it_was_repeated() -> None:
    clock, channel = Clock(), Scripted()
    notifier = a_notifier(channel, clock, remind_after_minutes=30.0, max_age_hours=8_760.0)
    began, at = clock.seconds, []
    for minute in range(5 * 24 * 60):
        clock.seconds = began + minute * MINUTE
        before = len(channel.taken)
        await notifier.deliver("crl.alerts", records([held(minute)]))
        at += [minute] * (len(channel.taken) - before)
    assert at == [0, 30, 90, 210, 450, 930, 1_890, 3_330, 4_770, 6_210]
    counts = [re.search(r"reminder: (\d+) times since", notice.text) for notice in channel.taken[1:]]
    assert [int(found[1]) for found in counts if found] == [30, 60, 120, 240, 480, 960, 1_440, 1_440, 1_440]


async def test_degraded_and_recovered_fifty_times_are_a_hundred_changes_and_none_is_withheld() -> None:
    changes = []
    for number in range(50):
        cause = f"deg-{number}"
        changes += [
            held(2 * number, kind="degradation", cause_id=cause, text=f"degraded {number}"),
            over(2 * number + 1, kind="degradation", cause_id=cause, text=f"recovered {number}"),
        ]
    said = await told(Clock(), changes)
    assert [text.split(" (")[0] for text in said] == [alert.text for alert in changes]
    assert said[-2] == "degraded 49 (50 times within a day)"


@pytest.mark.parametrize(
    "change",
    [
        held(1, cause_id="deg-2"),
        held(1, severity="warning"),
        held(1, kind="rollback", cause_id="rb-1"),
        held(1, kind="no_target"),
        held(1, subject="a/t v3"),
        held(1, kind="rollback", cause_id="cmd-undo"),
        over(1),
    ],
    ids=["a new degradation", "a severity", "a rollback", "another kind", "another variant", "an undo", "the end"],
)
async def test_a_change_of_state_is_told_at_once_however_short_ago_the_last_word_was(change: Any) -> None:
    said = await told(Clock(), [held(0), held(10), held(11)], [change])
    assert len(said) == 2


@pytest.mark.parametrize("kind", sorted(ONE_STATE))
async def test_a_flood_of_bad_records_with_a_cause_each_is_one_message_per_subject(kind: str) -> None:
    flood = [held(n, kind=kind, subject=f"a/t{n % 2}", cause_id=f"0:{n}") for n in range(1_000)]
    assert len(await told(Clock(), flood)) == 2


async def test_with_zero_minutes_every_repetition_is_sent() -> None:
    assert len(await told(Clock(), [held(n) for n in range(20)], remind_after_minutes=0.0)) == 20


async def test_after_a_restart_the_state_is_told_once_more_and_then_limited_again() -> None:
    clock = Clock()
    for start in (0, 100):
        assert len(await told(clock, [held(start + n) for n in range(50)])) == 1


async def test_an_alert_that_was_given_up_counts_as_untold_and_the_next_repetition_is_sent() -> None:
    channel, clock = Scripted(*down(20)), Clock()
    notifier = a_notifier(channel, clock, give_up_after_hours=1.0)
    await notifier.deliver("crl.alerts", records([held(0)]))
    assert (notifier.undelivered, channel.taken) == (1, [])
    channel.failures.clear()
    await notifier.deliver("crl.alerts", records([held(1), held(2)]))
    assert [notice.id for notice in channel.taken] == [held(1).alert_id]


async def test_the_time_to_the_next_reminder_begins_when_the_message_was_taken_not_when_it_was_tried() -> None:
    channel, clock = Scripted(Undelivered("busy", retry_after=3_600)), Clock()
    notifier = a_notifier(channel, clock)
    await notifier.deliver("crl.alerts", records([held(n) for n in range(20)]))
    assert len(channel.taken) == 1


async def test_what_no_later_notice_could_count_is_said_when_the_channel_closes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    notifier = a_notifier(Scripted())
    await notifier.deliver("crl.alerts", records([held(n) for n in range(20)]))
    await notifier.close()
    assert "19 repetitions of held_degradation a/t v2 were not sent" in caplog.text


def test_the_count_is_not_what_a_text_of_the_greatest_length_loses() -> None:
    limit = Repetitions(30.0)
    notices = [notice_of(held(n, text="x" * 5_000)) for n in range(3)]
    assert limit.admit(notices[0], 0.0) is not None
    assert limit.admit(notices[1], 1.0) is None
    reminder = limit.admit(notices[2], 1_800.0)
    assert reminder is not None
    assert len(reminder.text) <= MAX_TEXT
    assert reminder.text.endswith("(reminder: 2 times since 2025-11-19T15:00:00Z)")


def test_the_memory_of_subjects_is_bounded() -> None:
    limit = Repetitions(30.0)
    for number in range(REMEMBERED + 500):
        assert limit.admit(notice_of(held(number, subject=f"a/t v{number}")), float(number)) is not None
    assert len(limit._states) == REMEMBERED


events = st.lists(
    st.tuples(
        st.floats(0.0, 3.0 * LONGEST_SECONDS, allow_nan=False),
        st.sampled_from(["open", "open", "open", "over"]),
        st.integers(0, 1),
        st.integers(0, 2),
    ),
    max_size=60,
)


@given(events, st.floats(0.1, 3_000.0))
def test_no_change_is_withheld_no_repetition_is_lost_from_the_count_and_none_comes_too_early(
    history: list[tuple[float, str, int, int]], minutes: float
) -> None:
    limit, now = Repetitions(minutes), 0.0
    state: dict[str, str | None] = {}
    last: dict[str, float] = {}
    given_, counted, sent = 0, 0, 0
    for number, (pause, what, who, cause) in enumerate(history):
        now += pause
        subject = f"a/t v{who}"
        make = over if what == "over" else held
        notice = notice_of(make(number, subject=subject, cause_id=f"deg-{cause}"))
        admitted = limit.admit(notice, now)
        given_ += 1
        change = what == "over" or state.get(subject) != f"deg-{cause}"
        if change:
            assert admitted is not None
        elif admitted is not None:
            assert now - last[subject] >= minutes * MINUTE - 1e-6
        if admitted is not None:
            sent += 1
            last[subject] = now
            for pattern, less in ((r"(\d+) repetitions? w", 0), (r"reminder: (\d+) times", 1)):
                if found := re.search(pattern, admitted.text):
                    counted += int(found[1]) - less
        state[subject] = None if what == "over" else f"deg-{cause}"
    assert given_ == sent + counted + sum(number for _, _, number in limit.untold())
    assert limit.withheld == given_ - sent
