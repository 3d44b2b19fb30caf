"""Compares the speed of the interpreted and the compiled pure stages, from input records to output bytes.

The builds take turns, each in its own process.  CPU time is measured, because other processes share the machine.  The
output is hashed, because both builds must produce the same bytes.
"""

from __future__ import annotations

import gc
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from benchmarks import compiled
from benchmarks.entrants import environment
from benchmarks.outcomes import START, runs
from benchmarks.running import Failed
from benchmarks.stack import note
from crl_stream.core.instant import to_text
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.fold import Folded
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.wire.codec import encode

BATCH = 2_000
"""Number of records in a batch, as when a worker catches up."""
PER_SECOND = 12_500
"""Records per second of log time in a partition."""
SHAPES = {1: (2_500, 60_000, 30_000), 5: (500, 30_000, 40_000), 20: (125, 20_000, 40_000)}
"""For each number of consecutive outcomes per task: the number of tasks, the number of records that fill all windows,
and the number of records that are measured.
"""
_PROGRAM = "from benchmarks.builds import main; main()"


class Stored(NamedTuple):
    """One record of the log."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[()] = ()


def run(*, repeats: int) -> dict[str, Any]:
    """For each entry of ``SHAPES``, return the microseconds per event of both builds and the speedup from compiling."""
    if reason := compiled.prepare():
        note(f"  MISSING: {reason}")
        return {"missing": reason}
    rounds = [(_figures(_interpreted()), _figures(compiled.program(_PROGRAM))) for _ in range(repeats)]
    return {"compiled": _compare(rounds)}


def _interpreted() -> list[str]:
    return [sys.executable, "-c", _PROGRAM]


def _figures(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise Failed(done.stderr[-1_500:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _compare(rounds: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for length in SHAPES:
        pairs = [(slow[str(length)], fast[str(length)]) for slow, fast in rounds]
        if len({each["bytes"] for pair in pairs for each in pair}) != 1:
            raise Failed(
                f"the builds give different output for the same records (consecutive outcomes of a task: {length})"
            )
        shape = f"consecutive outcomes of a task: {length}"
        found[shape] = {
            "us per event, interpreted": _spread([slow["us"] for slow, _ in pairs]),
            "us per event, compiled": _spread([fast["us"] for _, fast in pairs]),
            "ratio": _spread([slow["us"] / fast["us"] for slow, fast in pairs]),
        }
        note(f"  {shape}: {found[shape]['ratio']['median']:.2f} x")
    return found


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


# -- runs in the process that is measured ----------------------------------------------------------------
def main() -> None:
    """Print the CPU time that one build needs per event, and a hash of its output."""
    print(json.dumps({length: measure(length, *shape) for length, shape in SHAPES.items()}))


def measure(length: int, tasks: int, warm: int, count: int) -> dict[str, Any]:
    """Fold ``warm`` records, then ``count`` more with the clock running."""
    records, digest, spent = list(_records(length, tasks, warm + count)), hashlib.sha256(), 0.0
    rows: dict[bytes, bytes] = {}
    key = partition_key(0)
    gc.collect()
    gc.freeze()
    for first in range(0, warm + count, BATCH):
        started = time.process_time()
        folded = fold_batch(0, 1, rows.get(key), rows, decode_batch(records[first : first + BATCH]), {})
        if first >= warm:
            spent += time.process_time() - started
        rows |= folded.rows
        rows[key] = folded.partition_row
        _hash(digest, folded)
    gc.unfreeze()
    return {"us": spent / count * 1e6, "bytes": digest.hexdigest()}


def _records(length: int, tasks: int, count: int) -> Iterator[Stored]:
    for number, (key, message) in enumerate(runs(count, tasks, length)):
        time_ = START + number * 1_000 // PER_SECOND
        yield Stored(number, time_, key.encode(), encode(replace(message, timestamp=to_text(time_))))


def _hash(digest: Any, folded: Folded) -> None:
    for output in folded.outputs:
        digest.update(repr(tuple(output)).encode())
    for row in folded.rows.items():
        digest.update(repr(row).encode())
    digest.update(folded.partition_row + repr(tuple(folded.counts)).encode())


if __name__ == "__main__":
    main()
