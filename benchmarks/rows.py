"""Bytes of state per variant: in the row, and in a table of rows in memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

from benchmarks.outcomes import START, TICK, VARIANTS, outcome
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import TaskRow, decode_row, encode_row, new_row
from crl_stream.core.monitor.step import Context, step
from crl_stream.core.policy import Policy

PER_VARIANT = 60
"""Number of outcomes per variant: enough to fill its window and everything else that has a limited length."""
ENTRIES = (10_000, 100_000)
"""Numbers of variants in memory, with three per task."""
TEMPLATES = 64
"""Number of tasks that are folded; every row in memory is a copy of one of their rows under a different name."""
NAIVE_ENTRIES = 3_000


def run() -> dict[str, Any]:
    """Measure each number of variants in its own process, so that no other memory is counted."""
    found: dict[str, Any] = {}
    for entries in ENTRIES:
        row, memory = _measured("table", entries)
        found[f"{entries:,} variants"] = {"bytes per variant in the row": row, "bytes per variant in memory": memory}
    naive, memory = (
        _measured("naive", NAIVE_ENTRIES)[0],
        found[f"{ENTRIES[-1]:,} variants"]["bytes per variant in memory"],
    )
    return found | {
        "bytes per variant in memory, naive monitor": naive,
        "ratio of bytes: naive monitor / row in memory": naive / memory,
        "goal": "1,500 bytes in memory or less for a variant with its 20 outcomes",
    }


def _measured(what: str, entries: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.rows", what, str(entries)]
    return [float(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def measure_table(entries: int) -> tuple[float, float]:
    """Return bytes per variant: in the row, and in the worker's table of rows with its keys."""
    from crl_stream.worker.stores import Last, MemoryRows

    store, last = MemoryRows(), Last(0, None, None)
    store.open(0)
    templates = [_fold(TaskKey("template", f"number-{number}")) for number in range(TEMPLATES)]
    gc.collect()
    before = _resident()
    for number in range(entries // len(VARIANTS)):
        row = templates[number % TEMPLATES]
        row.agent_name, row.task_type = "backend-architect", f"api-design-{number}"
        store.write(0, {row.key.encode(): encode_row(row)}, last, set())
    # Then replace each row in key order, as batches do in a running worker.
    for key, data in store.items(0):
        store.write(0, {key: encode_row(decode_row(data))}, last, set())
    gc.collect()
    memory = (_resident() - before) / entries
    return sum(map(len, store.rows(0).values())) / entries, memory


def measure_naive(entries: int) -> tuple[float]:
    """Return bytes per variant of the naive monitor."""
    from benchmarks.naive import NaiveMonitor

    before = _resident()
    naive = NaiveMonitor()
    for number in range(entries // len(VARIANTS)):
        key = TaskKey("backend-architect", f"api-design-{number}")
        for offset in range(PER_VARIANT * len(VARIANTS)):
            naive.step(outcome(key, offset))
    gc.collect()
    return ((_resident() - before) / entries,)


def _fold(key: TaskKey) -> TaskRow:
    row = new_row(key)
    for offset in range(PER_VARIANT * len(VARIANTS)):
        step(row, outcome(key, offset), Context(0, offset, START + offset * TICK, 0, "0"), Policy())
    return row


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    print(*{"table": measure_table, "naive": measure_naive}[sys.argv[1]](int(sys.argv[2])))
