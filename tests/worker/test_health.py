"""A worker reports its problems, each with a name and the time when it began."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from crl_stream.core.monitor.row import StandingOrder
from crl_stream.errors import Unsafe
from crl_stream.kafka.topic_ids import ClusterState, TopicState
from crl_stream.settings import load_settings
from crl_stream.stages.partition import PartitionRow, encode_partition
from crl_stream.worker import health
from crl_stream.worker.health import Health
from crl_stream.worker.member import Stalled
from crl_stream.worker.topic_watch import STILL_SECONDS, Held, Lag, TopicWatch

SETTINGS = load_settings(environment={}, flags={"kafka.bootstrap_servers": "127.0.0.1:9"})
PLACE = TopicPartition("crl.invocations", 2)


def a_member(**fields: Any) -> Any:
    usual = {"settings": SETTINGS, "group": "crl-monitor", "dead": [], "recovered": True, "stalled": {}}
    return SimpleNamespace(**(usual | fields))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock as a list whose last entry is the current time."""
    hours = [1_000.0]
    monkeypatch.setattr(health, "time", lambda: hours[-1])
    monkeypatch.setattr("crl_stream.worker.topic_watch.time", lambda: hours[-1])
    return hours


def test_a_member_that_is_well_has_no_finding(clock: list[float]) -> None:
    member = a_member()
    assert Health([member], TopicWatch(SETTINGS, [member])).findings() == []


def test_a_system_outside_kafka_that_does_not_answer_is_a_note_until_it_answers(clock: list[float]) -> None:
    member = a_member(stalled={"bridges.scores": Stalled("It does not answer.", "check the url", 900.0)})
    watched = Health([member], TopicWatch(SETTINGS, [member]))
    [found] = watched.findings()
    assert (found.name, found.subject, found.since, found.trouble) == ("source", "bridges.scores", 900_000, False)
    member.stalled.clear()
    assert watched.findings() == []


def test_a_dead_agent_is_named_with_the_moment_it_was_first_seen_until_it_lives_again(clock: list[float]) -> None:
    member = a_member()
    watched = Health([member], TopicWatch(SETTINGS, [member]))
    watched.findings()
    member.dead = ["agent crl.monitor"]
    clock.append(1_010.0)
    [found] = watched.findings()
    assert (found.name, found.since, found.trouble) == ("agents", 1_010_000, True)
    assert "agent crl.monitor" in found.text
    clock.append(1_100.0)
    assert watched.findings()[0].since == 1_010_000
    member.dead = []
    assert watched.findings() == []
    member.dead = ["agent crl.monitor"]
    assert watched.findings()[0].since == 1_100_000, "the problem has begun again"


@pytest.mark.parametrize("in_transaction", [False, True])
def test_lag_is_trouble_when_it_stands_still_and_not_while_it_moves(clock: list[float], in_transaction: bool) -> None:
    member = a_member()
    watch = TopicWatch(SETTINGS, [member])
    watch.lags = {("crl-monitor", PLACE): Lag(7, 12, 1_000.0, in_transaction)}
    clock.append(1_000.0 + STILL_SECONDS)
    assert Health([member], watch).findings() == []
    clock.append(1_000.1 + STILL_SECONDS)
    [found] = Health([member], watch).findings()
    assert (found.name, found.since) == ("lag", 1_000_000)
    assert "crl.invocations partition 2" in found.text
    assert ("transaction" in found.text) is in_transaction


OUTPUT = TopicPartition("crl.active-variants", 1)


class Ends:
    """A consumer that returns the end offsets of partitions."""

    def __init__(self, **ends: int) -> None:
        self.ends = ends

    async def end_offsets(self, places: Any) -> dict[Any, int]:
        return {place: self.ends.get(place.topic.rpartition(".")[2].replace("-", "_"), 5) for place in places}


async def test_a_transaction_that_was_left_open_on_any_topic_is_trouble_and_is_said_once(clock: list[float]) -> None:
    member = a_member()
    watch = TopicWatch(SETTINGS, [member])
    watch._first = ClusterState("", {name: TopicState(b"", 3) for name in watch._names})
    whole: Any = Ends()
    watch._consumers["read_committed"] = Ends(active_variants=3)  # type: ignore[assignment]
    for moment in (1_000.0, 1_005.0, 1_001.0 + STILL_SECONDS):
        clock.append(moment)
        await watch._find_held(whole)
    assert watch.held[OUTPUT] == Held(3, 2, 1_000.0)
    watch.lags = {("crl-monitor", OUTPUT._replace(partition=0)): Lag(2, 3, 1_000.0, in_transaction=True)}
    found = Health([member], watch).findings()
    assert [finding.name for finding in found] == ["lag", "transaction", "transaction"], (
        "the lag already covers partition 0"
    )
    assert all(finding.since == 1_000_000 and "kafka-transactions.sh" in finding.action for finding in found)
    watch._consumers["read_committed"] = Ends()  # type: ignore[assignment]
    clock.append(1_100.0)
    await watch._find_held(whole)
    watch.lags = {}
    assert Health([member], watch).findings() == []


def test_a_silent_broker_and_a_changed_topic_say_what_to_do(clock: list[float]) -> None:
    member = a_member()
    watch = TopicWatch(SETTINGS, [member])
    watch.silent_since, watch.change = 990.0, Unsafe("The topic x was deleted.", hint="run `crl topics apply`")
    found = {finding.name: finding for finding in Health([member], watch).findings()}
    assert found["kafka"].since == 990_000
    assert found["topics"].action == "run `crl topics apply`"
    assert all(finding.action for finding in found.values())
    assert found["kafka"].as_json()["since"].endswith("Z")


def test_a_member_that_recovers_is_not_ready(clock: list[float]) -> None:
    member = a_member(recovered=False)
    [found] = Health([member], TopicWatch(SETTINGS, [member])).findings()
    assert (found.name, found.subject) == ("recovering", "crl-monitor")


@pytest.mark.parametrize(("late", "said"), [(0.0, []), (14.0, []), (40.0, ["snapshots"])])
def test_snapshots_past_their_age_limit_are_trouble_since_they_were_due(
    clock: list[float], late: float, said: list[str]
) -> None:
    monitor: Any = SimpleNamespace(partitions=lambda: [3], ticking=SimpleNamespace(overdue=lambda _: late))
    found = list(health._late_snapshots(monitor))
    assert [seen.name for seen in found] == said
    assert [seen.since for seen in found] == [1_000.0 - late for _ in said]


def test_a_hold_of_the_fleet_is_a_note_as_long_as_it_stands(clock: list[float]) -> None:
    hold = StandingOrder("ada", "incident 42", 990_000, until=2_000_000)
    rows = {0: encode_partition(PartitionRow()), 1: encode_partition(PartitionRow(fleet=hold))}
    monitor: Any = SimpleNamespace(partitions=lambda: [0, 1], table=SimpleNamespace(partition_row=rows.get))
    [seen] = health._fleet_hold(monitor)
    assert (seen.name, seen.since, seen.trouble) == ("fleet_held", 990.0, False)
    assert "held by ada" in seen.text
    assert "incident 42" in seen.text
    clock.append(2_000.0)
    assert list(health._fleet_hold(monitor)) == []
