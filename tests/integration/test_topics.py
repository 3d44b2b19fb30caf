"""Topics that do not match the catalog: `diff` shows them, `apply` corrects them, and a worker refuses to start."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.admin import NewPartitions, NewTopic
from installation import Installation

from crl_stream.wire.topics import ALERTS, INVOCATIONS, TASKS

pytestmark = pytest.mark.integration


async def missing(installation: Installation) -> None:
    async with installation.admin._admin() as admin:
        name = installation.names(ALERTS)
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.05)


async def too_many_partitions(installation: Installation) -> None:
    async with installation.admin._admin() as admin:
        await admin.create_partitions({installation.names(INVOCATIONS): NewPartitions(8)})


async def changelog_of_another_log(installation: Installation) -> None:
    name = installation.admin.changelog
    async with installation.admin._admin() as admin:
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.05)
        await admin.create_topics([NewTopic(name, 2, 1, topic_configs={"cleanup.policy": "compact"})])


async def rows_that_are_deleted_by_age(installation: Installation) -> None:
    async with installation.admin._admin() as admin:
        await installation.admin._alter(admin, installation.names(TASKS), {"cleanup.policy": "delete"})


async def rows_that_are_compacted_at_once(installation: Installation) -> None:
    name = installation.admin.changelog
    async with installation.admin._admin() as admin:
        wanted = installation.admin._wanted(installation.admin.specs[name])
        await installation.admin._alter(admin, name, wanted | {"min.compaction.lag.ms": "60000"})


async def clocks_of_the_producers(installation: Installation) -> None:
    async with installation.admin._admin() as admin:
        await installation.admin._alter(
            admin, installation.names(INVOCATIONS), {"message.timestamp.type": "CreateTime"}
        )


async def test_diff_is_empty_after_apply_and_apply_again_changes_nothing(installation: Installation) -> None:
    code, out, err = await installation.run_crl("topics", "diff", "--json")
    assert (code, json.loads(out)) == (0, {"differences": []}), err
    code, out, _ = await installation.run_crl("topics", "apply", "--json")
    assert (code, json.loads(out)) == (0, {"done": []})
    code, out, _ = await installation.run_crl("topics", "list", "--json")
    assert code == 0
    assert all(topic["exists"] for topic in json.loads(out)["topics"])


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (missing, "does not exist"),
        (too_many_partitions, "partitions is 8, 4 is expected"),
        (changelog_of_another_log, "partitions is 2, 4 is expected"),
        (rows_that_are_deleted_by_age, "cleanup.policy is delete, compact is expected"),
        (rows_that_are_compacted_at_once, "min.compaction.lag.ms is 60000, 300000 is expected"),
        (clocks_of_the_producers, "message.timestamp.type is CreateTime, LogAppendTime is expected"),
    ],
)
async def test_a_worker_refuses_topics_on_which_it_would_lose_events_and_says_what_to_do(
    installation: Installation, fault: Callable[[Installation], Awaitable[None]], word: str
) -> None:
    await fault(installation)
    async with asyncio.timeout(30):
        while not await installation.admin.differences():
            await asyncio.sleep(0.05)
    code, out, err = await installation.run_crl("topics", "diff")
    assert code == 3
    assert word in out
    code, out, err = await installation.run_crl("worker")
    assert code == 78, err
    assert word in err
    assert "hint: " in err
    assert "Traceback" not in err
    mendable = (missing, rows_that_are_deleted_by_age, rows_that_are_compacted_at_once, clocks_of_the_producers)
    if fault in mendable:
        code, _, err = await installation.run_crl("topics", "apply")
        assert code == 0, err
        assert await installation.admin.differences() == []
    else:
        code, _, err = await installation.run_crl("topics", "apply")
        assert (code, "hint: " in err) == (78, True)
