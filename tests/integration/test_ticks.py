"""A real worker writes ticks to a real log: a pause in the outcomes causes one, and no further cost."""

from __future__ import annotations

import asyncio

from builders import AGENT, TASK, a_command, an_invocation, invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS, TASKS, TICK_KEY


async def ticks(installation: Installation) -> int:
    return sum(received.record.key == TICK_KEY for received in await installation.records(INVOCATIONS))


async def test_after_a_burst_over_many_tasks_every_snapshot_is_its_row_and_then_nothing_is_written(
    installation: Installation,
) -> None:
    await installation.worker()
    tasks = [f"task-{number}" for number in range(30)]
    await asyncio.gather(
        *(
            installation.publish(*[an_invocation(task_type=task) for _ in range(3 + number)])
            for number, task in enumerate(tasks)
        )
    )
    last = {f"task-{number}": 3 + number for number in range(30)}
    async with asyncio.timeout(30):
        shown: dict[str, int] = {}
        while shown != last:
            shown = {s.task_type: s.n_outcomes for s in await installation.messages(TASKS)}
            await asyncio.sleep(0.1)
    await installation.silent()
    before = await ticks(installation)
    assert before > 0
    await asyncio.sleep(3.0)
    assert await ticks(installation) == before, "none while nothing waits"
    await assert_topics_equal_the_fold(installation)


async def test_a_hold_ends_without_traffic_and_two_workers_say_so_once(installation: Installation) -> None:
    await asyncio.gather(installation.worker(), installation.worker())
    await installation.publish(*invocations("default", "S" * 3))
    await installation.order(a_command(m.HoldTask, hours=0.001))
    held = await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda active: active.held is not None)
    free = await installation.wait_for(
        ACTIVE_VARIANTS,
        m.ActiveVariant,
        lambda active: active.held is None and active.position.offset > held.position.offset,
    )
    assert (free.agent_name, free.task_type, free.epoch) == (AGENT, TASK, 1)
    await assert_topics_equal_the_fold(installation)


async def test_what_a_killed_worker_had_not_published_its_successor_publishes(installation: Installation) -> None:
    worker = await installation.worker()
    await installation.publish(*invocations("default", "S" * 4))
    await installation.settled()
    worker.kill()
    await installation.publish(*invocations("default", "S" * 3))
    await installation.worker()
    await installation.wait_for(TASKS, m.TaskSnapshot, lambda snapshot: snapshot.n_outcomes == 7)
    await assert_topics_equal_the_fold(installation)
