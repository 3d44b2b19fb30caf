"""The dashboard reads everything that is true now, only the newest of what happened, and continues where it was."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from core.snapshots import a_snapshot, a_variant
from dashboard.test_fleet import a_fact
from installation import Installation

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import EVENTS, STATES, fact_id_of
from crl_stream.errors import ContractError, Unavailable
from crl_stream.kafka import fleet_records
from crl_stream.kafka.fleet_records import follow_fleet
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import DECISIONS, TASKS

pytestmark = pytest.mark.integration
KEY = TaskKey("agent", "task")


async def read(installation: Installation, positions: Any) -> list[Any]:
    """Return the messages up to the present end of the topics."""
    found = []
    async with aclosing(follow_fleet(installation.kafka, STATES, EVENTS, positions)) as batches:
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
    positions: Any = {}
    found = await read(installation, positions)
    facts = [fact_id_of(one) for one in found if hasattr(one, "decision_id")]
    assert facts == [f"dec-agent-task-{number}" for number in range(35, 40)]
    assert len(found) - len(facts) == 40
    assert await read(installation, positions) == []
    await installation.send(encode(a_fact(41, KEY)), KEY.encode(), DECISIONS, 1)
    assert [fact_id_of(one) for one in await read(installation, positions)] == ["dec-agent-task-41"]


async def test_a_topic_that_was_made_again_is_read_from_its_beginning(installation: Installation) -> None:
    await installation.send(encode(a_fact(1, KEY)), KEY.encode(), DECISIONS, 1)
    positions: Any = {}
    assert len(await read(installation, positions)) == 1
    positions = {place: offset + 100 for place, offset in positions.items()}
    assert len(await read(installation, positions)) == 1


async def test_a_missing_topic_or_broker_is_one_clear_error(installation: Installation) -> None:
    other = installation.kafka.model_copy(update={"topic_prefix": "nobody."})
    with pytest.raises(ContractError, match="does not exist"):
        await anext(follow_fleet(other, STATES, EVENTS, {}))
    with pytest.raises(Unavailable, match="Kafka does not answer"):
        await anext(follow_fleet(Kafka(bootstrap_servers="127.0.0.1:1"), STATES, EVENTS, {}))
