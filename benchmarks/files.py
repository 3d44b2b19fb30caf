"""Measures ``crl replay`` of a long file: CPU time and memory, compared with the bare engine on the same records."""

from __future__ import annotations

import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.outcomes import outcomes
from crl_stream.cli.outcome_file import OutcomeFile
from crl_stream.core.instant import from_text
from crl_stream.stages.driver import Stored
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.wire.codec import encode

TASKS = 100
BATCH = 4_000


def run(count: int, repeats: int) -> dict[str, Any]:
    """Replay a file of ``count`` outcomes, plain and compressed, and fold its records with the bare engine."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "outcomes.jsonl"
        with plain.open("wb") as file:
            for _, message in outcomes(count, TASKS):
                file.write(encode(message) + b"\n")
        packed = plain.with_suffix(".jsonl.gz")
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target)
        megabytes = plain.stat().st_size / 1e6
        runs = {
            name: [_replay(path, options) for _ in range(repeats)]
            for name, path, options in (
                ("crl replay", plain, ()),
                ("crl replay of .gz", packed, ()),
                ("crl replay --order-by-time", plain, ("--order-by-time",)),
            )
        }
        bare = [_bare(plain) for _ in range(repeats)]
    floor = statistics.median(bare)
    figures: dict[str, Any] = {"megabytes of the file": megabytes, "bare engine, CPU seconds": floor}
    for name, found in runs.items():
        seconds = statistics.median(cpu for cpu, _ in found)
        figures |= {
            f"{name}, CPU seconds": seconds,
            f"{name}, MB of memory at most": max(memory for _, memory in found),
            f"ratio {name} / bare engine": seconds / floor,
        }
    return {
        f"{count:,} outcomes of {TASKS} tasks": figures,
        "goal": "memory that does not grow with the file, and most of the time spent in the engine",
    }


def _replay(file: Path, options: tuple[str, ...]) -> tuple[float, float]:
    """Return CPU seconds and peak memory in megabytes of one process."""
    command = [sys.executable, "-m", "crl_stream", "replay", str(file), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"crl replay ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1_024


def _bare(file: Path) -> float:
    """Return CPU seconds for decoding and folding records that are already in memory, without the proposer."""
    with OutcomeFile(file, "crl replay -") as source:
        records = [
            Stored(number, from_text(outcome.message.timestamp), outcome.key, outcome.value)
            for number, outcome in enumerate(source.outcomes())
        ]
    rows: dict[bytes, bytes] = {}
    started = time.process_time()
    for first in range(0, len(records), BATCH):
        entries = decode_batch(records[first : first + BATCH])
        folded = fold_batch(0, 1, rows.get(partition_key(0)), rows, entries, {})
        rows |= folded.rows
        rows[partition_key(0)] = folded.partition_row
    return time.process_time() - started
