"""When a task's outcomes pause, all views of it agree: its row, its snapshot, the overview page, and the summary."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import AGENT, TASK, invocations
from installation import Installation, WorkerProcess

from crl_stream.core import messages as m
from crl_stream.kafka.overview_page import read_overview
from crl_stream.wire.topics import ALERTS, TASKS

pytestmark = pytest.mark.integration

SERVICES = ("-m", "crl_stream", "worker", "--role", "services")


async def figures(installation: Installation, worker: WorkerProcess) -> dict[str, Any]:
    """Return the number of the task's outcomes according to each source."""
    _, row = await worker.get(f"/api/tasks/{AGENT}/{TASK}")
    _, brief = await worker.get("/api/tasks")
    _, summary = await worker.get("/api/summary")
    overview = await read_overview(installation.kafka)
    listed = [] if overview is None else [*overview.high_confidence, *overview.degraded]
    snapshots = [s for s in await installation.messages(TASKS) if isinstance(s, m.TaskSnapshot)]
    return {
        "row": sum(v["n_visits"] for v in row.get("variants", [])),  # before its first outcome the task is unknown
        "brief": sum(task["n_outcomes"] for task in brief["tasks"]),
        "summary": summary["summary"]["outcomes"],
        "snapshot": snapshots[-1].n_outcomes if snapshots else 0,
        "page": sum({v.variant_id: v.n_visits for v in listed}.values()),
    }


async def agree(installation: Installation, worker: WorkerProcess, outcomes: int) -> dict[str, Any]:
    """Wait until every source shows this number of outcomes."""
    found: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while set((found := await figures(installation, worker)).values()) != {outcomes}:
            await asyncio.sleep(0.2)
    return found


async def test_the_row_the_snapshot_the_page_and_the_summary_of_a_quiet_task_agree(installation: Installation) -> None:
    worker = await installation.worker()
    services = installation.start_worker(SERVICES)
    await services.ready()
    total = 0
    for burst in (30, 1, 7, 13, 2):  # bursts end at, just after, or between snapshots
        await installation.publish(*invocations("default", "S" * burst))
        total += burst
        await agree(installation, worker, total)
    services.kill()
    await installation.publish(*invocations("default", "S" * 20))
    total += 20
    await installation.settled()
    services = installation.start_worker(SERVICES)
    await services.ready()
    await agree(installation, worker, total)


async def test_a_hold_of_the_fleet_is_said_by_every_view_and_command_and_is_no_trouble(
    installation: Installation,
) -> None:
    worker = await installation.worker()
    services = installation.start_worker(SERVICES)
    await services.ready()
    await installation.publish(*invocations("default", "S" * 30, reward=0.5))
    views = ["--set", f"worker.web_port={worker.url.rpartition(':')[2]}"]
    code, _, err = await installation.run_crl(*views, "hold", "--all", "--actor", "grace", "-m", "incident 42")
    assert code == 0, err
    await installation.publish(*invocations("v2", "S" * 12, reward=1.0, variant_source="explore"))
    await installation.wait_for(ALERTS, m.Alert, lambda alert: alert.kind == "fleet_hold")
    await installation.wait_for(TASKS, m.TaskSnapshot, lambda snapshot: snapshot.n_outcomes == 42)
    code, pinned, err = await installation.run_crl(*views, "pin", f"{AGENT}/{TASK}")
    assert code == 0, err
    assert "no automatic rollback: the fleet is held by grace until" in pinned
    _, shown, _ = await installation.run_crl(*views, "window", f"{AGENT}/{TASK}")
    assert "no rollback happens: the fleet is held by grace until" in shown
    _, check, _ = await installation.run_crl(*views, "status", "--check")
    [note] = [line for line in check.splitlines() if line.startswith("note fleet_held")]
    assert "The fleet is held by grace" in note
    _, page = await worker.get("/api/active")
    [active] = page["active"]
    assert active["fleet_held"] is True
    assert active["no_rollback"].startswith("the fleet is held by grace")
    _, dashboard, _ = await installation.run_crl("dashboard")
    assert "ready for auto-apply" not in dashboard
