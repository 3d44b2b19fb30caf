"""The outage matrix: what each process reports during a Kafka outage, when it recovers, and what is lost.

    PYTHONPATH=.:tests .venv/bin/python tests/faults/outage/matrix.py [NAME ...]

It runs two scenes at a time, takes 15 to 30 minutes on two cores, and prints Markdown tables.

Each scene has its own broker.  A worker and the services run under a supervisor that restarts them when they end, as
Kubernetes does.  Meanwhile, a runtime publishes ten outcomes a second and follows a rollback, and an operator runs
commands.  ``crl up`` has separate scenes.  At the end, every accepted outcome must be on the topic exactly once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faults.outage import scene as of
from faults.outage.scene import Scene, Seen, Step
from faults.outage.supervisor import FAULTS, UpSeen, run_up

AT_ONCE = 2


class Outage(NamedTuple):
    """The event that the broker goes through in a scene."""

    begin: Step
    end: Step
    seconds: float
    embedded_runtime: bool = False
    """Whether the runtime is given no address and has to find the embedded broker."""


OUTAGES: dict[str, Outage] = {
    "stopped for 120 s": Outage(of.stop, of.start, 120.0),
    "stopped for 60 s": Outage(of.stop, of.start, 60.0),
    "stopped for 35 s": Outage(of.stop, of.start, 35.0),
    "stopped for 25 s": Outage(of.stop, of.start, 25.0),
    "stopped for 5 s": Outage(of.stop, of.start, 5.0),
    "killed, back after 10 s": Outage(of.kill, of.start, 10.0),
    "paused for 35 s": Outage(of.pause, of.go_on, 35.0),
    "paused for 5 s": Outage(of.pause, of.go_on, 5.0),
    "moved to another port": Outage(of.stop, of.start_elsewhere, 15.0, embedded_runtime=True),
    "returned without its data": Outage(of.lose_data, of.start_empty, 10.0),
}
PROCESSES = (
    "Kafka",
    "findings of `/readyz`",
    "not ready after (worker, services)",
    "recovered after",
    "exit codes",
    "library log lines (worker, services)",
    "outcomes counted, of those in the log",
)
RUNTIME = (
    "Kafka",
    "runtime's log",
    "runtime's health during the outage",
    "publishes again after",
    "rollback followed after",
    "accepted / on the topic / exactly once",
    "p99 / longest call",
)
COMMANDS = (
    "Kafka",
    "`crl status --check`",
    "`crl publish -f`, started during the outage",
    "on the topic exactly once",
    "messages of `crl tail`",
    "outcomes shown by `crl tail`",
)
UP = (
    "fault",
    "messages of `crl up`",
    "`crl status --check` passes after",
    "library log lines",
    "runtime's health during the fault",
    "publishes again after",
    "rollback followed after",
    "accepted / on the topic / exactly once",
    "stopped by Ctrl-C in",
)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    tell(f"\n## {title}\n")
    tell("| " + " | ".join(columns) + " |")
    tell("|" + "---|" * len(columns))
    for row in rows:
        tell("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")


async def measure_load(loads: list[float]) -> None:
    while True:
        loads.append(os.getloadavg()[0])
        await asyncio.sleep(5.0)


async def in_folder(run: Callable[[Path], Awaitable[Any]], name: str, turn: asyncio.Semaphore) -> Any:
    """Run a scene in a temporary folder and return its result, or its error; a failed scene keeps its folder."""
    async with turn:
        folder, began = Path(tempfile.mkdtemp(prefix="crl-outage-")), time.monotonic()
        try:
            seen = await run(folder)
        except Exception as error:
            sys.stderr.write(f"{name} FAILED ({folder})\n{''.join(traceback.format_exception(error))}\n")
            return error
        shutil.rmtree(folder, ignore_errors=True)
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n{seen}\n")
        return seen


async def scene_of(folder: Path, outage: Outage) -> Seen:
    scene = Scene(folder)
    scene.embedded_runtime = outage.embedded_runtime
    return await scene.run(outage.begin, outage.end, outage.seconds)


async def main(wanted: list[str]) -> None:
    def is_wanted(name: str) -> bool:
        return not wanted or any(word in name for word in wanted)

    logging.getLogger().addHandler(logging.NullHandler())  # aiokafka's messages about its retries do not matter here
    turn, loads, began = asyncio.Semaphore(AT_ONCE), list[float](), time.monotonic()
    measuring = asyncio.create_task(measure_load(loads))
    outages = [name for name in OUTAGES if is_wanted(name)]
    faults = [name for name in FAULTS if is_wanted(name)]
    scenes = [in_folder(lambda f, n=name: scene_of(f, OUTAGES[n]), name, turn) for name in outages]  # type: ignore[misc]
    ups = [in_folder(lambda f, n=name: run_up(f, FAULTS[n]), name, turn) for name in faults]  # type: ignore[misc]
    found = await asyncio.gather(*scenes, *ups)
    measuring.cancel()
    seen = {name: one for name, one in zip(outages, found, strict=False) if isinstance(one, Seen)}
    told = {name: one for name, one in zip(faults, found[len(outages) :], strict=True) if isinstance(one, UpSeen)}
    tell(
        f"{len(seen) + len(told)} of {len(found)} scenes in {(time.monotonic() - began) / 60:.0f} min, "
        f"{AT_ONCE} at a time, {os.cpu_count()} cores, load {min(loads):.0f} to {max(loads):.0f}"
    )
    table("Worker and services", PROCESSES, ([name, *one.processes] for name, one in seen.items()))
    table("A runtime: Publisher and Resolver", RUNTIME, ([name, *one.runtime] for name, one in seen.items()))
    table("The command line", COMMANDS, ([name, *one.commands] for name, one in seen.items()))
    table("`crl up`", UP, ([name, *one] for name, one in told.items()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
