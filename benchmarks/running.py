"""Samples a contestant's CPU time and number of processed outcomes while it runs, then computes its figures."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import cpu_seconds, peak_megabytes
from crl_stream.errors import CrlError
from crl_stream.settings import Settings
from crl_stream.worker_views import ask

ASK_EVERY = 0.1
"""Seconds between two requests to our worker; each costs it about a millisecond."""
START_SECONDS = 60.0
"""Seconds within which a contestant must have processed an outcome; otherwise it has failed."""
WARM_FROM = 0.3
"""The share of the outcomes, at the start, that the figures for the warm part leave out."""


class Failed(Exception):
    """A measurement failed; the message says why."""


class Sample(NamedTuple):
    """A contestant's progress at a time on this machine's monotonic clock."""

    seconds: float
    count: int
    cpu: float


class Watch:
    """Samples of one or more processes on the same course; thread-safe because lists only grow."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.started = time.perf_counter()
        self.megabytes = 0.0

    @property
    def count(self) -> int:
        """The number of outcomes processed so far."""
        return self.samples[-1].count if self.samples else 0

    @property
    def first(self) -> Sample | None:
        """The first sample that shows that work has begun."""
        return next((sample for sample in self.samples if sample.count), None)

    def add(self, count: int, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Take a sample, as long as the processes are alive."""
        with suppress(OSError):
            cpu = sum(cpu_seconds(process.pid) for process in processes)
            self.megabytes = max(self.megabytes, sum(peak_megabytes(process.pid) for process in processes))
            self.samples.append(Sample(time.perf_counter(), count, cpu))


@contextlib.contextmanager
def started(
    command: list[str], environment: dict[str, Any], log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Watch]]:
    """A process that prints its count; its lines become samples."""
    watch = Watch()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment,
            start_new_session=True,
        )  # fmt: skip

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                watch.add(int(line), [process])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield process, watch
    finally:
        stop(process)
        reader.join(5.0)


@contextlib.contextmanager
def watched(
    settings: Sequence[Settings], processes: Sequence[subprocess.Popen[bytes]], *, beside: int
) -> Iterator[Watch]:
    """Our workers, polled for their counters; ``beside`` is the number of applied records that are not outcomes."""
    watch, over = Watch(), threading.Event()
    found = [0] * len(settings)

    def read() -> None:
        while not over.wait(ASK_EVERY):
            for number, given in enumerate(settings):
                with suppress(CrlError, KeyError):
                    found[number] = ask(given, "/api/worker")["counters"]["applied"]
            watch.add(max(0, sum(found) - beside), processes)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        over.set()
        reader.join(15.0)


def wait(watch: Watch, alive: Callable[[], bool], wanted: int, limit: float) -> bool:
    """Wait for ``wanted`` outcomes; return False if they take more than ``limit`` seconds after the first one."""
    while True:
        now, first = time.perf_counter(), watch.first
        if watch.count >= wanted:
            return True
        if not alive():
            raise Failed("it ended")
        if first is None and now - watch.started > START_SECONDS:
            raise Failed(f"it did not process an outcome within {START_SECONDS:.0f} s")
        if first is not None and now - first.seconds > limit:
            return False
        time.sleep(0.02)


def figures(watch: Watch, *, wanted: int, end: Sample | None = None) -> dict[str, float]:
    """Return the rates from the first to the last processed outcome, and those of the warm part of the run."""
    first = watch.first
    assert first is not None
    last = end or next((s for s in watch.samples if s.count >= wanted), watch.samples[-1])
    done = min(last.count, wanted)
    warm_from = first.count + WARM_FROM * (done - first.count)
    warm = next(s for s in watch.samples if s.count >= warm_from)
    return {
        "events": done,
        "seconds": last.seconds - first.seconds,
        "start_seconds": first.seconds - watch.started,
        "events_per_second": _ratio(done - first.count, last.seconds - first.seconds),
        "events_per_cpu_second": _ratio(done - first.count, last.cpu - first.cpu),
        "warm_events_per_second": _ratio(done - warm.count, last.seconds - warm.seconds),
        "warm_events_per_cpu_second": _ratio(done - warm.count, last.cpu - warm.cpu),
        "cores": _ratio(last.cpu - first.cpu, last.seconds - first.seconds),
        "peak_megabytes": watch.megabytes,
    }


def _ratio(of: float, to: float) -> float:
    return of / to if to > 0 else float("nan")


def stop(process: subprocess.Popen[bytes], seconds: float = 3.0) -> None:
    """End a process; kill a contestant that does not shut down cleanly, because its state is discarded."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
