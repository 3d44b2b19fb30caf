"""The overview counts every note once, however often the note is repeated, and its sums cover all notes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.core.overview import Ledger, Place, make_page, page, ranking
from crl_stream.core.overview.rows import decode_task

from .notes import (
    AGENT,
    DAY,
    HOUR,
    NOON,
    TASK,
    Noted,
    Recount,
    a_proposal,
    a_rollback,
    a_standing,
    a_task,
    an_alert,
    at,
    histories,
    notes,
)

KEY = f"{AGENT}/{TASK}".encode()


class Story:
    """An overview that folds notes in batches, one after another."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.alerts: list[m.Alert] = []
        self.offset = 0
        self.news: list[bool] = []

    def tell(self, *told: Any, days: float = 0) -> m.Overview:
        return self.take([Noted(note, NOON + round(days * DAY)) for note in told])

    def take(self, history: list[Noted]) -> m.Overview:
        ledger = Ledger(self.rows)
        for noted in history:
            news, alerts = ledger.apply(noted.note, Place(0, self.offset, noted.time))
            self.news.append(news)
            self.alerts += alerts
            self.offset += 1
        self.rows |= ledger.changed()
        return make_page(Ledger(self.rows), 0)


@contextmanager
def short_lists(shown: int, reserve: int) -> Iterator[None]:
    """Shorten the lists on the page, so that a few entries are enough to overflow them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SHOWN", shown)
        patch.setattr(page, "SHOWN", shown)
        patch.setattr(ranking, "RESERVE", reserve)
        yield


def assert_recounted(overview: m.Overview, history: list[Noted], shown: int) -> None:
    facts = Recount(history).facts()
    assert overview.tasks == facts["tasks"]
    assert overview.agents == facts["agents"]
    assert overview.q_table_entries == facts["q_table_entries"]
    assert [from_text(time) for time in overview.rollback_times] == facts["in_month"]
    assert [note.rollback_id for note in overview.rollbacks] == facts["recent"]
    assert overview.pending_proposals == len(facts["pending"])
    assert [(-p.confidence, p.timestamp, p.proposal_id) for p in overview.proposals][:shown] == [
        (confidence, time, i) for confidence, time, i in facts["pending"]
    ][:shown]
    assert overview.n_high_confidence == len(facts["high"])
    assert [
        (-v.q_value, -v.n_visits, v.agent_name, v.task_type, v.variant_id) for v in overview.high_confidence
    ] == facts["high"][:shown]
    assert overview.n_degraded == len(facts["degraded"])
    listed = [(v.since, v.agent_name, v.task_type, v.variant_id) for v in overview.degraded]
    assert set(listed) <= set(facts["degraded"])
    assert len(listed) == min(shown, len(facts["degraded"]))
    newest = sorted((since for since, *_ in facts["degraded"]), reverse=True)
    assert [since for since, *_ in listed] == newest[:shown]
    assert overview.n_open_alerts == len(facts["alerts"])
    named = {(a.kind, a.subject, a.alert_id) for a in overview.open_alerts}
    assert named <= set(facts["alerts"])
    assert len(named) == min(shown, len(facts["alerts"]))


@settings(max_examples=150, deadline=None)
@given(histories, st.sampled_from([(100, 200), (2, 3), (1, 1)]))
def test_after_any_notes_the_page_is_what_a_recount_of_all_of_them_gives(
    history: list[Noted], lengths: tuple[int, int]
) -> None:
    with short_lists(*lengths):
        story = Story()
        for number, noted in enumerate(history):
            overview = story.take([noted])
            assert_recounted(overview, history[: number + 1], lengths[0])


@settings(max_examples=200, deadline=None)
@given(histories)
def test_the_rate_is_alerted_exactly_when_it_crosses_its_limit_and_ended_when_it_falls_back(
    history: list[Noted],
) -> None:
    story = Story()
    above = False
    for number, noted in enumerate(history):
        told = len(story.alerts)
        story.take([noted])
        in_week = Recount(history[: number + 1]).facts()["in_week"]
        fresh = story.alerts[told:]
        assert [alert.resolved for alert in fresh] == ([] if (in_week > 3) == above else [above])
        assert all(alert.number == in_week and alert.limit == 3 for alert in fresh)
        above = in_week > 3


@settings(max_examples=150, deadline=None)
@given(histories, st.data())
def test_notes_that_come_again_later_change_nothing_but_the_hour(history: list[Noted], data: st.DataObject) -> None:
    """After a crash, a worker writes the notes for part of its topics again, in order."""
    if not history:
        return
    once, twice = Story(), Story()
    end = data.draw(st.integers(1, len(history)))
    start = data.draw(st.integers(0, end - 1))
    hour = history[end - 1].time
    again = [Noted(noted.note, hour) for noted in history[start:end]]
    once.take(history[:end])
    twice.take(history[:end])
    before = dict(twice.rows)
    overview = twice.take(again)
    assert twice.news[end:] == [False] * len(again)
    assert {k: v for k, v in twice.rows.items() if k != b"!overview"} == {
        k: v for k, v in before.items() if k != b"!overview"
    }
    assert overview == make_page(Ledger(before), 0)


@given(notes, st.integers(0, 3))
def test_a_note_touches_the_totals_and_at_most_its_task_and_its_agent(note: Any, days: int) -> None:
    ledger = Ledger({})
    ledger.apply(note, Place(0, 0, NOON + days * DAY))
    changed = list(ledger.changed())
    assert changed[0] == b"!overview"
    assert len(changed) <= 3


def test_four_rollbacks_within_seven_days_are_alerted_in_the_guides_words() -> None:
    story = Story()
    for number in range(3):
        story.tell(a_rollback(f"rb-{number}", number), days=number)
    assert story.alerts == []
    story.tell(a_rollback("rb-3", 3), days=3)
    [alert] = story.alerts
    assert alert.text == "High rollback rate: 4 in last 7 days"
    assert (alert.kind, alert.severity, alert.number, alert.limit) == ("rollback_rate", "warning", 4.0, 3.0)
    assert (alert.subject, alert.cause_id, alert.resolved) == ("all tasks", "rb-3", False)

    story.tell(a_rollback("rb-4", 4), days=4)
    assert len(story.alerts) == 1, "an edge, not a level"

    story.tell(a_task(1), days=7.5)
    assert len(story.alerts) == 1, "four are left"
    story.tell(a_task(2), days=8.5)
    [_, over] = story.alerts
    assert (over.resolved, over.number, over.cause_id) == (True, 3.0, alert.alert_id)
    assert over.alert_id != alert.alert_id


def test_rollbacks_in_shadow_mode_are_shown_and_not_counted() -> None:
    story = Story()
    overview = story.tell(*(a_rollback(f"rb-{n}", 0, enforced=False, undo_command=None) for n in range(6)))
    assert len(overview.rollbacks) == 6
    assert overview.rollback_times == []
    assert story.alerts == []


def test_a_rollback_can_be_undone_until_its_task_has_changed_again() -> None:
    story = Story()
    assert story.tell(a_rollback()).rollbacks[0].undo_command == f"crl undo {AGENT}/{TASK} --epoch 3"
    assert story.tell(a_task(1, epoch=3)).rollbacks[0].undo_command is not None
    assert story.tell(a_task(2, epoch=4)).rollbacks[0].undo_command is None


def test_of_a_proposal_the_highest_revision_is_true_in_whatever_order_they_come() -> None:
    story = Story()
    story.tell(a_proposal(revision=3, status="approved"))
    overview = story.tell(a_proposal(revision=2), a_proposal("prop-2", revision=2, status="deferred"))
    assert [p.proposal_id for p in overview.proposals] == ["prop-2"]
    assert overview.pending_proposals == 1


def test_a_proposal_that_expires_leaves_the_page_by_itself() -> None:
    story = Story()
    assert story.tell(a_proposal()).pending_proposals == 1
    assert story.tell(a_task(1), days=29.9).pending_proposals == 1
    assert story.tell(a_task(2), days=30).pending_proposals == 0


def test_an_alert_is_open_until_it_is_said_to_be_over() -> None:
    story = Story()
    assert [a.kind for a in story.tell(an_alert("rollback_stuck")).open_alerts] == ["rollback_stuck"]
    assert story.tell(an_alert("rollback_stuck", about="v2")).n_open_alerts == 2
    overview = story.tell(an_alert("rollback_stuck", 1, resolved=True, severity="info"))
    assert [a.subject for a in overview.open_alerts] == [f"{AGENT}/{TASK} v2"]


def test_the_task_itself_ends_an_alert_that_nobody_ended() -> None:
    """The monitor reports the beginning of a held degradation, but never its end."""
    degraded = [a_standing("default", 0.4, active=True)]
    story = Story()
    story.tell(a_task(5, 0, degraded=degraded), an_alert("held_degradation", 0, position=m.Position(0, 5)))
    assert story.tell(a_task(6, 0.1, degraded=degraded)).n_open_alerts == 1
    assert story.tell(a_task(7, 0.2, degraded=degraded, active_variant="v2")).n_open_alerts == 0
    assert story.tell(a_task(8, 0.3, degraded=degraded)).n_open_alerts == 0, "it stays ended"


def test_an_alert_that_is_heard_of_after_the_task_has_recovered_is_not_open() -> None:
    story = Story()
    story.tell(a_task(9, 1))
    assert story.tell(an_alert("degradation", 0.5)).n_open_alerts == 0


def test_a_rollback_is_a_moment_and_leaves_no_alert_open() -> None:
    assert Story().tell(an_alert("rollback")).n_open_alerts == 0


def test_a_loss_that_nobody_can_mend_is_open_for_a_week() -> None:
    story = Story()
    gap = an_alert("data_gap", subject="crl.invocations partition 2", agent_name=None, task_type=None)
    assert story.tell(gap).n_open_alerts == 1
    assert story.tell(a_task(1), days=6.9).n_open_alerts == 1
    assert story.tell(a_task(2), days=7).n_open_alerts == 0


def test_a_degraded_variant_keeps_the_hour_at_which_it_was_first_so() -> None:
    story = Story()
    first = a_standing("v2", 0.3)
    story.tell(a_task(1, 1, degraded=[first]))
    assert story.tell(a_task(2, 2, degraded=[first])).degraded[0].since == at(1)
    story.tell(a_task(3, 3))
    assert story.tell(a_task(4, 4, degraded=[first])).degraded[0].since == at(4)


def test_what_asks_for_attention_is_on_a_full_page_before_anything_newer() -> None:
    story = Story()
    story.tell(an_alert("no_target", 0))
    overview = story.tell(*(an_alert("degradation", 0.1, about=f"v{n}") for n in range(250)), days=0.2)
    assert overview.n_open_alerts == 251
    assert len(overview.open_alerts) == 100
    assert overview.open_alerts[-1].kind == "no_target"


def test_the_row_of_a_task_forgets_what_no_topic_could_tell_again() -> None:
    story = Story()
    story.tell(a_proposal("prop-old", status="rejected"), an_alert("rollback_stuck", resolved=True))
    story.tell(a_proposal("prop-new", 401), an_alert("rollback_stuck", 401, about="v9"), days=401)
    row = decode_task(story.rows[KEY])
    assert set(row.proposals) == {"prop-new"}
    assert set(row.alerts) == {f"rollback_stuck {AGENT}/{TASK} v9"}


def test_what_was_forgotten_is_no_news_when_it_is_told_again() -> None:
    story = Story()
    story.tell(a_proposal(status="rejected"), an_alert("rollback_stuck", resolved=True), days=401)
    assert story.news == [False, False]
    assert KEY not in story.rows


def test_a_log_of_notes_that_was_made_anew_is_counted_from_its_beginning() -> None:
    ledger = Ledger({})
    ledger.apply(a_task(1), Place(0, 900, NOON))
    again = Ledger(ledger.changed())
    news, _ = again.apply(a_task(2, 1, variants=5), Place(1, 0, NOON + HOUR))
    assert news
    overview = make_page(again, 0)
    assert (overview.q_table_entries, overview.incarnation, overview.as_of.offset) == (5, 1, 0)
