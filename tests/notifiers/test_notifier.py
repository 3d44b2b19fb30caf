"""Notices are sent in order and retried, and a notice that cannot be delivered is finally logged.

A failing channel delays no other, and a new channel does not send a year of alerts one by one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.core.instant import from_text, to_text
from crl_stream.errors import Unavailable
from crl_stream.notifiers.channels.log import LogOptions
from crl_stream.notifiers.failures import Refused, Undelivered
from crl_stream.notifiers.notice import MAX_TEXT, Notice, notice_of, with_link
from crl_stream.notifiers.notifier import LONGEST_WAIT, Notifier, open_notifiers
from notifiers.stage import NOW, Clock, Scripted, a_notifier, an_alert, an_example, down, records

HOUR = 3_600_000


def at(hours_ago: float) -> str:
    return to_text(from_text(NOW) - int(hours_ago * HOUR))


def fresh(number: int, **fields: Any) -> Any:
    return an_alert(number, **({"timestamp": at(0.1)} | fields))


async def test_alerts_are_told_in_their_order_and_each_once() -> None:
    channel = Scripted()
    notifier = a_notifier(channel)
    await notifier.deliver("crl.alerts", records([fresh(1), fresh(2), fresh(1)]))
    await notifier.deliver("crl.alerts", records([fresh(2), fresh(3)]))
    assert [notice.id for notice in channel.taken] == [fresh(n).alert_id for n in (1, 2, 3)]
    assert notifier.status() == {
        "name": "ops",
        "kind": "log",
        "delivered": 3,
        "undelivered": 0,
        "withheld": 0,
        "attempts_failed": 0,
        "failing": None,
    }


async def test_a_failing_channel_is_tried_again_after_1_2_4_seconds_up_to_5_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    channel, clock = Scripted(*down(12)), Clock()
    await a_notifier(channel, clock).deliver("crl.alerts", records([fresh(1), fresh(2)]))
    assert clock.slept == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert len({notice.id for notice in channel.tried[:13]}) == 1, "every attempt has the same id"
    assert [notice.id for notice in channel.taken] == [fresh(1).alert_id, fresh(2).alert_id]
    said = [record.getMessage() for record in caplog.records]
    assert [line.split("(")[0] for line in said[:-1]] == [f"notifiers.ops: attempt {n} failed " for n in (1, 2, 4, 8)]
    assert said[-1] == "notifiers.ops works again after 12 failed attempts"


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.randoms())
def test_a_wait_is_a_random_part_of_its_bound_and_never_less_than_half_of_it(failures: list[int], chance: Any) -> None:
    notifier = Notifier("ops", LogOptions(), Scripted(), spread=chance.uniform)
    for count in failures:
        longest = min(LONGEST_WAIT, 2.0**count)
        assert longest / 2 <= notifier._wait(count + 1) <= longest


async def test_a_receiver_that_asks_for_time_is_given_it_up_to_an_hour() -> None:
    clock = Clock()
    channel = Scripted(Undelivered("busy", retry_after=90), Undelivered("busy", retry_after=9e9))
    await a_notifier(channel, clock).deliver("crl.alerts", records([fresh(1)]))
    assert clock.slept == [90, 3_600]


async def test_without_an_end_it_is_tried_for_days() -> None:
    channel, clock = Scripted(*down(2_000)), Clock()
    await a_notifier(channel, clock).deliver("crl.alerts", records([fresh(1)]))
    assert sum(clock.slept) > 6 * 86_400
    assert len(channel.taken) == 1


async def test_what_is_given_up_is_logged_with_its_text_and_the_next_one_gets_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel, clock = Scripted(*down(20)), Clock()
    notifier = a_notifier(channel, clock, give_up_after_hours=1.0)
    await notifier.deliver("crl.alerts", records([fresh(1), fresh(2)]))
    assert sum(clock.slept) <= 3_600
    [loud] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "UNDELIVERED through notifiers.ops" in loud.getMessage()
    assert fresh(1).text in loud.getMessage()
    assert [notice.id for notice in channel.taken] == [fresh(2).alert_id]
    assert (notifier.delivered, notifier.undelivered) == (1, 1)


async def test_a_notice_that_the_receiver_refuses_does_not_stand_in_the_way_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = Scripted(*[Refused("answered 422") for _ in range(5)])
    await a_notifier(channel).deliver("crl.alerts", records([fresh(1), fresh(2)]))
    assert [notice.id for notice in channel.taken] == [fresh(2).alert_id]
    assert "UNDELIVERED" in caplog.text


async def test_an_error_that_nobody_foresaw_is_tried_again_and_its_text_is_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = Scripted(RuntimeError("https://hooks.example.com/T0P-SECRET"))
    await a_notifier(channel).deliver("crl.alerts", records([fresh(1)]))
    assert len(channel.taken) == 1
    assert "RuntimeError" in caplog.text
    assert "T0P-SECRET" not in caplog.text


async def test_an_attempt_that_hangs_ends_by_itself() -> None:
    class Hanging(Scripted):
        async def send(self, notice: Notice) -> None:
            if not self.tried:
                self.tried.append(notice)
                await asyncio.Event().wait()
            await super().send(notice)

    channel = Hanging()
    await a_notifier(channel, timeout_seconds=0.01).deliver("crl.alerts", records([fresh(1)]))
    assert len(channel.taken) == 1


async def test_a_channel_that_is_down_makes_no_other_one_wait() -> None:
    gate, working = asyncio.Event(), Scripted()

    async def wait_for_ever(_: float) -> None:
        await gate.wait()

    failing = Notifier("dead", LogOptions(), Scripted(*down(1)), now=Clock().now, sleep=wait_for_ever)
    stuck = asyncio.create_task(failing.deliver("crl.alerts", records([fresh(1)])))
    await a_notifier(working).deliver("crl.alerts", records([fresh(1)]))
    assert len(working.taken) == 1
    assert not stuck.done()
    gate.set()
    await stuck


async def test_batches_of_several_partitions_are_sent_one_notice_at_a_time() -> None:
    under_way = 0

    class Watching(Scripted):
        async def send(self, notice: Notice) -> None:
            nonlocal under_way
            under_way += 1
            assert under_way == 1
            await asyncio.sleep(0)
            under_way -= 1
            await super().send(notice)

    notifier = a_notifier(channel := Watching())
    await asyncio.gather(*[notifier.deliver("crl.alerts", records([fresh(p), fresh(p + 10)])) for p in range(4)])
    assert len(channel.taken) == 8


async def test_after_a_crash_the_same_alerts_come_with_the_same_ids() -> None:
    batch = records([fresh(1), fresh(2), an_alert(3, timestamp=at(50)), an_alert(4, timestamp=at(30))])
    seen = []
    for _ in range(2):
        channel = Scripted()
        await a_notifier(channel).deliver("crl.alerts", batch)
        seen.append([notice.id for notice in channel.taken])
    assert seen[0] == seen[1]


# -- a night, a year ------------------------------------------------------------------------------
async def test_a_new_channel_does_not_tell_a_year_but_one_line_of_it() -> None:
    year = [
        an_alert(n, timestamp=at(24.0 * (365 - n)), severity=("info", "warning", "critical")[n % 3]) for n in range(363)
    ]
    channel = Scripted()
    await a_notifier(channel).deliver("crl.alerts", records([*year, fresh(999)]))
    summary, last = channel.taken
    assert last.id == fresh(999).alert_id
    assert (summary.kind, summary.severity) == ("backlog", "critical")
    assert summary.text.startswith("363 notices older than 24 h, ")
    assert "121 critical, 121 warning, 121 info" in summary.text
    assert year[362].text in summary.text, "the summary names the newest critical alert"
    assert "and 118 more" in summary.text
    assert summary.text.endswith("crl tail alerts --from-beginning")


async def test_the_summary_calls_nothing_urgent_that_is_over() -> None:
    opened = an_alert(1, kind="degradation", timestamp=at(40))
    over = an_alert(2, kind="degradation", timestamp=at(39), subject=opened.subject, severity="info", resolved=True)
    channel = Scripted()
    await a_notifier(channel).deliver("crl.alerts", records([opened, over]))
    [summary] = channel.taken
    assert summary.severity == "info"
    assert "1 critical, 1 recovered" in summary.text
    assert "not resolved by then" not in summary.text


async def test_what_grew_old_while_the_channel_was_down_is_told_in_one_line_and_none_of_it_is_lost() -> None:
    clock = Clock()
    channel = Scripted(*down(400))
    alerts = [an_alert(n, timestamp=at(0)) for n in range(50)]
    await a_notifier(channel, clock).deliver("crl.alerts", records(alerts))
    assert clock.seconds > from_text(NOW) / 1_000 + 24 * 3_600
    first, summary = channel.taken
    assert first.id == alerts[0].alert_id
    assert summary.data["ids"] == [alert.alert_id for alert in alerts[1:]]


async def test_what_was_summarised_is_told_no_second_time_when_the_monitor_repeats_it() -> None:
    channel = Scripted()
    notifier = a_notifier(channel)
    night = [an_alert(n, timestamp=at(30)) for n in range(3)]
    await notifier.deliver("crl.alerts", records(night))
    await notifier.deliver("crl.alerts", records([*night, fresh(9)]))
    assert [notice.kind for notice in channel.taken] == ["backlog", "rollback"]


async def test_the_age_from_which_on_is_a_setting() -> None:
    channel = Scripted()
    await a_notifier(channel, max_age_hours=100.0).deliver("crl.alerts", records([an_alert(1, timestamp=at(99))]))
    assert [notice.kind for notice in channel.taken] == ["rollback"]


# -- the test line --------------------------------------------------------------------------------
async def test_the_test_line_is_sent_once_and_a_failure_says_where_to_look() -> None:
    channel = Scripted()
    await a_notifier(channel).send_test()
    assert [notice.kind for notice in channel.taken] == ["test"]
    failing = Scripted(*down(1))
    with pytest.raises(Unavailable, match="down") as caught:
        await a_notifier(failing).send_test()
    assert "crl notify list" in str(caught.value)
    assert len(failing.tried) == 1


async def test_without_a_channel_alerts_go_to_the_log_at_their_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    [notifier] = open_notifiers({})
    notifier._now = Clock().now
    over = fresh(2, severity="info", resolved=True)
    await notifier.deliver("crl.alerts", records([fresh(1), over, fresh(3, severity="warning")]))
    said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "crl_stream.alerts"]
    assert said == [
        ("ERROR", fresh(1).text),
        ("INFO", f"RESOLVED {over.text}"),
        ("WARNING", fresh(3).text),
    ]
    await notifier.close()


async def test_facts_and_alerts_of_one_event_reach_a_program_as_one_fact() -> None:
    channel = Scripted()
    notifier = a_notifier(channel, content="facts", max_age_hours=8_760.0)
    await notifier.deliver("crl.rollbacks", records([an_example("crl.rollbacks", "RollbackEvent")]))
    await notifier.deliver("crl.alerts", records([an_example("crl.alerts", "Alert-rollback")]))
    assert [notice.id for notice in channel.taken] == ["rb-20251119-782af3edde5b"]


@pytest.mark.parametrize(
    ("topic", "message", "page"),
    [
        ("crl.rollbacks", "RollbackEvent", "rollbacks/{rollback_id}"),
        ("crl.alerts", "Alert-rollback", "rollbacks/{cause_id}"),
        ("crl.degradations", "DegradationAlert", "tasks/{agent_name}/{task_type}"),
    ],
)
async def test_a_notice_links_to_its_page_if_the_settings_name_a_dashboard(topic: str, message: str, page: str) -> None:
    channel = Scripted()
    told = an_example(topic, message, timestamp=at(0.1))
    content = "alerts" if topic == "crl.alerts" else "facts"
    notifier = a_notifier(channel, dashboard="https://crl.example.com", content=content)
    await notifier.deliver(topic, records([told]))
    [notice] = channel.taken
    expected = "https://crl.example.com/dashboard/" + page.format(**msgspec.to_builtins(told))
    assert notice.url == notice.document()["url"] == expected
    assert notice.text.endswith(f"; see {expected}")


def test_a_link_is_never_cut_off() -> None:
    notice = notice_of(an_alert(1, text="x" * 5_000))
    linked = with_link(notice, "https://crl.example.com/")
    assert len(linked.text) == MAX_TEXT
    assert linked.text.endswith(linked.url)
    assert with_link(notice, "") is notice
    assert "url" not in notice.document()
