"""The dashboard reads everything that is true now, only the newest of what happened, and continues where it was."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from core.snapshots import a_snapshot, a_variant
from dashboard.test_fleet import a_fact
from installation import Installation

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import EVENTS, STATES, Fleet, fact_id_of
from crl_stream.dashboard.web.hub import Hub
from crl_stream.errors import ContractError, Unavailable
from crl_stream.kafka import fleet_records
from crl_stream.kafka.fleet_records import Batch, Followed, follow_fleet
from crl_stream.kafka.topic_ids import NO_ID, ClusterState, TopicState, describe_cluster
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import DECISIONS, TASKS

pytestmark = pytest.mark.integration
KEY = TaskKey("agent", "task")


async def read(installation: Installation, followed: Followed) -> list[Any]:
    """Return the messages up to the present end of the topics."""
    found = []
    async with aclosing(follow_fleet(installation.kafka, STATES, EVENTS, followed)) as batches:
        async for batch in batches:
            found += [one.message for one in batch.received]
            if batch.caught_up and not batch.received:
                break
    return found


async def test_only_the_newest_events_are_read_and_the_next_call_continues(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_records, "EVENTS_READ", 20)
    monkeypatch.setattr(fleet_records, "LEAST_READ", 5)
    for number in range(40):
        await installation.send(encode(a_fact(number, KEY)), KEY.encode(), DECISIONS, 1)
        await installation.send(encode(a_snapshot(a_variant(), offset=number)), KEY.encode(), TASKS, number % 4)
    followed = Followed()
    found = await read(installation, followed)
    facts = [fact_id_of(one) for one in found if hasattr(one, "decision_id")]
    assert facts == [f"dec-agent-task-{number}" for number in range(35, 40)]
    assert len(found) - len(facts) == 40
    assert await read(installation, followed) == []
    await installation.send(encode(a_fact(41, KEY)), KEY.encode(), DECISIONS, 1)
    assert [fact_id_of(one) for one in await read(installation, followed)] == ["dec-agent-task-41"]


TASKS_OF = [f"task-{number}" for number in range(5)]


async def send_snapshots(installation: Installation, offsets: range, task_types: list[str]) -> None:
    for offset in offsets:
        for task_type in task_types:
            snapshot = a_snapshot(a_variant(), offset=offset, agent_name="agent", task_type=task_type)
            await installation.send(encode(snapshot), TaskKey("agent", task_type).encode(), TASKS, 1)


async def until_caught_up(installation: Installation, followed: Followed) -> list[Batch]:
    """Return the batches of the start; the reader goes away in the last of them."""
    batches = []
    async with aclosing(follow_fleet(installation.kafka, STATES, EVENTS, followed)) as following:
        async for batch in following:
            batches.append(batch)
            if batch.caught_up:
                break
    return batches


async def test_at_the_start_only_the_newest_states_of_each_key_are_decoded_and_nothing_that_was_not_taken_is_missed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_records, "STATES_READ", 20)
    monkeypatch.setattr(fleet_records, "AT_ONCE", 4)
    await send_snapshots(installation, range(29), TASKS_OF)
    await send_snapshots(installation, range(29, 30), TASKS_OF[1:])
    followed, decoded = Followed(), dict[str, list[int]]()
    batches = await until_caught_up(installation, followed)
    for one in (one.message for batch in batches for one in batch.received):
        decoded.setdefault(one.task_type, []).append(one.as_of.offset)
    assert decoded == {TASKS_OF[0]: [26, 27, 28]} | {key: [27, 28, 29] for key in TASKS_OF[1:]}
    assert max(len(batch.received) for batch in batches) <= 4
    assert [batch.left for batch in batches] == sorted((batch.left for batch in batches), reverse=True)
    assert (batches[0].total, batches[-1].left) == (149, 0)
    assert len(await read(installation, followed)) == 15, "the reader went away before it had taken the last of them"
    await send_snapshots(installation, range(30, 50), TASKS_OF[:1])
    fleet = Fleet()
    for batch in await until_caught_up(installation, Followed()):
        for one in batch.received:
            fleet.take(one.topic, one)
    assert {key.task_type: one.as_of.offset for key, one in fleet.tasks.items()} == (
        {TASKS_OF[0]: 49} | dict.fromkeys(TASKS_OF[1:], 29)
    )


class Appended(NamedTuple):
    """A record of a topic of states, as a consumer returns it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None = b""


@pytest.mark.parametrize("at_start", [True, False], ids=["at the start", "later"])
def test_each_partition_keeps_its_order_even_if_the_clock_of_the_broker_went_back(*, at_start: bool) -> None:
    """Else a task that was deleted after the clock went back would be there again."""
    records = [Appended("tasks", 0, n, 1_000 - n, b"agent/task") for n in range(4)]
    records.append(Appended("tasks", 1, 0, 998, b"agent/other"))
    first = fleet_records._FirstRead({"tasks": TASKS}, STATES)
    if not at_start:
        first.due([], is_over=True)
    due = first.due(fleet_records._in_order([records[:4], records[4:]]), is_over=True)
    assert [one.offset for one in due if one.partition == 0] == [0, 1, 2, 3]
    assert due[0].partition == 1, "and the partitions are in the order of their times"


def test_a_key_that_is_in_two_partitions_keeps_its_newest_records_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_records, "STATES_READ", 1)
    first = fleet_records._FirstRead({"tasks": TASKS}, STATES)
    new, old = ([Appended("tasks", p, n, p * 100 + n, b"agent/task") for n in range(50)] for p in (1, 0))
    assert first.due(new, is_over=False) == []
    due = first.due(old, is_over=True)
    assert [(one.partition, one.offset) for one in due] == [(p, n) for p in (0, 1) for n in (47, 48, 49)]


async def test_the_start_ends_although_its_last_records_were_aborted_deleted_or_cannot_be_read(
    installation: Installation,
) -> None:
    """Control records, aborted records, tombstones, records without a key and damaged batches are all there is."""
    await send_snapshots(installation, range(3), TASKS_OF)
    topic, sender = (
        installation.names(TASKS),
        Producer({"bootstrap.servers": installation.kafka.bootstrap_servers, "transactional.id": installation.id}),
    )
    await asyncio.to_thread(sender.init_transactions, 30)
    for offset, committed in ((7, True), (8, False)):
        sender.begin_transaction()
        for task_type in TASKS_OF[:2]:
            snapshot = a_snapshot(a_variant(), offset=offset, agent_name="agent", task_type=task_type)
            sender.produce(topic, encode(snapshot), key=TaskKey("agent", task_type).encode(), partition=1)
        end = sender.commit_transaction if committed else sender.abort_transaction
        sender.flush(30)
        await asyncio.to_thread(end, 30)
    await installation.send(None, TaskKey("agent", TASKS_OF[4]).encode(), TASKS, 1)
    await installation.send(b"{", TaskKey("agent", TASKS_OF[3]).encode(), TASKS, 1)
    sender.begin_transaction()
    sender.produce(topic, b"aborted", key=b"agent/aborted", partition=2)
    sender.flush(30)
    await asyncio.to_thread(sender.abort_transaction, 30)
    fleet = Fleet()
    async with asyncio.timeout(60):
        for batch in await until_caught_up(installation, Followed()):
            for one in batch.received:
                fleet.take(one.topic, one)
    assert {key.task_type: one.as_of.offset for key, one in fleet.tasks.items()} == (
        dict.fromkeys(TASKS_OF[:2], 7) | dict.fromkeys(TASKS_OF[2:4], 2)
    )
    assert fleet.unreadable == 1


async def made_again(installation: Installation, topic: str) -> None:
    """Delete a topic and create it again, and wait until Kafka says so."""
    name = installation.names(topic)
    before = (await installation.reader.ids([topic]))[topic]
    async with installation.admin._admin() as admin:
        await admin.delete_topics([name])
        async with asyncio.timeout(30):
            while topic in await installation.reader.ids([topic]):
                await asyncio.sleep(0.05)
    await installation.admin.apply()
    async with asyncio.timeout(30):
        while (await installation.reader.ids([topic])).get(topic, before) == before:
            await asyncio.sleep(0.05)
    await installation.producer.stop()
    await installation.restart_producer()


async def send_tasks(installation: Installation, count: int) -> None:
    for number in range(count):
        await installation.send(encode(a_snapshot(a_variant(), offset=number)), KEY.encode(), TASKS, 1)


async def test_a_topic_that_was_made_again_is_noticed_although_it_has_grown_past_what_was_read(
    installation: Installation,
) -> None:
    await send_tasks(installation, 2)
    await installation.send(encode(a_fact(1, KEY)), KEY.encode(), DECISIONS, 1)
    followed = Followed()
    assert len(await read(installation, followed)) == 3
    await made_again(installation, TASKS)
    await send_tasks(installation, 5)
    async with aclosing(follow_fleet(installation.kafka, STATES, EVENTS, followed)) as batches:
        first = await anext(batches)
        found = [one.topic for batch in [await anext(batches) for _ in range(8)] for one in batch.received]
    assert (first.made_again, first.received) == (TASKS, [])
    assert (found.count(TASKS), found.count(DECISIONS)) == (5, 1), "all topics are read again, from their start"
    assert await read(installation, followed) == []


async def test_a_topic_that_is_made_again_while_it_is_followed_is_noticed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_records, "CHECK_SECONDS", 0.0)
    await send_tasks(installation, 2)
    followed, told = Followed(), list[str]()
    remade = asyncio.Event()

    async def follow() -> None:
        while not told:
            with suppress(ContractError):  # while the topic is missing
                async with aclosing(follow_fleet(installation.kafka, STATES, EVENTS, followed)) as batches:
                    async for batch in batches:
                        if batch.made_again:
                            told.append(batch.made_again)
                            break
                        assert not remade.is_set() or not batch.received, "old and new are mixed"
            await asyncio.sleep(0.05)

    following = asyncio.create_task(follow())
    async with asyncio.timeout(60):
        while len(followed.positions) == 0:
            await asyncio.sleep(0.05)
        await made_again(installation, TASKS)
        remade.set()
        await following
    await send_tasks(installation, 3)
    assert told == [TASKS]
    assert len(await read(installation, followed)) == 3


async def test_without_ids_a_topic_that_is_shorter_than_what_was_read_was_made_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def describe(client: Any, topics: Any) -> ClusterState:
        found = await describe_cluster(client, topics)
        return ClusterState("", {name: TopicState(NO_ID, state.partitions) for name, state in found.topics.items()})

    monkeypatch.setattr(fleet_records, "describe_cluster", describe)
    await send_tasks(installation, 5)
    followed = Followed()
    assert len(await read(installation, followed)) == 5
    await made_again(installation, TASKS)
    await send_tasks(installation, 2)
    assert len(await read(installation, followed)) == 2


async def test_the_dashboard_forgets_a_fleet_whose_topic_was_made_again_and_says_so(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    await send_tasks(installation, 3)
    hub = Hub(installation.kafka)
    assert await hub.view()
    assert len(hub.fleet.tasks) == 1 and hub.remade is None
    viewer, before = hub.subscribe(None, hub.stamp), hub.id
    await made_again(installation, TASKS)
    async with asyncio.timeout(60):
        while not (viewer.refetch and hub.live):
            await viewer.wake.wait()
            viewer.wake.clear()
    assert (hub.fleet.tasks, hub.id == before) == ({}, False)
    assert hub.remade is not None and hub.remade[0] == TASKS
    assert f"{TASKS} was deleted and created again" in caplog.text
    await hub.close()


async def test_a_missing_topic_or_broker_is_one_clear_error(installation: Installation) -> None:
    other = installation.kafka.model_copy(update={"topic_prefix": "nobody."})
    with pytest.raises(ContractError, match="does not exist"):
        await anext(follow_fleet(other, STATES, EVENTS, Followed()))
    with pytest.raises(Unavailable, match="Kafka does not answer"):
        await anext(follow_fleet(Kafka(bootstrap_servers="127.0.0.1:1"), STATES, EVENTS, Followed()))
