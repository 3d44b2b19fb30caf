"""An operator whose command meets an outage is told whether it may still take effect, and how to find out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import RequestTimedOutError, TopicAuthorizationFailedError
from builders import AGENT, TASK
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.web.access import Refusal
from crl_stream.dashboard.web.orders import carry_out
from crl_stream.errors import Unavailable
from crl_stream.kafka import commands
from crl_stream.kafka.commands import fleet_command, give, give_all, task_command
from crl_stream.settings.model import Kafka
from crl_stream.wire.topics import COMMANDS

pytestmark = pytest.mark.integration
KEY = TaskKey(AGENT, TASK)


def a_hold() -> Any:
    return task_command(m.HoldTask, KEY, actor="ada", reason="a bad night")


async def test_a_command_that_finds_no_kafka_was_not_sent() -> None:
    nowhere = Kafka(bootstrap_servers="127.0.0.1:1")
    said = r"^Kafka does not answer at 127.0.0.1:1\. The command was not sent\.(\n|$)"
    with pytest.raises(Unavailable, match=said):
        await give(nowhere, a_hold())
    with pytest.raises(Unavailable, match=said):
        await give_all(nowhere, fleet_command(m.HoldAll, actor="ada", reason="a bad night"))
    with pytest.raises(Refusal, match=said):
        await carry_out(nowhere, a_hold())


async def test_a_command_whose_arrival_is_not_confirmed_may_take_effect_and_the_audit_knows(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _lose_the_confirmation(monkeypatch)
    command = a_hold()
    with pytest.raises(Unavailable) as trouble:
        await give(installation.kafka, command)
    said = f"It is not known whether the command arrived: {command.command_id} may take effect until"
    assert f"{said} {command.expires_at}." in trouble.value.message
    assert trouble.value.hint == "`crl audit` shows what became of the command"
    code, out, _ = await installation.run_crl("audit", "--json")
    assert code == 0
    assert command.command_id in json.dumps(json.loads(out)["audit"])
    command = fleet_command(m.HoldAll, actor="ada", reason="a bad night")
    answer = await give_all(installation.kafka, command, 5.0)
    assert set(answer.unsent) == {0, 1, 2, 3}
    assert command.command_id in {one.command_id for one in await installation.messages(COMMANDS)}


async def test_a_command_that_every_partition_has_was_sent_whatever_happens_next(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = commands._send_everywhere

    async def send(*given: Any) -> dict[int, str]:
        await whole(*given)
        raise Unavailable("Kafka does not answer.")

    monkeypatch.setattr(commands, "_send_everywhere", send)
    command = fleet_command(m.HoldAll, actor="ada", reason="a bad night")
    with pytest.raises(Unavailable, match=f"The command was sent: {command.command_id} may take effect until"):
        await give_all(installation.kafka, command, 5.0)


async def _lose_the_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Kafka take every record, but let its answer get lost."""
    whole = AIOKafkaProducer.send_and_wait

    async def send(self: Any, *given: Any, **named: Any) -> Any:
        await whole(self, *given, **named)
        raise RequestTimedOutError

    monkeypatch.setattr(AIOKafkaProducer, "send_and_wait", send)


async def test_a_command_that_kafka_refuses_was_not_sent(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(self: Any, *given: Any, **named: Any) -> Any:
        raise TopicAuthorizationFailedError

    monkeypatch.setattr(AIOKafkaProducer, "send_and_wait", send)
    with pytest.raises(Unavailable, match=r"does not let this user in.*The command was not sent\.(\n|$)"):
        await give(installation.kafka, a_hold())


async def test_a_command_without_a_worker_is_on_the_topic_and_can_be_looked_up(installation: Installation) -> None:
    command = a_hold()
    with pytest.raises(Unavailable) as trouble:
        await give(installation.kafka, command, 0.5)
    assert f"{command.command_id} is on the topic, and a worker can apply it until" in trouble.value.message
    assert "`crl audit`" in (trouble.value.hint or "")
    assert [one.command_id for one in await installation.messages(COMMANDS)] == [command.command_id]
