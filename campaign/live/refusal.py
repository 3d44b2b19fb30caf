"""Run a worker that must refuse to work, and the shell commands that its hint names."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

from campaign.live.workers import Worker, WorkerEnded
from campaign.live.world import PATIENCE, ROOT, World


async def stop_all(world: World) -> int:
    """Stop every worker cleanly; return the number of workers."""
    workers = [*world.workers, *world.services]
    for worker in workers:
        worker.terminate()
    await asyncio.gather(*(worker.ended() for worker in workers))
    return len(workers)


async def refusal(world: World, worker: Worker | None = None) -> tuple[int, str]:
    """Start a worker that must refuse to work (or use a running one); return its exit code and its log.

    Raises ``RuntimeError`` if it becomes ready instead.
    """
    worker = worker or world.start_worker()
    with suppress(WorkerEnded, TimeoutError):
        await worker.ready(PATIENCE)
        # A worker may be ready before it is given the partition that it must not touch.
        await asyncio.wait_for(worker.ended(PATIENCE), PATIENCE)
    if worker.alive:
        raise RuntimeError(f"{worker.name} did not refuse: {worker.said()[-600:]}")
    return worker.process.returncode, worker.said()


def check_refusal(code: int, said: str, wanted: int, hint: str) -> None:
    """Raise ``RuntimeError`` unless the worker refused with the wanted exit code and the hint."""
    if code != wanted or "hint" not in said or hint not in said:
        raise RuntimeError(f"refused with {code} instead of {wanted}, or without {hint!r}: {said[-600:]}")
    if "Traceback" in said and wanted == CONTRACT:
        raise RuntimeError(f"refused with a traceback: {said[-600:]}")


UNSAFE, CONTRACT = 70, 78
"""Exit codes for a worker that could lose or duplicate events, and for topics that do not match the catalog."""


async def run_crl(world: World, *words: str) -> str:
    """Run ``crl`` on this installation; return its output.  Raises ``RuntimeError`` if it fails."""
    own = {
        "CRL_KAFKA_BOOTSTRAP_SERVERS": world.broker.bootstrap_servers,
        "CRL_KAFKA_TOPIC_PREFIX": world.kafka.topic_prefix,
        "CRL_KAFKA_PARTITIONS": str(world.partitions),
        "CRL_WORKER_APP_ID": world.app_id,
        "PYTHONPATH": str(ROOT),
        "XDG_DATA_HOME": str(world.folder),
    }
    callers = {name: value for name, value in os.environ.items() if not name.startswith("CRL_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crl_stream", *words),
        env=callers | own,
        cwd=world.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"crl {' '.join(words)} ended with {process.returncode}: {err.decode()[-600:]}")
    return out.decode()
