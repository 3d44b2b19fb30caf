"""Measures the costs that the guide states for its API, and the size in bytes of a telemetry line and a Q-table."""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.outcomes import VARIANTS, outcome
from crl_stream.core.identity import TaskKey
from crl_stream.core.messages import Invocation
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.guide.variant_proposer import VariantProposer

TASKS = 10
"""Number of task types per agent, each with three variants, as in the guide's typical installation."""
PER_VARIANT = 60
ENTRIES = 10_000
REPEATS = 2_000
INVOCATION_SECONDS = 1.0


def run() -> dict[str, Any]:
    """Return the median of each cost, named with the guide's limit."""
    store = Store(None)
    keys = [TaskKey("backend-architect", f"api-design-{number}") for number in range(TASKS)]
    for key in keys:
        for number in range(PER_VARIANT * len(VARIANTS)):
            store.record(outcome(key, number))
    monitor, manager, proposer = SafetyMonitor(store=store), RollbackManager(store=store), VariantProposer(store=store)
    key = keys[0]
    record = iter([outcome(key, 1_000 + number) for number in range(REPEATS)])
    gc.collect()
    gc.freeze()
    check = _median(lambda: monitor.should_auto_apply_variant(*key, VARIANTS[1]))
    detection = _median(lambda: monitor.check_performance_degradation(*key, VARIANTS[1]))
    fold = _median(lambda: store.record(next(record)))
    passing = _median(lambda: [manager.monitor_and_rollback(*each) for each in store.get_active_variants()], 50)
    analysis = _median(proposer.analyze_and_propose, 20)
    gc.unfreeze()
    return {
        "safety check, us (guide: < 1,000)": check * 1e6,
        "degradation detection, us (guide: 5,000 to 10,000)": detection * 1e6,
        "both, millionths of an invocation of 1 s (guide: < 10,000)": (check + detection) / INVOCATION_SECONDS * 1e6,
        "record: learn, judge and decide, millionths of an invocation of 1 s": fold / INVOCATION_SECONDS * 1e6,
        f"monitoring pass of an agent with {TASKS} tasks, ms (guide: 1,000 to 2,000)": passing * 1e3,
        f"proposal generation of an agent with {TASKS} tasks, ms (guide: 5,000 to 10,000)": analysis * 1e3,
        f"Q-table of {ENTRIES:,} entries, MB (guide: ~1)": _table() / 1e6,
        **_lines(),
    }


def _table() -> float:
    """Return the bytes of the Q-table alone; the section ``rows`` also counts windows, lifetimes and evidence."""
    store = Store(None)
    for number in range(ENTRIES // len(VARIANTS) + 1):
        for at in range(len(VARIANTS)):
            store.record(outcome(TaskKey("backend-architect", f"api-design-{number}"), at))
    table = QLearningEngine(store=store).get_all_q_values()
    size = sys.getsizeof(table) + sum(sys.getsizeof(key) + sys.getsizeof(q) for key, q in table.items())
    return size / len(table) * ENTRIES


def _lines() -> dict[str, float]:
    """Return the bytes per line of each telemetry file, for a rollback and a proposal that really happened."""
    with tempfile.TemporaryDirectory() as name, Store(Path(name)) as store:
        _fall(store)
        VariantProposer(store=store).analyze_and_propose()
        files = {path.name: path.read_bytes().splitlines(keepends=True) for path in Path(name).glob("*.jsonl")}
    sizes = {name: statistics.fmean(map(len, lines)) for name, lines in files.items() if lines}
    return {
        "bytes per line of rollback_events.jsonl (guide: ~1 KB)": sizes["rollback_events.jsonl"],
        "bytes per line of variant_proposals.jsonl (guide: ~2 KB)": sizes["variant_proposals.jsonl"],
    }


def _fall(store: Store) -> None:
    """Let a good variant fail until it is rolled back to a mediocre one."""
    key = TaskKey("backend-architect", "api-design")
    fields: list[dict[str, Any]] = [{"variant_id": "api-baseline", "variant_source": "explore", "reward": 0.4}] * 60
    fields += [{"variant_id": "api-optimized", "status": "success", "reward": 0.9}] * 60
    fields += [{"variant_id": "api-optimized", "status": "failure", "reward": -0.9}] * 10
    for number, given in enumerate(fields):
        one: Invocation = outcome(key, number, **({"active_epoch": None} | given))
        store.record(one)


def _median(function: Callable[[], Any], times: int = REPEATS) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
