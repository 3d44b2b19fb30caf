"""People are told once when a problem begins, recurs or ends. A program can receive every fact in full."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.notifiers.channels.log import LogOptions
from crl_stream.notifiers.notice import MAX_TEXT, notice_of, one_line
from crl_stream.notifiers.options import SEVERITIES
from crl_stream.notifiers.selection import REMEMBERED, Selection, topics_of
from notifiers.stage import an_alert, an_example, records


def selection(**options: Any) -> Selection:
    return Selection(LogOptions(**options))


def told(chosen: Selection, *messages: Any, topic: str = "crl.alerts") -> list[str]:
    return [notice.id for notice in chosen.choose(topic, records(messages))]


def test_the_line_of_a_rollback_is_subject_action_number_limit_and_undo_command() -> None:
    notice = notice_of(an_example("crl.alerts", "Alert-rollback"))
    assert notice.text == (
        "backend-architect/api-design api-optimized: rolled back to default: Error rate increased from 2% to 8% "
        "(250.0% increase); undo: crl undo backend-architect/api-design --epoch 3"
    )
    assert (notice.id, notice.severity, notice.resolved) == ("alert-20251119-9df7090c67b3", "critical", False)


def test_a_channel_of_alerts_reads_no_other_topic_since_every_fact_has_its_alert() -> None:
    assert topics_of(LogOptions()) == ("crl.alerts",)
    assert set(topics_of(LogOptions(content="facts"))) == {"crl.alerts", "crl.rollbacks", "crl.degradations"}
    assert told(selection(), an_example("crl.rollbacks", "RollbackEvent"), topic="crl.rollbacks") == []


def test_a_channel_of_facts_is_told_the_facts_and_not_the_alerts_about_them() -> None:
    chosen = selection(content="facts")
    assert told(chosen, an_alert(1), an_example("crl.alerts", "Alert-no-target")) == ["alert-20251119-08350cfaf79a"]
    [notice] = chosen.choose("crl.rollbacks", records([an_example("crl.rollbacks", "RollbackEvent")]))
    assert notice.severity == "critical"
    assert notice.data["candidates"][0]["variant_id"] == "default"
    assert notice.text.endswith("undo: crl undo backend-architect/api-design --epoch 3")
    degraded, recovered = (
        an_example("crl.degradations", name) for name in ("DegradationAlert", "DegradationAlert-recovered")
    )
    found = chosen.choose("crl.degradations", records([degraded, recovered]))
    assert [(n.severity, n.resolved) for n in found] == [("critical", False), ("info", True)]


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("crl.alerts", "Alert-no-target"),
        ("crl.rollbacks", "RollbackEvent"),
        ("crl.degradations", "DegradationAlert"),
    ],
)
def test_a_drill_is_sent_only_if_it_was_started_to_notify_and_then_says_that_it_is_one(topic: str, name: str) -> None:
    chosen = selection(content="facts")
    silent, loud = (
        an_example(topic, name, agent_name="crl-drill", task_type=f"{kind}-1") for kind in ("silent", "notify")
    )
    assert told(chosen, silent, topic=topic) == []
    [notice] = chosen.choose(topic, records([loud]))
    assert notice.text.startswith("THIS IS A DRILL, nothing is wrong: ")


def test_a_rollback_that_was_only_a_shadow_offers_nothing_to_undo() -> None:
    notice = notice_of(an_example("crl.rollbacks", "RollbackEvent", enforced=False))
    assert "would be rolled back to default" in notice.text
    assert "undo" not in notice.text


@pytest.mark.parametrize("least", SEVERITIES)
def test_less_severe_alerts_are_not_told(least: str) -> None:
    alerts = [an_alert(number, severity=severity) for number, severity in enumerate(SEVERITIES)]
    found = [notice.severity for notice in selection(min_severity=least).choose("crl.alerts", records(alerts))]
    assert found == list(SEVERITIES[SEVERITIES.index(least) :])


story = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["critical", "warning", "over", "again"])), min_size=1, max_size=20
)


@given(story)
def test_a_recovery_is_told_exactly_when_what_it_ends_was_told(story: list[tuple[int, str]]) -> None:
    chosen, heard = selection(min_severity="critical"), dict[int, bool]()
    for number, (variant, what) in enumerate(story):
        over = what == "over"
        severity = "info" if over else "critical" if what == "again" else what
        fields = {"kind": "degradation", "subject": f"a/t v{variant}", "severity": severity, "resolved": over}
        found = told(chosen, an_alert(number, **fields))
        if over:
            # The opening alert is unknown, as after a restart: it is better to send one notice too many.
            assert bool(found) == heard.pop(variant, True)
        else:
            assert bool(found) == (severity == "critical")
            heard[variant] = severity == "critical"


def test_an_alert_that_the_monitor_repeats_after_a_crash_is_told_once() -> None:
    chosen = selection()
    assert len(told(chosen, an_alert(1), an_alert(1))) == 1
    assert len(told(chosen, an_alert(1))) == 1, "an alert that was chosen but not sent is chosen again"
    chosen.mark_sent(an_alert(1).alert_id)
    assert told(chosen, an_alert(1), an_alert(2)) == [an_alert(2).alert_id]


def test_a_repetition_that_the_monitor_orders_passes() -> None:
    first, second = (an_example("crl.alerts", "Alert-no-target", alert_id=f"alert-{n}") for n in (1, 2))
    chosen = selection()
    assert told(chosen, first) == ["alert-1"]
    chosen.mark_sent("alert-1")
    assert told(chosen, second) == ["alert-2"]


def test_memory_is_bounded() -> None:
    chosen = selection(min_severity="critical")
    for number in range(REMEMBERED + 10):
        chosen.mark_sent(f"alert-{number}")
    told(chosen, *[an_alert(n, severity="info") for n in range(REMEMBERED + 10)])
    assert len(chosen._sent) == len(chosen._withheld) == REMEMBERED


def test_a_record_that_cannot_be_read_is_reported_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert len(told(selection(), b"{}", None, an_alert(1))) == 1
    assert "offset 0 cannot be sent" in caplog.text


@given(st.text(max_size=3_000))
def test_whatever_somebody_typed_as_a_reason_it_is_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= MAX_TEXT
    assert len(line.splitlines()) <= 1
