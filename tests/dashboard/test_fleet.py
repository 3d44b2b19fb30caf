"""The fleet of the dashboard is what the topics say, in whatever order they are read, and stays bounded."""

from __future__ import annotations

from itertools import zip_longest
from types import SimpleNamespace
from typing import Any

import pytest
from core.snapshots import a_snapshot, a_variant
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.dashboard import fleet as module
from crl_stream.dashboard.fleet import EVENTS, STATES, TOPICS, Fleet, fact_id_of
from crl_stream.dashboard.newest import Newest
from crl_stream.wire.topics import ALERTS, DECISIONS, MESSAGES, PROPOSALS, RECEIPTS, ROLLBACKS, TASKS
from dashboard.golden_topics import Told, golden_fleet, golden_records


def state(fleet: Fleet) -> dict[str, Any]:
    """Return everything that the fleet says, without the ages that depend on the order of reading."""
    return {
        "overview": fleet.overview,
        "tasks": fleet.tasks,
        "actives": fleet.actives,
        "rollbacks": dict(fleet.rollbacks),
        "degradations": dict(fleet.degradations),
        "facts": dict(fleet.facts),
        "alerts": dict(fleet.alerts),
        "open_alerts": fleet.open_alerts,
        "proposals": fleet.proposals,
        "facts_of": {key: fleet.facts_of(key) for key in fleet.tasks},
        "receipts_of": {key: dict(fleet.receipts_of(key)) for key in fleet.tasks},
        "points_of": {key: fleet.points_of(key) for key in fleet.tasks},
        "heard_at": fleet.heard_at,
    }


def last_of(topic: str, key: Any) -> dict[Any, Any]:
    """Return the last message of each key on a topic, computed without the code under test."""
    found: dict[Any, Any] = {}
    for (name, _), records in golden_records().items():
        for told in records if name == topic else ():
            if told.message is not None and getattr(told.message, "agent_name", "") != DRILL_AGENT:
                found[key(told.message)] = told.message
    return found


def test_the_fleet_shows_the_newest_snapshot_of_every_task() -> None:
    fleet = golden_fleet()
    assert len(fleet.tasks) > 20
    assert fleet.tasks == last_of(TASKS, lambda snapshot: TaskKey(snapshot.agent_name, snapshot.task_type))
    assert fleet.overview is not None


def test_the_fleet_lists_every_rollback_and_every_open_proposal_of_the_hour() -> None:
    fleet = golden_fleet()
    rollbacks = last_of(ROLLBACKS, lambda event: event.rollback_id)
    assert len(rollbacks) > 30
    assert dict(fleet.rollbacks) == rollbacks
    proposals = last_of(PROPOSALS, lambda proposal: proposal.proposal_id)
    expected = {name for name, proposal in proposals.items() if proposal.status in OPEN_STATUSES}
    assert {proposal.proposal_id for proposal in fleet.open_proposals} == expected
    times = [from_text(event.timestamp) for event in fleet.rollbacks.values()]
    assert times == sorted(times, reverse=True)


def test_the_rollbacks_of_a_task_are_those_of_the_fleet_that_are_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROLLBACKS_KEPT", 5)
    fleet, keys = Fleet(), set()
    for event in last_of(ROLLBACKS, lambda event: event.rollback_id).values():
        fleet.hear(event)
        keys.add(TaskKey(event.agent_name, event.task_type))
        kept = fleet.rollbacks.values()
        for key in keys:
            assert list(fleet.rollbacks_of(key)) == [one for one in kept if key == (one.agent_name, one.task_type)]
    assert len(fleet.rollbacks) == 5 < len(keys)


def test_an_alert_is_open_until_its_end_is_published() -> None:
    fleet = golden_fleet()
    open_ones = fleet.open_alerts
    assert open_ones
    for alert in open_ones:
        assert not alert.resolved
        later = [other for other in fleet.alerts.values() if (other.kind, other.subject) == (alert.kind, alert.subject)]
        assert not any(other.resolved and from_text(other.timestamp) > from_text(alert.timestamp) for other in later)
    assert any(alert.resolved for alert in fleet.alerts.values())


@settings(max_examples=5, deadline=None)
@given(st.permutations(sorted(golden_records())))
def test_the_order_in_which_topics_and_partitions_are_read_changes_nothing(order: list[tuple[str, int]]) -> None:
    one_by_one, mixed = Fleet(), Fleet()
    streams = [golden_records()[place] for place in order]
    for told in (told for records in streams for told in records):
        one_by_one.take(told.topic, told)
    for group in zip_longest(*streams):
        for told in group:
            if isinstance(told, Told):
                mixed.take(told.topic, told)
    assert state(one_by_one) == state(mixed)


def test_repeated_records_change_nothing_and_are_reported_as_no_change() -> None:
    fleet = golden_fleet()
    before = state(fleet)
    repeated = [told for (topic, _), records in golden_records().items() for told in records[-20:]]
    changes = [change for told in repeated for change in fleet.take(told.topic, told)]
    assert changes == []
    assert state(fleet) == before


def test_each_change_names_the_task_and_what_changed() -> None:
    fleet, kinds = Fleet(), set()
    for records in golden_records().values():
        for told in records:
            for change in fleet.take(told.topic, told):
                kinds.add(change.kind)
                agent_name = getattr(told.message, "agent_name", None)
                assert (None if change.key is None else change.key.agent_name) == agent_name
    expected = {"overview", "task", "active", "rollback", "fact", "degradation", "alert", "proposal", "receipt"}
    assert kinds == expected


def test_the_fleet_reads_only_topics_whose_messages_it_understands() -> None:
    understood = set(module._TAKES)
    assert {kind for topic in TOPICS for kind in MESSAGES[topic]} == understood
    assert not set(STATES) & set(EVENTS)


def test_a_drill_is_no_part_of_the_fleet() -> None:
    fleet = Fleet()
    assert fleet.hear(a_snapshot(a_variant(), agent_name=DRILL_AGENT)) == []
    assert fleet.tasks == {}


def test_a_deleted_task_disappears_and_an_unreadable_record_is_counted() -> None:
    fleet = Fleet()
    snapshot = a_snapshot(a_variant())
    fleet.hear(snapshot)
    key = TaskKey(snapshot.agent_name, snapshot.task_type)
    gone = SimpleNamespace(message=None, record=SimpleNamespace(timestamp=5, key=key.encode(), value=None))
    assert [change.kind for change in fleet.take(TASKS, gone)] == ["task"]
    assert key not in fleet.tasks
    broken = SimpleNamespace(message=None, record=SimpleNamespace(timestamp=9, key=b"a/b", value=b"{"))
    assert fleet.take(TASKS, broken) == []
    assert (fleet.unreadable, fleet.heard_at) == (1, 9)


def a_fact(number: int, key: TaskKey) -> m.Decision:
    return m.Decision(
        decision_id=f"dec-{key}-{number}".replace("/", "-"),
        timestamp=to_text(number),
        agent_name=key.agent_name,
        task_type=key.task_type,
        variant_id="v",
        decision="no_action",
        reasoning="",
        q_value=0.5,
        n_visits=1,
        epoch=1,
        position=m.Position(0, number),
        policy_hash="0" * 16,
        engine_version="1",
    )


def test_memory_does_not_grow_with_the_number_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_TASKS_KEPT", 100)
    fleet = Fleet()
    keys = [TaskKey("agent", f"task-{number}") for number in range(10)]
    for key in keys:
        fleet.hear(a_snapshot(a_variant(), agent_name=key.agent_name, task_type=key.task_type))
    for number in range(2_000):
        fleet.hear(a_fact(number, keys[number % 10]))
    assert len(fleet.facts) == module.FACTS_KEPT
    assert [fact_id_of(fact) for fact in fleet.facts_of(keys[3])][:2] == [
        "dec-agent-task-3-1993",
        "dec-agent-task-3-1983",
    ]
    assert {len(fleet.facts_of(key)) for key in keys} == {10}


def test_the_newest_items_are_kept_in_whatever_order_they_come() -> None:
    kept: Newest[str] = Newest(3)
    assert [kept.put(f"i{time}", time, f"item {time}") for time in (5, 1, 9, 7, 0, 7)] == [True] * 4 + [False] * 2
    assert list(kept) == ["i9", "i7", "i5"]
    assert kept.newest(2) == ["item 9", "item 7"]
    assert len(kept) == 3


def test_receipts_are_those_of_the_newest_epoch() -> None:
    fleet = golden_fleet()
    receipts = [told.message for (topic, _), rows in golden_records().items() if topic == RECEIPTS for told in rows]
    for key in {TaskKey(receipt.agent_name, receipt.task_type) for receipt in receipts}:
        mine = [receipt for receipt in receipts if (receipt.agent_name, receipt.task_type) == key]
        newest = max(receipt.epoch for receipt in mine)
        expected = {receipt.runtime_id for receipt in mine if receipt.epoch == newest}
        assert set(fleet.receipts_of(key)) == expected


def test_an_alert_about_one_event_never_stays_open() -> None:
    fleet = golden_fleet()
    assert {alert.kind for alert in fleet.open_alerts}.isdisjoint({"rollback", "weekly_review", "untested"})
    assert {"rollback"} <= {
        told.message.kind for (topic, _), rows in golden_records().items() if topic == ALERTS for told in rows
    }
    assert DECISIONS in TOPICS


@pytest.mark.parametrize("topic", [TASKS, ALERTS, ROLLBACKS, DECISIONS, PROPOSALS])
def test_a_record_with_a_time_that_does_not_exist_is_skipped(topic: str) -> None:
    told = next(told for (name, _), all_ in golden_records().items() if name == topic for told in all_ if told.message)
    fleet = Fleet()
    message = structs.replace(told.message, timestamp="2026-02-30T00:00:00Z")
    assert fleet.take(topic, told._replace(message=message)) == []
    assert (fleet.unreadable, fleet.tasks) == (1, {})
    assert fleet.take(topic, told) != []
