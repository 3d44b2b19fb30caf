"""Times ``crl dashboard`` and ``crl status`` on an installation with 10,000 tasks, each in a new, cold process."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.outcomes import outcomes
from benchmarks.stack import Stack, installation, note
from crl_stream.cli.processes import running
from crl_stream.client.publisher import Publisher, utc_now
from crl_stream.core.messages import Overview
from crl_stream.kafka.reader import TopicReader
from crl_stream.wire.topics import OVERVIEW

TASKS = 10_000
ROUNDS = 3
"""Outcomes per task."""
SHOWN = 2
"""Number of variants in the last snapshot of each task; that snapshot is published after the task's second outcome."""
REPEATS = 5
PATIENCE = 300.0
"""Seconds within which the overview must have every task."""


def run(bootstrap_servers: str) -> dict[str, Any]:
    """Fill the log, wait until the overview has every task, then run the commands as a person would."""
    with installation(bootstrap_servers) as stack:
        note(f"console: {ROUNDS} outcomes for each of {TASKS:,} tasks")
        with running(stack.session, stack.settings, quiet=True):
            started = time.perf_counter()
            _fill(stack)
            page = _wait(stack)
            settled = time.perf_counter() - started
            python = _time(stack, None)
            figures = {name: _time(stack, name) for name in ("dashboard", "status")}
    yardstick = statistics.median(python)
    return {
        f"{page.tasks:,} tasks, {page.q_table_entries:,} entries": {
            "seconds from the first outcome to the overview of all": settled,
            **{f"crl {name}, seconds": _spread(times) for name, times in figures.items()},
            "python -c pass, seconds, the yardstick": _spread(python),
            **{f"ratio crl {name} / yardstick": statistics.median(t) / yardstick for name, t in figures.items()},
        },
        "goal": "under 2 s cold",
    }


def _fill(stack: Stack) -> None:
    with Publisher(stack.settings) as publisher:
        for number, (_, message) in enumerate(outcomes(TASKS * ROUNDS, TASKS, timestamp=utc_now()), start=1):
            publisher.publish(message)
            if number % 5_000 == 0:
                publisher.flush(60.0)


def _wait(stack: Stack) -> Overview:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        pages = [r.message for r in asyncio.run(TopicReader(stack.settings.kafka).read(OVERVIEW)) if r.message]
        if pages and pages[-1].tasks == TASKS and pages[-1].q_table_entries >= SHOWN * TASKS:
            page: Overview = pages[-1]
            return page
        time.sleep(0.5)
    raise SystemExit(f"the overview did not have all {TASKS:,} tasks within {PATIENCE:.0f} s")


def _time(stack: Stack, command: str | None) -> list[float]:
    """Return how many seconds each run of the command took; without a command, time only the start of Python."""
    words = [sys.executable, "-c", "pass"]
    if command is not None:
        words = [sys.executable, "-m", "crl_stream"]
        for name, value in stack.session.flags.items():
            words += ["--set", f"{name}={value}"]
        words += ["--set", f"kafka.bootstrap_servers={stack.settings.kafka.bootstrap_servers}"]
        words += ["--set", f"worker.web_port={stack.settings.worker.web_port}", command]
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return times


def _spread(times: list[float]) -> dict[str, float]:
    return {"min": min(times), "median": statistics.median(times), "max": max(times)}
