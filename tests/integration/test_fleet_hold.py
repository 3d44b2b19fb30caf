"""One command holds the whole fleet on a real broker: every partition and task, and every reader can see it."""

from __future__ import annotations

import json

import pytest
from builders import AGENT, a_collapse, invocations
from installation import Installation, keys_for

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, DECISIONS, ROLLBACKS

pytestmark = pytest.mark.integration


async def test_the_fleet_is_held_and_resumed_by_one_command_each(installation: Installation) -> None:
    worker = await installation.worker()
    names = [key for partition in range(installation.kafka.partitions) for key in keys_for(partition, 4, 3)]
    for key in names:
        await installation.publish(*invocations("default", "S", agent_name=key.agent_name, task_type=key.task_type))
    story = a_collapse()
    for element in story[:-12]:
        if isinstance(element, m.Invocation):
            await installation.publish(element)
        else:
            await installation.settled()  # a command is not ordered relative to the outcomes
            await installation.order(element)
            await installation.settled()
    await installation.settled()

    code, out, err = await installation.run_crl("hold", "--all", "-m", "incident 42", "--actor", "ada", "--hours", "1")
    assert code == 0, err
    assert out.startswith("held: 4 of 4 partitions, 13 tasks, until "), out
    newest = {(a.agent_name, a.task_type): a for a in await installation.messages(ACTIVE_VARIANTS)}
    assert len(newest) == 13
    assert {a.fleet_held.actor for a in newest.values()} == {"ada"}
    [alert] = [a for a in await installation.messages(ALERTS) if a.kind == "fleet_hold"]
    assert "incident 42" in alert.text

    await installation.publish(*story[-12:])
    await installation.settled()
    assert await installation.messages(ROLLBACKS) == []
    code, out, err = await installation.run_crl("window", f"{AGENT}/api-design", worker_web_port=worker.url[-5:])
    assert code == 0, err
    assert "the fleet is held by ada" in out
    code, out, _ = await installation.run_crl("resume", f"{AGENT}/api-design")
    assert code == 5

    code, out, err = await installation.run_crl("resume", "--all", "--json")
    assert code == 0, err
    assert json.loads(out)["tasks"] == 13
    await installation.publish(*invocations("api-optimized", "F", active_epoch=2))
    await installation.wait_for(ROLLBACKS, m.RollbackEvent)


async def test_without_a_worker_the_partitions_that_do_not_answer_are_named_and_held_by_the_next_one(
    installation: Installation,
) -> None:
    code, out, err = await installation.run_crl("hold", "--all", "--timeout", "2", "--actor", "ada")
    assert code == 69
    assert "partitions 0, 1, 2, 3 have not answered within 2 s" in err
    await installation.worker()
    await installation.settled()
    held = [r for r in await installation.messages(DECISIONS) if isinstance(r, m.CommandResult) and r.tasks == 0]
    assert {r.position.partition for r in held if r.command == "HoldAll"} == {0, 1, 2, 3}
    code, out, err = await installation.run_crl("hold", "--all")
    assert code == 0, err
    assert out.startswith("held: 4 of 4 partitions, 0 tasks")
