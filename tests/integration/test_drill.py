"""``crl drill`` proves on a real broker, with a real worker, that a failing variant would be rolled back."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import forked
import pytest
from builders import AGENT, a_policy, invocations
from installation import Installation, WorkerProcess
from services_oracle import assert_services_equal_the_fold, services_settled

from crl_stream.client.publisher import utc_now
from crl_stream.core import messages as m
from crl_stream.core.drills import DRILL_AGENT, FAILING
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.wire.drill_tasks import drill_tasks
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DECISIONS, ROLLBACKS, TASKS

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
    "eager to promote, and no room": {
        "auto_apply_q_threshold": "-1",
        "auto_apply_min_samples": "1",
        "auto_apply_min_lead": "0",
        "auto_apply_cooldown": "0",
        "limits_variants": "2",
        "limits_runtimes": "1",
        "operations_exploration": "1",
    },
}


async def drill(installation: Installation, *options: str, **settings: str) -> tuple[int, Any, str]:
    """Run a drill and return its exit code, its JSON and stderr."""
    code, out, err = await installation.run_crl("drill", "--json", *options, **settings)
    return code, json.loads(out) if out else None, err


async def status(installation: Installation, worker: WorkerProcess) -> Any:
    _, out, _ = await installation.run_crl("status", "--json", worker_web_port=worker.url.rpartition(":")[2])
    return json.loads(out)


def steps_of(report: Any) -> list[str]:
    return [step["name"] for step in report["steps"]]


async def put_in_force(installation: Installation, policy: Policy) -> None:
    command = a_policy(PolicySet(policy))
    await installation.order(command)
    await installation.wait_for(DECISIONS, m.CommandResult, lambda result: result.command_id == command.command_id)


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
    await installation.worker(rollback_doubt="1000")
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


async def test_a_drill_reports_what_switches_rollbacks_off_and_passes_once_they_are_on_again(
    installation: Installation,
) -> None:
    await installation.worker()
    code, _, _ = await installation.run_crl("hold", "--all", "-m", "incident 42", "--actor", "ada")
    assert code == 0
    code, found, err = await drill(installation)
    assert (code, found["result"]) == (6, "blocked")
    assert "rollbacks are switched off there: the fleet is held by ada until " in err
    assert "hint: crl resume --all releases the fleet" in err
    assert steps_of(found["partitions"][0]) == ["outcomes", "command", "failures", "degradation", "alert"]
    await installation.run_crl("resume", "--all")
    assert (await drill(installation, "--partition", "0"))[0] == 0

    task = str(drill_tasks(4)[0])
    await installation.run_crl("hold", task, "--actor", "ada")
    code, found, err = await drill(installation, "--partition", "0")
    assert (code, found["result"]) == (6, "blocked")
    assert f"hint: crl resume {task} releases the task" in err
    await installation.run_crl("resume", task)
    assert (await drill(installation, "--partition", "0"))[0] == 0

    for mode in ("shadow", "observe"):
        await put_in_force(installation, Policy(operations=Operations(mode=mode)))
        await installation.settled()
        code, found, err = await drill(installation, "--partition", "0")
        assert (code, found["result"], found["mode"]) == (6, "blocked", mode)
        assert f"{mode} mode" in err
        assert 'hint: set operations.mode = "enforce" and run crl policy apply' in err
    await put_in_force(installation, Policy())
    await installation.settled()
    assert (await drill(installation, "--partition", "0"))[0] == 0


async def test_without_a_worker_a_drill_says_so_at_once_and_the_next_worker_remembers_it(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    assert (await drill(installation, "--partition", "0"))[0] == 0
    await worker.stop()
    code, found, err = await drill(installation, "--partition", "0", "--timeout", "60")
    assert (code, found["result"]) == (6, "failed")
    assert found["partitions"][0]["missing"] == "command"
    assert "The drill failed on partition 0 at command: The monitor is not running." in err
    assert "hint: start it with `crl worker`" in err
    assert any("not running" in line for line in found["status"])

    worker = await installation.worker()
    await installation.settled()
    seen = await status(installation, worker)
    assert seen["last_drill"]["result"] == "failed"
    [finding] = [finding for finding in seen["findings"] if finding["name"] == "drill"]
    assert finding["trouble"]
    assert "partition 0 failed: command: The monitor is not running" in finding["text"]
    assert (await drill(installation, "--partition", "0"))[0] == 0
    seen = await status(installation, worker)
    assert seen["last_drill"]["result"] == "passed"
    assert [finding for finding in seen["findings"] if finding["name"] == "drill"] == []


async def test_a_worker_that_has_frozen_is_found_within_the_timeout(installation: Installation) -> None:
    worker = await installation.worker()
    worker.process.send_signal(signal.SIGSTOP)
    try:
        code, found, err = await drill(installation, "--timeout", "2")
    finally:
        worker.process.send_signal(signal.SIGCONT)
    assert (code, found["result"]) == (6, "failed")
    assert found["partitions"][0]["missing"] == "command"
    assert "no worker has applied the drill's command within 2 s" in err
    assert "hint: `crl status` shows whether its worker runs" in err


async def test_a_partition_whose_owner_has_frozen_is_named_and_the_others_protect(installation: Installation) -> None:
    one, two = (installation.start_worker(worker_session_timeout_seconds="60") for _ in range(2))
    await asyncio.gather(one.ready(), two.ready())
    owned: set[int] = set()
    async with asyncio.timeout(60):
        while len(owned) != 2:
            found = [(await worker.get("/api/worker"))[1].get("partitions", []) for worker in (one, two)]
            owned = {part["partition"] for part in found[0]} if all(len(part) == 2 for part in found) else set()
            await asyncio.sleep(0.1)
    await one.ready()
    one.process.send_signal(signal.SIGSTOP)
    try:
        code, found, err = await drill(installation, "--all-partitions", "--timeout", "5")
    finally:
        one.kill()
    assert code == 6
    failed = {report["partition"] for report in found["partitions"] if report["result"] == "failed"}
    assert failed == owned
    assert {report["result"] for report in found["partitions"] if report["partition"] not in owned} == {"passed"}
    named = ", ".join(map(str, sorted(owned)))
    assert f"The drill failed on 2 of 4 partitions ({named}) at command: no worker has applied" in err


async def test_of_two_drills_at_once_on_a_partition_one_runs_and_the_other_says_so(installation: Installation) -> None:
    await installation.worker()
    for _ in range(2):  # the first pair meets a task that nobody knows, the second one that both know
        ended = await asyncio.gather(*(drill(installation, "--partition", "1") for _ in range(2)))
        codes = sorted(code for code, _, _ in ended)
        assert codes in ([0, 75], [0, 0]), ended
        for code, found, err in ended:
            assert code == 0 or (found["result"] == "busy" and "crl-drill/silent-0" in err)
    rolled = await installation.messages(ROLLBACKS)
    assert {event.epoch for event in rolled} == set(range(3, 3 + 2 * len(rolled), 2)), "no drill has disturbed another"
    both = await asyncio.gather(drill(installation, "--partition", "1"), drill(installation, "--partition", "2"))
    assert [code for code, _, _ in both] == [0, 0]


async def test_a_drill_that_is_running_keeps_others_off_until_it_has_ended(installation: Installation) -> None:
    worker = await installation.worker()
    assert (await drill(installation, "--partition", "1"))[0] == 0
    key = drill_tasks(4)[1]
    reason = "drill running 2025-11-19T14:30:00.000Z: in progress"
    command = m.PinVariant(
        schema_version=1,
        command_id="cmd-running",
        timestamp="2025-11-19T14:30:00Z",
        actor="ada",
        reason=reason,
        agent_name=key.agent_name,
        task_type=key.task_type,
        hours=1.0,
    )
    await installation.order(command)
    await installation.wait_for(DECISIONS, m.CommandResult, lambda result: result.command_id == "cmd-running")
    await installation.wait_for(
        ACTIVE_VARIANTS, m.ActiveVariant, lambda active: reason == getattr(active.pinned, "reason", "")
    )
    code, found, err = await drill(installation, "--partition", "1")
    assert (code, found["result"]) == (75, "busy")
    assert "a drill by ada has been running on crl-drill/silent-0 since 2025-11-19T14:30:00Z" in err
    assert (await status(installation, worker))["last_drill"]["result"] == "running"
    code, found, err = await drill(installation, "--partition", "1", "--notify")
    assert code == 0, err
    await drill(installation, "--partition", "2")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_drill_that_is_interrupted_is_on_record_as_failed(
    installation: Installation, number: signal.Signals, code: int
) -> None:
    worker = await installation.worker()
    assert (await drill(installation, "--partition", "0"))[0] == 0
    worker.process.send_signal(signal.SIGSTOP)
    try:
        before = len(await installation.records(COMMANDS))
        with (installation.folder / "drill.log").open("wb") as log:
            program = ("-m", "crl_stream", "drill", "--partition", "0")
            command = forked.start_python(program, installation.environment(), installation.folder, log)
        async with asyncio.timeout(30.0):
            while len(await installation.records(COMMANDS)) == before:
                assert command.poll() is None, (installation.folder / "drill.log").read_text()
                await asyncio.sleep(0.05)
        command.send_signal(number)
        assert await asyncio.to_thread(command.wait, 30) == code
    finally:
        worker.kill()
    worker = await installation.worker()
    await installation.settled()
    seen = await status(installation, worker)
    assert seen["last_drill"]["result"] == "failed"
    assert seen["last_drill"]["detail"] == "command: it was interrupted"


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

    # The silent drill of this partition came first, so it would have been sent by now.
    async with asyncio.timeout(30):
        while not told.read_text().strip():
            await asyncio.sleep(0.05)
    [notice] = [json.loads(line) for line in told.read_text().splitlines()]
    assert notice["text"].startswith("THIS IS A DRILL, nothing is wrong: crl-drill/notify-")
    assert (notice["kind"], notice["severity"]) == ("rollback", "critical")
