"""The topic watch never answers with a result older than the request, so even a topic recreated just now is noticed."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from crl_stream.errors import Unavailable
from crl_stream.kafka.topic_ids import ClusterState, TopicState
from crl_stream.settings import load_settings
from crl_stream.worker import topic_watch as module
from crl_stream.worker.health import Health
from crl_stream.worker.topic_watch import TopicWatch

SETTINGS = load_settings(environment={}, flags={"kafka.bootstrap_servers": "127.0.0.1:9"})
LOG = "crl.invocations"


class Cluster:
    """A Kafka cluster that has every requested topic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.lost, self.asked = dict[str, bytes](), set[str](), 0
        self.pause = 0.0
        self.trouble: Exception | None = None

        async def describe(_client: Any, names: Any) -> ClusterState:
            self.asked += 1
            there = {name: TopicState(self.made.get(name, b"1"), 4) for name in names if name not in self.lost}
            await asyncio.sleep(self.pause)
            if self.trouble is not None:
                raise self.trouble
            return ClusterState("one", there)

        async def consumer(_self: Any, _level: str) -> Any:
            return SimpleNamespace(_client=None)

        async def measure(_self: Any, _consumer: Any) -> None:
            """Do nothing: no partition is read here."""

        monkeypatch.setattr(module, "describe_cluster", describe)
        monkeypatch.setattr(TopicWatch, "_consumer", consumer)
        monkeypatch.setattr(TopicWatch, "_measure", measure)
        # The next regular check is an hour away.
        monkeypatch.setattr(module, "EVERY_SECONDS", 3_600.0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def watched() -> tuple[TopicWatch, Health]:
    consumer = SimpleNamespace(lanes={})
    member: Any = SimpleNamespace(
        settings=SETTINGS,
        group="crl-monitor",
        dead=[],
        recovered=True,
        stalled={},
        app=SimpleNamespace(consumer=consumer),
    )
    watch = TopicWatch(SETTINGS, [member])
    return watch, Health([member], watch)


def names(findings: Any) -> list[str]:
    return [finding.name for finding in findings]


@pytest.mark.parametrize("topic", [LOG, "crl.commands", "crl-monitor-tasks-changelog", "crl.alerts"])
async def test_a_topic_that_was_made_again_is_trouble_for_whoever_asks_after_that(cluster: Cluster, topic: str) -> None:
    watch, health = watched()
    await watch.begin()
    assert await health.fresh_findings() == []
    cluster.made[topic] = b"2"
    assert health.findings() == [], "what was known before"
    [found] = await health.fresh_findings()
    assert (found.name, found.trouble) == ("topics", True)
    assert f"{topic} was deleted and recreated" in found.text


async def test_a_topic_that_is_away_for_the_moment_is_trouble_at_once_and_ends_nothing(cluster: Cluster) -> None:
    watch, health = watched()
    await watch.begin()
    cluster.lost = {LOG}
    [found] = await health.fresh_findings()
    assert (found.name, LOG in found.text) == ("topics", True)
    assert watch.change is None, "a broker that has just returned may not know all topics yet"
    cluster.lost = set()
    assert await health.fresh_findings() == []


async def test_a_broker_that_takes_its_time_is_said_and_not_taken_for_well(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, health = watched()
    await watch.begin()
    cluster.pause = 0.5
    monkeypatch.setattr(TopicWatch.is_fresh, "__defaults__", (0.05,))
    assert names(await health.fresh_findings()) == ["kafka"]
    cluster.pause = 0.0
    async with asyncio.timeout(10):
        while names(await health.fresh_findings()):
            await asyncio.sleep(0.05)


async def test_many_that_ask_at_once_share_a_look_that_begins_after_they_have_asked(cluster: Cluster) -> None:
    watch, health = watched()
    await watch.begin()
    cluster.pause, before = 0.1, cluster.asked
    early = asyncio.create_task(watch.look())
    await asyncio.sleep(0.05)
    cluster.made[LOG] = b"2"
    found = await asyncio.gather(*(health.fresh_findings() for _ in range(50)))
    await early
    assert {tuple(names(one)) for one in found} == {("topics",)}
    assert cluster.asked - before <= 3


async def test_a_broker_that_is_known_to_be_silent_is_not_waited_for(cluster: Cluster) -> None:
    watch, health = watched()
    await watch.begin()
    cluster.trouble = ConnectionError("refused")
    await watch.look()
    asked = cluster.asked
    assert names(await health.fresh_findings()) == ["kafka"]
    assert cluster.asked == asked


async def test_a_worker_does_not_begin_without_having_seen_its_topics(cluster: Cluster) -> None:
    watch, _ = watched()
    cluster.trouble = TimeoutError()
    with pytest.raises(Unavailable):
        await watch.begin()


async def test_an_outage_is_one_line_when_it_begins_one_a_minute_and_one_when_it_is_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "time", lambda: 1_790_000_000.0 + now[0])
    watch, _ = watched()
    await watch.begin()
    cluster.trouble = TimeoutError()
    caplog.set_level(logging.INFO)
    for _ in range(59):  # 177 s
        now[0] += 3.0
        await watch.look()
    cluster.trouble = None
    now[0] += 3.0
    await watch.look()
    said = [record.message for record in caplog.records]
    assert [line.partition(" at ")[0].partition(" after ")[0] for line in said] == [
        "Kafka does not answer",
        "Kafka has not answered",
        "Kafka has not answered",
        "Kafka answers again",
    ]
    assert "UTC" in said[0]
    assert "check that the broker is running" in said[0]
    assert all("crl-monitor" in line for line in said), "several processes may write to one terminal"
