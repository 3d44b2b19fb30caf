"""A drill that cannot pass says why and what to do next, and leaves no state that disturbs the next drill."""

from __future__ import annotations

import asyncio
import signal

import forked
import pytest
from drilling import drill, put_in_force, status, steps_of
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.core.policy import Operations, Policy
from crl_stream.wire.drill_tasks import drill_tasks
from crl_stream.wire.topics import ACTIVE_VARIANTS, COMMANDS, DECISIONS, ROLLBACKS

pytestmark = pytest.mark.integration


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
    assert "hint: `crl status` shows whether its worker is running" in err


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
    for _ in range(2):  # the first pair starts on an unknown task, the second on a known one
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
