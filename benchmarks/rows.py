"""Bytes of state: per variant in the row, and of a whole worker's memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

from benchmarks.outcomes import START, TICK, VARIANTS, outcome
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor import Context, step
from crl_stream.core.policy import Policy
from crl_stream.core.row import encode_row, new_row

PER_VARIANT = 60
"""Outcomes of each variant: its window is full, and so is everything that is bounded by a number of outcomes."""
ENTRIES = (1_500, 10_000)
"""Variants in memory; three to a task."""


def run() -> dict[str, Any]:
    """Each size in a process of its own, so that nothing else is counted."""
    found: dict[str, Any] = {}
    for entries in ENTRIES:
        command = [sys.executable, "-m", "benchmarks.rows", str(entries)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        row, memory, naive = (float(word) for word in printed)
        found[f"{entries:,} variants"] = {
            "bytes per variant in the row": row,
            "bytes per variant in memory": memory,
            "bytes per variant in memory, naive monitor": naive,
            "ratio naive / row in memory": naive / memory,
        }
    return found


def measure(entries: int) -> tuple[float, float, float]:
    """Bytes per variant: of the row, of a table of rows in memory, of the naive monitor."""
    from benchmarks.naive import NaiveMonitor

    rows: dict[bytes, bytes] = {}
    before = _resident()
    for number in range(entries // len(VARIANTS)):
        key, row = TaskKey("backend-architect", f"api-design-{number}"), None
        row = new_row(key)
        for offset in range(PER_VARIANT * len(VARIANTS)):
            step(row, outcome(key, offset), Context(0, offset, START + offset * TICK, 0, "0"), Policy())
        rows[key.encode()] = encode_row(row)
    gc.collect()
    memory = (_resident() - before) / entries
    size = sum(map(len, rows.values())) / entries
    before = _resident()
    naive = NaiveMonitor()
    for number in range(entries // len(VARIANTS)):
        key = TaskKey("backend-architect", f"api-design-{number}")
        for offset in range(PER_VARIANT * len(VARIANTS)):
            naive.step(outcome(key, offset))
    gc.collect()
    return size, memory, (_resident() - before) / entries


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    print(*measure(int(sys.argv[1])))
