"""``crl drill`` proves on a real broker, with a real worker, that a failing variant would be rolled back."""

from __future__ import annotations

import asyncio
import json

import pytest
from builders import AGENT, invocations
from drilling import drill, status, steps_of
from installation import Installation
from services_oracle import assert_services_equal_the_fold, services_settled

from crl_stream.client.publisher import utc_now
from crl_stream.core.drills import DRILL_AGENT, FAILING
from crl_stream.wire.drill_tasks import drill_tasks
from crl_stream.wire.topics import ROLLBACKS, TASKS

pytestmark = pytest.mark.integration

STEPS = ["outcomes", "command", "failures", "degradation", "rollback", "alert", "active", "runtime", "receipt"]
POLICIES: dict[str, dict[str, str]] = {
    "guide": {},
    "production": {"profile": "production"},
    "conservative": {"profile": "conservative"},
    "a tiny window": {"degradation_lookback_window": "2", "degradation_min_baseline": "1", "rollback_confidence": "3"},
    "a wide window": {
        "degradation_lookback_window": "100",
        "degradation_min_recent": "60",
        "degradation_min_baseline": "150",
        "degradation_baseline": "before_window",
        "degradation_guard": "evidence",
        "rollback_min_samples": "120",
    },
    "hard to convince": {
        "rollback_confidence": "5",
        "rollback_doubt": "20",
        "degradation_success_drop": "1",
        "degradation_reward_drop": "1",
        "degradation_false_alarm_budget": "1000000000",
        "degradation_guard": "evidence",
    },
    "promotes very early, and has no room for more variants": {
        "auto_apply_q_threshold": "-1",
        "auto_apply_min_samples": "1",
        "auto_apply_min_lead": "0",
        "auto_apply_cooldown": "0",
        "limits_variants": "2",
        "limits_runtimes": "1",
        "operations_exploration": "1",
    },
}


async def test_a_drill_sees_every_step_from_the_outcome_to_the_receipt(installation: Installation) -> None:
    await installation.worker()
    code, found, err = await drill(installation)
    assert (code, found["result"], found["mode"], err) == (0, "passed", "enforce", "")
    [report] = found["partitions"]
    assert steps_of(report) == STEPS
    assert report["recorded"]
    assert report["missing"] is None
    late = [step["latency_ms"] for step in report["steps"]]
    assert late[:3] == [None] * 3
    assert all(isinstance(one, int) and one >= 0 for one in late[3:])

    code, out, err = await installation.run_crl("drill", "--partition", "0")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("partition 0, crl-drill/silent-2; ")
    assert len(lines) == len(STEPS) + 2
    assert "rolled back to drill-steady" in out
    assert lines[-1].startswith("drill passed: partition 0 protects; rollback ")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", POLICIES)
async def test_any_number_of_drills_pass_under_any_policy_that_protects(installation: Installation, name: str) -> None:
    await installation.worker(**POLICIES[name])
    for number in range(1, 6):
        code, found, err = await drill(installation, "--partition", "2")
        assert code == 0, f"drill {number}: {err} {found}"
    [task] = {task.task_type for task in await installation.messages(TASKS)}
    last = [one.message for one in await installation.records(TASKS)][-1]
    assert len(last.variants) == 2, task
    rolled = await installation.messages(ROLLBACKS)
    assert [event.from_variant for event in rolled] == [FAILING] * 5


async def test_a_policy_under_which_a_total_failure_is_not_rolled_back_fails_the_drill(
    installation: Installation,
) -> None:
    await installation.worker(rollback_doubt="1000", rollback_confidence="5", rollback_renotify="1000000")
    code, found, err = await drill(installation)
    assert (code, found["result"], found["partitions"][0]["missing"]) == (6, "failed", "rollback")
    assert "at rollback: degraded, with nothing to roll back to: drill-steady (" in err
    assert "hint: crl policy show prints [rollback]" in err


async def test_every_partition_is_tested_at_once_or_the_one_that_has_waited_longest(installation: Installation) -> None:
    await installation.worker()
    for partition in (0, 1):
        _, found, _ = await drill(installation)
        assert [report["partition"] for report in found["partitions"]] == [partition]
    code, found, err = await drill(installation, "--all-partitions")
    assert (code, err) == (0, "")
    assert [report["partition"] for report in found["partitions"]] == [0, 1, 2, 3]
    assert [report["task"] for report in found["partitions"]] == list(map(str, drill_tasks(4)))
    homes = {one.record.partition: one.message.task_type for one in await installation.records(ROLLBACKS)}
    assert homes == {partition: key.task_type for partition, key in enumerate(drill_tasks(4))}
    code, out, err = await installation.run_crl("drill", "--all-partitions")
    assert "drill passed: 4 partitions protect; slowest rollback " in out
    assert "partition 3: rolled back to drill-steady" in out
    code, out, err = await installation.run_crl("drill", "--all-partitions", "--quiet")
    assert (code, out, err) == (0, "", "")
    code, out, err = await installation.run_crl("drill", "--partition", "4")
    assert (code, out) == (2, "")
    assert "numbered from 0 to 3" in err


async def test_status_says_how_old_the_last_drill_of_each_partition_is(installation: Installation) -> None:
    worker = await installation.worker()
    port = worker.url.rpartition(":")[2]
    seen = await status(installation, worker)
    assert (seen["drills"], seen["last_drill"], seen["partitions_without_drill"]) == ([], None, [0, 1, 2, 3])
    _, _, err = await installation.run_crl("status", worker_web_port=port)
    assert "drill: never; `crl drill` tests whether a bad variant is rolled back" in err

    assert (await drill(installation, "--partition", "3", "--actor", "ada"))[0] == 0
    seen = await status(installation, worker)
    assert seen["partitions_without_drill"] == [0, 1, 2]
    assert seen["last_drill"]["age_seconds"] < 60
    named = {name: seen["last_drill"][name] for name in ("partition", "task", "result", "actor")}
    assert named == {"partition": 3, "task": "crl-drill/silent-6", "result": "passed", "actor": "ada"}
    _, _, err = await installation.run_crl("status", worker_web_port=port)
    assert " ago on partition 3; never on partition 0, 1, 2" in err
    assert "drill: passed " in err

    await worker.stop()
    told = await status(installation, worker)  # from the topics
    assert {**told["last_drill"], "age_seconds": 0} == {**seen["last_drill"], "age_seconds": 0}
    assert told["tasks"] == []


async def test_drills_move_no_figure_of_the_fleet_and_reach_people_only_when_asked_to(
    installation: Installation,
) -> None:
    told = installation.folder / "told.jsonl"
    worker = await installation.worker()
    services = installation.start_worker(
        ("-m", "crl_stream", "worker", "--role", "services"), notifiers_ops_kind="file", notifiers_ops_path=str(told)
    )
    await services.ready()
    await installation.publish(*invocations("default", "S" * 12, timestamp=utc_now()))

    assert (await drill(installation, "--all-partitions"))[0] == 0
    assert (await drill(installation, "--partition", "0", "--notify"))[0] == 0
    await installation.settled()
    await installation.silent()
    await services_settled(installation)
    page = await assert_services_equal_the_fold(installation)
    assert (page.tasks, page.agents, page.q_table_entries, page.n_degraded) == (1, 1, 1, 0)
    assert (page.rollbacks, page.open_alerts) == ([], [])
    assert not (installation.folder / "telemetry" / "crl" / "rollback_events.jsonl").read_text().strip()

    listed = (await worker.get("/api/tasks"))[1]["tasks"]
    assert [task["agent_name"] for task in listed] == [AGENT]
    active = (await worker.get("/api/active"))[1]["active"]
    assert [one["agent_name"] for one in active] == [AGENT]
    assert (await worker.get("/api/summary"))[1]["summary"]["tasks"] == 1
    seen = await status(installation, worker)
    assert (seen["n_tasks"], seen["trouble"], seen["health"]) == (1, [], "HEALTHY")
    for command in (("rollbacks",), ("runtimes",), ("audit",)):
        _, out, _ = await installation.run_crl(*command)
        assert "crl-drill" not in out
    _, out, _ = await installation.run_crl("rollbacks", "--agent", DRILL_AGENT, "--json")
    assert len(json.loads(out)["rollbacks"]) == 5

    # The silent drill of this partition was first, so its alert would have been sent by now.
    async with asyncio.timeout(30):
        while not told.read_text().strip():
            await asyncio.sleep(0.05)
    [notice] = [json.loads(line) for line in told.read_text().splitlines()]
    assert notice["text"].startswith("THIS IS A DRILL, nothing is wrong: crl-drill/notify-")
    assert (notice["kind"], notice["severity"]) == ("rollback", "critical")
