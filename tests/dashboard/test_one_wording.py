"""What a message touches, what happened last time and the undo command: the same words on every surface."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser

import msgspec
import pytest
from browser.fleets import NOW

from crl_stream.cli.explain_text import page as explain_text
from crl_stream.cli.status_text import task_line
from crl_stream.cli.told_tasks import _tasks_of_overview
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.overview import Condition
from crl_stream.core.overview.notes import note_of
from crl_stream.core.policy import Policy
from crl_stream.core.reach import last_time_words, reach_fields, sentence, touches_words, with_reach
from crl_stream.dashboard import entries, pages
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.task_states import brief
from crl_stream.explaining.explain import Sources, explain
from crl_stream.explaining.ids import Found
from crl_stream.explaining.story import Story
from crl_stream.notifiers.notice import MAX_TEXT, notice_of
from crl_stream.proposals.digest import brief as lines_of
from crl_stream.proposals.page import page as proposal_page
from crl_stream.wire.topics import ALERTS, PROPOSALS, ROLLBACKS
from dashboard.golden_topics import golden_fleet, golden_records

VIEWER = pages.Viewer(actor="web:ada", may_act=True, csrf="c", environment="production")
TOUCHES = m.Touches(runtimes=4, outcomes_an_hour=1_250)
LAST = m.LastTime(
    change="rollback",
    timestamp="2025-11-12T08:00:00Z",
    from_variant="v2",
    to_variant="v1",
    id="rb-20251112-0123abcd",
    fate="undone",
    actor="ada",
    finding="hurt",
)
WORDS = (
    "1 task, 4 runtimes, about 1,250 outcomes an hour",
    "2025-11-12: v2 was rolled back to v1, undone by ada, it hurt",
)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(page: str) -> str:
    reader = _Text()
    reader.feed(page)
    return " ".join(" ".join(reader.words).split())


def flat(text: str) -> str:
    return " ".join(text.split())


@cache
def fleet() -> Fleet:
    return golden_fleet()


def a_rollback() -> m.RollbackEvent:
    newest = fleet().overview
    assert newest is not None
    event = next(fleet().rollbacks[note.rollback_id] for note in newest.rollbacks if note.undo_command)
    return msgspec.structs.replace(event, touches=TOUCHES, last_time=LAST)


def a_proposal() -> m.Proposal:
    proposal = fleet().open_proposals[0]
    return msgspec.structs.replace(
        proposal, touches=TOUCHES, last_time=LAST, undo_command="crl undo a/b --epoch 7", expires_at=to_text(NOW * 2)
    )


def an_alert(kind: str = "no_target") -> m.Alert:
    return m.Alert(
        alert_id="alert-20251119-0123abcd",
        timestamp="2025-11-19T14:30:00Z",
        kind=kind,  # type: ignore[arg-type]
        severity="critical",
        subject="a/b v3",
        action="degraded",
        text="a/b v3: degraded; undo: crl undo a/b --epoch 7",
        cause_id="deg-1",
        agent_name="a",
        task_type="b",
        undo_command="crl undo a/b --epoch 7",
        touches=TOUCHES,
        last_time=LAST,
    )


def with_event(event: m.RollbackEvent) -> Fleet:
    shown = golden_fleet()
    shown.rollbacks.replace(event.rollback_id, event)
    shown._rollbacks_of = None
    return shown


def test_a_notice_of_an_alert_has_undo_blast_radius_and_last_time() -> None:
    notice = notice_of(an_alert("rollback"))
    assert notice.text == (f"a/b v3: degraded; undo: crl undo a/b --epoch 7; touches {WORDS[0]}; last time, {WORDS[1]}")
    assert notice.document()["data"]["touches"] == {"tasks": 1, "runtimes": 4, "outcomes_an_hour": 1_250}
    assert notice.document()["data"]["last_time"]["fate"] == "undone"


def test_a_notice_of_a_rollback_as_a_fact_has_the_same_words() -> None:
    event = a_rollback()
    text = notice_of(event).text
    assert text.endswith(f"; undo: {event.undo_command}; touches {WORDS[0]}; last time, {WORDS[1]}")


def test_a_text_that_is_too_long_loses_its_middle_not_what_it_touches() -> None:
    long = msgspec.structs.replace(an_alert(), text="a/b v3: " + "x" * 3_000)
    text = notice_of(long).text
    assert len(text) == MAX_TEXT
    assert text.endswith(f"…; touches {WORDS[0]}; last time, {WORDS[1]}")


def explained(message: m.RollbackEvent | m.Alert | m.Proposal, topic: str, name: str) -> str:
    story = Story(TaskKey(message.agent_name or "", message.task_type or ""), name)
    return flat(explain_text(explain(name, Found(topic, message), Sources(story))))


def test_crl_explain_says_the_same_of_a_rollback_an_alert_and_a_proposal() -> None:
    event, proposal, alert = a_rollback(), a_proposal(), an_alert()
    for text in (
        explained(event, ROLLBACKS, event.rollback_id),
        explained(proposal, PROPOSALS, proposal.proposal_id),
        explained(alert, ALERTS, alert.alert_id),
    ):
        assert f"Touches: {WORDS[0]}" in text
        assert f"Last time, {WORDS[1]}" in text
    assert event.undo_command in explained(event, ROLLBACKS, event.rollback_id)
    assert "To undo an approval crl undo a/b --epoch 7" in explained(proposal, PROPOSALS, proposal.proposal_id)


def test_the_page_of_a_rollback_and_the_text_dashboard_say_the_same() -> None:
    event = a_rollback()
    html = text_of(pages.rollback_page(with_event(event), event.rollback_id, VIEWER, NOW, policy=Policy()))
    assert f"It touches {WORDS[0]}." in html
    assert f"Last time, {WORDS[1]}." in html
    note = note_of(event)
    assert isinstance(note, m.RollbackNote)
    assert reach_fields(note) == [("Touches", WORDS[0]), ("Last time", WORDS[1])]
    assert set(reach_fields(event)) < set(entries.rollback_fields(note))
    assert ("Undo", event.undo_command) in entries.rollback_fields(note)


def test_the_proposal_s_page_the_digest_and_the_review_queue_say_the_same() -> None:
    proposal = a_proposal()
    now = from_text(proposal.timestamp)
    texts = [flat(proposal_page(proposal, now)), flat("\n".join(lines_of(proposal)))]
    shown = golden_fleet()
    shown._open_proposals[proposal.proposal_id] = proposal
    texts.append(text_of(pages.review_page(shown, VIEWER, now)))
    note = note_of(proposal)
    assert isinstance(note, m.ProposalNote)
    texts.append(" ".join(f"{name} {words}" for name, words in entries.proposal_fields(note)))
    for text in texts:
        for words in (*WORDS, "crl undo a/b --epoch 7"):
            assert words in text


@pytest.mark.parametrize("kind", ["no_target", "one_runtime", "common_cause"])
def test_what_crl_status_says_about_an_alert_has_the_words_too(kind: str) -> None:
    note = note_of(an_alert(kind))
    assert isinstance(note, m.AlertNote)
    overview = fleet().overview
    assert overview is not None
    shown = msgspec.structs.replace(overview, open_alerts=[note], n_open_alerts=1)
    [concern, *_] = Condition(shown, NOW).concerns
    assert concern == with_reach(note.text, note)
    assert concern.endswith(f"; touches {WORDS[0]}; last time, {WORDS[1]}")


def test_a_degraded_task_has_the_same_words_in_crl_status_and_on_both_dashboards() -> None:
    overview = fleet().overview
    assert overview is not None
    standing = next(one for one in overview.degraded if one.active)
    snapshot = fleet().tasks[TaskKey(standing.agent_name, standing.task_type)]
    row = brief(msgspec.structs.replace(snapshot, touches=TOUCHES, last_times=[LAST]), NOW)
    told = msgspec.structs.replace(standing, touches=TOUCHES, last_time=LAST)
    [listed] = _tasks_of_overview(msgspec.structs.replace(overview, degraded=[told]))["tasks"]
    for line in (task_line(row), task_line(listed)):
        assert f"; touches {WORDS[0]}; last time, {WORDS[1]}; crl window" in line
    assert set(reach_fields(told)) < set(entries.degradation_fields(told))


def test_every_rollback_and_proposal_of_the_golden_hour_says_what_it_touches_and_how_to_undo_it() -> None:
    for event in fleet().rollbacks.values():
        assert touches_words(event.touches), event.rollback_id
        assert event.undo_command
        assert re.fullmatch(r"|Last time, \d{4}-\d\d-\d\d: .+\.", sentence(last_time_words(event.last_time)))
    for proposal in fleet().proposals.values():
        assert touches_words(proposal.touches), proposal.proposal_id
        assert proposal.undo_command, proposal.proposal_id
    assert any(event.last_time for event in fleet().rollbacks.values())


def test_every_notice_of_the_golden_hour_says_what_it_touches_or_where_that_is_shown() -> None:
    """An alert that is over touches nothing more; one of an engine that fell silent about it has no figures."""
    seen: set[str] = set()
    for records in golden_records().values():
        for told in records:
            message = told.message
            if isinstance(message, m.Alert) and not message.resolved and message.touches is not None:
                assert f"; touches {touches_words(message.touches)}" in notice_of(message).text
                seen.add("alert")
            elif isinstance(message, m.DegradationAlert) and message.state == "degraded":
                assert notice_of(message).text.endswith("what it touches: crl status")
                seen.add("degradation")
            elif isinstance(message, m.RollbackEvent):
                assert f"; touches {touches_words(message.touches)}" in notice_of(message).text
                assert not message.enforced or f"undo: {message.undo_command}" in notice_of(message).text
                seen.add("rollback")
    assert seen >= {"alert", "degradation", "rollback"}
