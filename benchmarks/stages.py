"""Shows where the time of our worker goes, from py-spy's samples of a worker that is catching up.

A sample counts towards the stage of its innermost frame that belongs to one, otherwise towards "other".
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.course import course
from benchmarks.environment import FOLDER
from benchmarks.race import TURN
from benchmarks.running import Failed, wait, watched
from benchmarks.stack import delete_topics, installation, note, worker

SECONDS: Final = 4
PER_SECOND: Final = 250

STAGES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("waiting", ("select (selectors", "wait (threading")),
    ("snapshots", ("task_snapshot (", "active_variant (", "variant_catalogue (")),
    ("decode records", ("decode_batch (",)),
    ("rows: decode and encode", ("decode_row (", "encode_row (", "encode_partition (", "decode_partition (")),
    ("encode outputs", ("encode (crl_stream/wire/runtime_codec", "dead_letter (")),
    ("fold: window, detectors, Q, decisions", ("step (crl_stream/core",)),
    ("fold: around the step", ("fold_batch (", "record_hash (")),
    ("send rows", ("write (crl_stream/worker/table",)),
    ("send outputs", ("publish (crl_stream/worker/stages",)),
    (
        "send: record batches",
        ("write (crl_stream/worker/transport/producer", "(aiokafka/producer", "(aiokafka/record/default_records"),
    ),
    ("poll", ("_getmany (", "(aiokafka/consumer")),
    ("connection", ("(aiokafka/conn", "(aiokafka/client", "(aiokafka/protocol")),
    ("lanes", ("(crl_stream/worker",)),
    ("Faust", ("(faust/", "(mode/")),
    ("event loop", ("(asyncio/",)),
)
"""The stages in order, matched from the innermost frame outwards; the first match takes the sample."""


class Stacks(Counter[str]):
    """Samples by stage."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> Stacks:
        """Read py-spy's raw form: frames separated by semicolons, outermost first, then the number of samples."""
        found = cls()
        for line in lines:
            frames, _, count = line.rstrip().rpartition(" ")
            if count.isdigit():
                found[stage_of(frames.split(";"))] += int(count)
        return found

    def shares(self) -> dict[str, float]:
        """Map each stage to its share of all samples, without those of waiting threads, largest first."""
        total = self.total() - self["waiting"]
        return {name: count / total for name, count in self.most_common() if name != "waiting"}


def stage_of(frames: list[str]) -> str:
    """Return the stage of one stack, outermost frame first."""
    for frame in reversed(frames):
        for name, marks in STAGES:
            if any(mark in frame for mark in marks):
                return name
    return "other"


def run(bootstrap_servers: str, *, events: int, lengths: Iterable[int] = (1, 5)) -> dict[str, Any]:
    """Return a profile for each number of events per touched row."""
    return {f"{length} per row": _profile(bootstrap_servers, events, length) for length in lengths}


def _profile(bootstrap_servers: str, events: int, length: int) -> dict[str, Any]:
    """Return each stage's share of the worker's busy time, and the share of the time that the worker was busy."""
    spy = FOLDER / "bin" / "py-spy"
    if not spy.exists():
        return {"missing": "py-spy is not installed in .venv-bench"}
    name = f"r{uuid.uuid4().hex[:8]}"
    with course(bootstrap_servers, events, TURN // length, length, check=False) as filled:
        prefix = filled.settings.kafka.topic_prefix
        with (
            tempfile.TemporaryDirectory() as folder,
            installation(bootstrap_servers, filled.flags, prefix=prefix, app_id=name) as stack,
            worker(stack, wait=False) as process,
            watched([stack.settings], [process], beside=filled.settings.kafka.partitions) as watch,
        ):
            wait(watch, lambda: process.poll() is None, events // 6, 60.0)
            raw = Path(folder, "stacks.txt")
            command = [str(spy), "record", "--pid", str(process.pid), "--format", "raw", "--output", str(raw)]
            command += ["--rate", str(PER_SECOND), "--duration", str(SECONDS), "--nonblocking"]
            before, started = watch.samples[-1], time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not raw.exists():
                return {"missing": f"py-spy is not allowed to inspect a process here: {done.stderr.strip()[-300:]}"}
            seconds, after = time.perf_counter() - started, watch.samples[-1]
            if watch.count >= events:
                raise Failed(f"the worker finished before the profile's {SECONDS} s were over")
            stacks = Stacks.of(raw.read_text(encoding="utf-8").splitlines())
        delete_topics(bootstrap_servers, prefix)
    shares = stacks.shares()
    note(f"  {length} per row: " + ", ".join(f"{stage} {share:.0%}" for stage, share in list(shares.items())[:6]))
    return {
        "samples": stacks.total(),
        "seconds": seconds,
        "events_per_second": (after.count - before.count) / (after.seconds - before.seconds),
        "busy": (after.cpu - before.cpu) / (after.seconds - before.seconds),
        "shares": shares,
    }
