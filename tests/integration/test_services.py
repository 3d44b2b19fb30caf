"""Several consumer groups in one process: they fail independently, and a process that ends says why."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import invocations
from fold_oracle import assert_topics_equal_the_fold
from installation import Installation, WorkerProcess
from services_oracle import assert_services_equal_the_fold, services_settled

from crl_stream.core import messages as m
from crl_stream.wire.topics import ALERTS, PROPOSALS

pytestmark = pytest.mark.integration

SERVICES = ("-m", "crl_stream", "worker", "--role", "services")
PATCHED = """
import runpy, sys
{patch}
sys.argv = ["crl", "worker", *{arguments!r}]
runpy.run_module("crl_stream", run_name="__main__")
"""
AN_HOUR_WITHOUT_A_POLL = """
from aiokafka.consumer.subscription_state import SubscriptionState
idle = SubscriptionState.fetcher_idle_time
SubscriptionState.fetcher_idle_time = property(lambda self: idle.fget(self) * 3_600)
"""
A_BUG_IN_THE_REVIEW = """
import faust.utils.cron as cron
cron.secs_for_next = lambda *_: 1.0
import crl_stream.worker.services as services
from crl_stream.errors import Unsafe
def page(*_):
    raise Unsafe("the review is broken", hint="fix it")
services.make_page = page
services.ReviewHours.has_come = lambda *_: True
"""


def patched(patch: str, *arguments: str) -> tuple[str, str]:
    return "-c", PATCHED.format(patch=patch, arguments=list(arguments))


def of_task(number: int, messages: list[Any]) -> list[Any]:
    """Return copies of the outcomes for another task."""
    named = {"task_type": f"task-{number}"}
    return [msgspec.structs.replace(i, invocation_id=f"{number}-{i.invocation_id}", **named) for i in messages]


async def test_a_standby_takes_over_however_long_it_had_nothing_to_do(kafka: str, tmp_path: Path) -> None:
    async with Installation(kafka, tmp_path, partitions=1) as installation:
        active = await installation.worker()
        standby = installation.start_worker(patched(AN_HOUR_WITHOUT_A_POLL))
        async with asyncio.timeout(30):
            while b"ready: partitions []" not in standby.log.read_bytes():
                await asyncio.sleep(0.1)
        await asyncio.sleep(3.0)  # long enough for several heartbeats, which must not find the fetcher idle
        active.kill()
        await installation.publish(*invocations("default", "S" * 5))
        await installation.settled(30)
        await standby.ready()


async def test_a_folder_that_cannot_be_written_stops_no_alert_and_is_caught_up_with(installation: Installation) -> None:
    channels = installation.folder / "channels.toml"
    channels.write_text('[notifiers.ops]\nkind = "file"\npath = "alerts.jsonl"\n')
    blocked = installation.folder / "telemetry" / "crl" / "variant_proposals.jsonl"
    monitor = await installation.worker(limits_snapshot_seconds="0")
    services = installation.start_worker(SERVICES, config=str(channels))
    await services.ready()
    blocked.unlink(missing_ok=True)
    blocked.mkdir()
    for number in range(3):
        await installation.publish(*of_task(number, invocations("default", "S" * 60 + "F" * 15, quality=0.3)))
    await installation.wait_for(PROPOSALS, m.Proposal)
    second = installation.start_worker(
        SERVICES, config=str(channels), telemetry_folder=str(installation.folder / "elsewhere")
    )
    await second.ready()
    second.kill()
    await installation.settled()
    await services_settled(installation)
    await assert_topics_equal_the_fold(installation)
    await assert_services_equal_the_fold(installation)
    alerts = {a.alert_id for a in await installation.messages(ALERTS)}
    assert alerts
    await told(installation.folder / "alerts.jsonl", "id", alerts)
    assert services.process.poll() is None, services.log.read_text()
    blocked.rmdir()
    proposals = {p.proposal_id for p in await installation.messages(PROPOSALS)}
    await told(blocked, "proposal_id", proposals, installation.folder / "elsewhere" / "variant_proposals.jsonl")
    for worker in (services, monitor):
        assert await worker.stop() == 0


async def told(file: Path, name: str, wanted: set[str], *more: Path) -> None:
    """Wait until the files have a line for each value in ``wanted``."""
    async with asyncio.timeout(60):
        while True:
            lines = [line for f in (file, *more) if f.is_file() for line in f.read_bytes().splitlines()]
            if wanted <= {json.loads(line)[name] for line in lines}:
                return
            await asyncio.sleep(0.1)


async def test_a_crash_of_one_member_ends_the_process_with_its_code_and_its_hint(installation: Installation) -> None:
    monitor = await installation.worker(limits_snapshot_seconds="0")
    worker = installation.start_worker(patched(A_BUG_IN_THE_REVIEW, "--role", "services"))
    await worker.ready()
    await installation.publish(*invocations("default", "S" * 60, quality=0.3))
    assert await asyncio.wait_for(asyncio.to_thread(worker.process.wait), 70) == 70
    text = worker.log.read_text()
    assert "overview crashed: the review is broken" in text
    assert "hint: fix it" in text
    assert await monitor.stop() == 0


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.6])
async def test_a_process_that_is_told_to_stop_while_it_starts_stops_at_once(
    installation: Installation, seconds: float
) -> None:
    worker: WorkerProcess = installation.start_worker(SERVICES)
    async with asyncio.timeout(30):
        while not worker_listens(worker):
            await asyncio.sleep(0.02)
    await asyncio.sleep(seconds)
    # Until the event loop handles the signal, `crl`'s own handler or the signal's default action ends the process.
    assert await asyncio.wait_for(worker.stop(), 8) in {0, 143, -signal.SIGTERM}, worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()


def worker_listens(worker: WorkerProcess) -> bool:
    """Return whether the process handles SIGTERM, according to its mask of caught signals."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="utf-8")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << 14)
