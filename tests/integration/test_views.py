"""Any worker answers for any task, and unauthorised clients are refused."""

from __future__ import annotations

import pytest
from builders import an_invocation
from installation import Installation, keys_for

pytestmark = pytest.mark.integration


async def test_a_worker_that_does_not_own_a_task_answers_with_its_owners_row(installation: Installation) -> None:
    workers = [await installation.worker(), await installation.worker()]
    for worker in workers:
        await worker.ready()
    keys = [key for partition in range(4) for key in keys_for(partition, 4, 2)]
    for key in keys:
        await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    owned = [{p["partition"] for p in (await w.get("/api/worker"))[1]["partitions"]} for w in workers]
    assert owned[0] | owned[1] == {0, 1, 2, 3}
    assert owned[0]
    assert owned[1]
    assert not owned[0] & owned[1]
    for key in keys:
        answers = [await worker.get(f"/api/tasks/{key}") for worker in workers]
        assert answers[0] == answers[1]
        status, page = answers[0]
        assert (status, page["task_type"], page["n_outcomes"]) == (200, key.task_type, 1)
        for part in ("variants", "active"):
            assert (await workers[0].get(f"/api/tasks/{key}/{part}")) == (
                await workers[1].get(f"/api/tasks/{key}/{part}")
            )
    lists = [(await worker.get("/api/tasks"))[1] for worker in workers]
    assert lists[0] == lists[1]
    assert [t["task_type"] for t in lists[0]["tasks"]] == sorted(key.task_type for key in keys)
    assert lists[0]["partial"] is False
    status, page = await workers[1].get("/api/tasks/agent/never-seen")
    assert (status, "hint" in page) == (404, True)


async def test_a_list_says_that_a_worker_is_missing_and_its_task_names_the_owner(installation: Installation) -> None:
    workers = [
        await installation.worker(worker_session_timeout_seconds="60"),
        await installation.worker(worker_session_timeout_seconds="60"),
    ]
    for worker in workers:
        await worker.ready()
    for partition in range(4):
        for key in keys_for(partition, 4, 1):
            await installation.publish(an_invocation(agent_name=key.agent_name, task_type=key.task_type))
    await installation.settled()
    _, gone = await workers[1].get("/api/worker")
    workers[1].kill()
    _, page = await workers[0].get("/api/tasks")
    assert page["partial"] is True
    assert page["silent"] == [workers[1].url]
    [lost] = keys_for(gone["partitions"][0]["partition"], 4, 1)
    status, answer = await workers[0].get(f"/api/tasks/{lost}")
    assert (status, answer["owner"]) == (503, workers[1].url)
    assert workers[1].url in answer["hint"]


async def test_the_views_ask_for_their_token_and_for_their_own_name(installation: Installation) -> None:
    worker = await installation.worker(worker_web_token="open-sesame")
    assert (await worker.get("/readyz"))[0] == 200
    assert (await worker.get("/api/tasks"))[0] == 401
    assert (await worker.get("/api/tasks", Authorization="Bearer wrong"))[0] == 401
    assert (await worker.get("/api/tasks", Authorization="Bearer open-sesame"))[0] == 200
    assert (await worker.get("/healthz", Host="evil.example"))[0] == 403
    status, page = await worker.get("/no/such/view")
    assert (status, page["error"]) == (401, "The token is missing or wrong.")


async def test_one_row_that_cannot_be_read_hides_no_other_task(installation: Installation) -> None:
    good, bad = keys_for(0, 4, 2)
    await installation.publish(an_invocation(agent_name=good.agent_name, task_type=good.task_type))
    # A foreign record is in the changelog before a worker starts.
    changelog = installation.names.changelog(installation.app_id)
    await installation.producer.send_and_wait(changelog, b'{"x":1}', key=bad.encode(), partition=0)
    worker = await installation.worker()
    await installation.settled()
    for path, name in (("/api/tasks", "tasks"), ("/api/active", "active")):
        status, page = await worker.get(path)
        assert (status, [t["task_type"] for t in page[name]]) == (200, [good.task_type])
        assert page["unreadable"] == [str(bad)]
        assert [(t["held"], t["fleet_held"], t["fleet_stops"]) for t in page[name]] == [(False, False, None)]
    status, page = await worker.get(f"/api/tasks/{bad}")
    assert (status, page["error"]) == (500, f"The row of {bad} cannot be read.")
    await installation.publish(
        *[an_invocation(agent_name=key.agent_name, task_type=key.task_type) for key in (bad, good)]
    )
    await installation.settled()
    _, page = await worker.get(f"/api/tasks/{good}")
    assert page["n_outcomes"] == 2
