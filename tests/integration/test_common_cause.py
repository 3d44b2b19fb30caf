"""An outage of one provider over several tasks, on a real broker: tasks are held, not quarantined, and recover."""

from __future__ import annotations

import asyncio
import json

import pytest
from builders import a_policy, an_invocation
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation
from services_oracle import rows_of
from stages.outage import AGENT, APART, MIXED, SHARED, round_of, youth

from crl_stream.core import messages as m
from crl_stream.core.policy import CommonCause, Policy, PolicySet
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key
from crl_stream.stages.tags import fold_tags
from crl_stream.stages.topology import FIRST, TAGS
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, COMMANDS, DECISIONS, TAG_CONDITIONS, TASKS

pytestmark = pytest.mark.integration


def story(partitions: int) -> tuple[list[m.Invocation], list[m.Invocation]]:
    """Return the outcomes until the end of the outage, and those after it; each uses the variant then active."""
    driver = TopologyDriver(partitions=partitions)

    def active(task: str) -> tuple[str, int]:
        found = driver.snapshot(AGENT, task)
        return found.active_variant or "", found.epoch

    # Each task is on its own: with the role ``tags``, the time of a report would depend on the machine.
    driver.pipe(a_policy(PolicySet(default=Policy(common_cause=CommonCause(min_tasks=0)))))
    failing, recovering = list(youth()), list[m.Invocation]()
    driver.pipe(*failing)
    for number in range(70):
        outcomes = list(round_of(number, active, outage=number < 45))
        driver.pipe(*outcomes)
        (failing if number < 45 else recovering).extend(outcomes)
    return failing, recovering


async def assert_tags_equal_the_fold(installation: Installation) -> None:
    """Check that the rows and the distinct reports of the role ``tags`` are those of a fold of ``crl.tags``."""
    said = [received.record for received in await installation.records(TAG_CONDITIONS)]
    folded = fold_tags(installation.kafka.partitions, None, {}, said)
    wanted = folded.rows | {partition_key(FIRST): folded.partition_row}
    async with asyncio.timeout(30):
        while (await rows_of(installation, TAGS))[FIRST] != wanted:
            await asyncio.sleep(0.1)
    sent = {
        (received.record.partition, received.record.value)
        for received in await installation.records(COMMANDS)
        if isinstance(received.message, m.ReportTag)
    }
    assert sent == {(output.partition, output.value) for output in folded.outputs} != set()


async def newest(installation: Installation) -> dict[str, m.TaskSnapshot]:
    return {found.task_type: found for found in await installation.messages(TASKS)}


async def test_an_outage_is_held_through_and_ends_by_itself_while_a_lone_collapse_is_rolled_back(
    installation: Installation,
) -> None:
    failing, recovering = story(installation.kafka.partitions)
    first = await installation.worker(common_cause_min_tasks="0")
    half = len(failing) - 100
    await installation.publish(*failing[:half])
    await installation.settled()
    first.kill()
    await installation.publish(*failing[half:])
    worker = await installation.worker(common_cause_min_tasks="0")
    await installation.settled()

    shown = await newest(installation)
    assert {task: shown[task].active_variant for task in (*SHARED, APART, MIXED)} == {
        **dict.fromkeys(SHARED, "best"),
        APART: "good",
        MIXED: "elsewhere",
    }
    held = {task for task, found in shown.items() if found.common_cause is not None}
    assert held == {*SHARED, MIXED}
    newest_active = {found.task_type: found for found in await installation.messages(ACTIVE_VARIANTS)}
    assert {task: found.quarantined for task, found in newest_active.items() if found.quarantined} == {APART: ["best"]}
    code, out, err = await installation.run_crl("window", f"{AGENT}/{SHARED[0]}", worker_web_port=worker.url[-5:])
    assert code == 0, err
    assert "provider:one has been failing since" in out
    assert "best, good fell together" in out
    code, out, err = await installation.run_crl("status", "--json", worker_web_port=worker.url[-5:])
    assert {task["common_cause"] for task in json.loads(out)["tasks"] if task["task_type"] in SHARED} == {
        "provider:one"
    }, err

    await installation.publish(*recovering)
    await installation.settled()
    shown = await newest(installation)
    assert {shown[task].common_cause for task in SHARED} == {None}
    assert {shown[task].active_variant for task in SHARED} == {"best"}
    ends = [a for a in await installation.messages(ALERTS) if a.kind == "common_cause" and a.resolved]
    assert {a.task_type for a in ends} == set(SHARED)
    await assert_topics_equal_the_fold(installation)


async def test_tasks_that_fall_after_others_are_held_before_their_first_rollback(installation: Installation) -> None:
    await installation.worker(common_cause_min_tasks="2", common_cause_share="0.4")
    tags = installation.start_worker(("-m", "crl_stream", "worker", "--role", "tags"))
    await tags.ready()
    await installation.publish(*youth())
    held = []
    for task in SHARED:
        for number in range(30):
            await installation.settled()
            found = (await newest(installation))[task]
            if found.common_cause is not None:
                held.append(found.epoch)
                break
            await installation.publish(
                an_invocation(
                    found.active_variant or "",
                    "failure",
                    agent_name=AGENT,
                    task_type=task,
                    provider="one",
                    active_epoch=found.epoch,
                    invocation_id=f"{task}-one-by-one-{number}",
                )
            )
        if task == SHARED[0]:
            tags.kill()  # the next process continues where this one stopped
            tags = installation.start_worker(("-m", "crl_stream", "worker", "--role", "tags"))
            await tags.ready()
        else:
            await installation.wait_for(
                DECISIONS, m.CommandResult, lambda result: result.command == "ReportTag" and result.outcome == "applied"
            )
    assert held[0] == 3
    assert held[2] == 1, "the third task was held without a rollback"
    await assert_tags_equal_the_fold(installation)
    assert await tags.stop() == 0
    await assert_topics_equal_the_fold(installation)
