"""Measures how fast a worker reads its rows back: rows per second, from the start of the process until it is ready.

The changelog is filled with rows like those of the engine.  Each template row is the fold of 30 outcomes by the
monitor's own stage.  The row codec encodes it under many task names.  Every partition of the log holds one real
outcome, and its partition row is the fold of that outcome.  So the worker finds a log that matches its state.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from benchmarks.outcomes import START, TICK, outcome
from benchmarks.stack import Stack, installation, note, worker
from crl_stream.cli.processes import log_file
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import decode_row, encode_row
from crl_stream.kafka.reader import TopicReader
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.monitor import fold_batch
from crl_stream.stages.partition import partition_key
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import murmur2
from crl_stream.wire.records import Record
from crl_stream.wire.topics import INVOCATIONS, Topics

ROWS = 100_000
OUTCOMES = 30
"""Number of outcomes per task, spread over three variants."""
TEMPLATES = 64
BATCH_BYTES = 900_000
PATIENCE = 600.0
READY = re.compile(r"^(\S+ \S+) INFO \S+: ready: ")
RECOVERED = re.compile(r"(\d+) changelog records recovered in ([0-9.]+) s")


class _Stored(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class _Start(NamedTuple):
    """The result of one start of the worker."""

    ready: float
    """Seconds from the start of the process."""
    restoring: float
    """Seconds spent reading the changelog; 0 if there was nothing to read."""
    records: int
    resident: float
    peak: float
    """Peak memory in megabytes."""


def run(bootstrap_servers: str, rows: int = ROWS) -> dict[str, Any]:
    """Start a worker on an empty changelog, fill the changelog, and start a worker on the full one."""
    with installation(bootstrap_servers) as stack:
        empty = _start(stack)
        note(f"recovery: {rows:,} rows of {OUTCOMES} outcomes each")
        size = asyncio.run(_fill(stack, rows))
        full = _start(stack)
        on_disk = {}
        if find_spec("rocksdict") is not None:
            stack.session.flags["worker.store"] = "rocksdb"
            note("recovery: the same rows into RocksDB, then a restart with them on disk")
            first, again = _start(stack), _start(stack)
            on_disk = {
                "rocksdb, seconds from start to ready, nothing on disk": first.ready,
                "rocksdb, seconds from start to ready, all on disk": again.ready,
                "rocksdb, changelog records read with all on disk": again.records,
                "rocksdb, resident memory, MB": again.resident,
                "rocksdb, peak memory, MB": max(first.peak, again.peak),
            }
    return {
        f"{rows:,} rows of {size:,.0f} bytes": {
            "seconds from start to ready, empty": empty.ready,
            "seconds from start to ready": full.ready,
            "seconds of reading the changelog": full.restoring,
            "rows per second, reading": rows / full.restoring,
            "rows per second, start to ready": rows / full.ready,
            "resident memory, MB": full.resident,
            "peak memory, MB": full.peak,
            "resident bytes per row beyond an empty worker": (full.resident - empty.resident) * 1e6 / rows,
            **on_disk,
        },
        "goal": "1,000,000 rows in 60 s or less: --rows 1000000",
    }


def _templates() -> list[bytes]:
    found = []
    for number in range(TEMPLATES):
        key = TaskKey("template", f"number-{number}")
        records: list[Record] = [
            _Stored(at, START + at * TICK, key.encode(), encode(outcome(key, number * OUTCOMES + at)))
            for at in range(OUTCOMES)
        ]
        folded = fold_batch(0, 1, None, {}, decode_batch(records), {})
        found.append(folded.rows[key.encode()])
    return found


def _rows(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and rows of ``count`` tasks."""
    templates = [decode_row(data) for data in _templates()]
    for number in range(count):
        row = templates[number % TEMPLATES]
        row.agent_name, row.task_type = f"agent-{number % 1_000}", f"task-{number}"
        yield row.key.encode(), encode_row(row)


async def _fill(stack: Stack, rows: int) -> float:
    """Write rows and partition rows to the changelog; return the mean size of a row in bytes."""
    kafka = stack.settings.kafka
    topic = Topics(kafka.topic_prefix).changelog(stack.settings.worker.app_id)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_batch_size=BATCH_BYTES)
    await producer.start()
    builders = {partition: producer.create_batch() for partition in range(kafka.partitions)}
    waiting: set[Any] = set()

    async def send(partition: int) -> None:
        waiting.add(await producer.send_batch(builders[partition], topic, partition=partition))
        builders[partition] = producer.create_batch()
        if len(waiting) > 2 * kafka.partitions:
            done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            waiting.clear()
            waiting.update(left)
            for future in done:
                future.result()

    try:
        size = 0
        for number, (key, row) in enumerate(_rows(rows)):
            size += len(row)
            home = (murmur2(key) & 0x7FFFFFFF) % kafka.partitions
            if builders[home].append(timestamp=None, key=key, value=row) is None:
                await send(home)
                builders[home].append(timestamp=None, key=key, value=row)
            if number % 100_000 == 99_999:
                note(f"recovery: {number + 1:,} rows written")
        for partition in builders:
            await send(partition)
        await asyncio.gather(*waiting)
        for partition in range(kafka.partitions):
            key = TaskKey("first", f"of-{partition}").encode()
            value = encode(outcome(TaskKey.decode(key), 0))
            await producer.send_and_wait(Topics(kafka.topic_prefix)(INVOCATIONS), value, key=key, partition=partition)
        for received in await TopicReader(kafka).read(INVOCATIONS):
            partition = received.record.partition
            folded = fold_batch(partition, kafka.partitions, None, {}, decode_batch([received.record]), {})
            await producer.send_and_wait(topic, folded.partition_row, key=partition_key(partition), partition=partition)
    finally:
        await producer.stop()
    return size / rows


def _start(stack: Stack) -> _Start:
    """Start a worker, wait until it reports that it is ready, and stop it."""
    path = log_file(stack.settings, "monitor")
    path.unlink(missing_ok=True)
    began = time.time()
    with worker(stack, wait=False) as process:
        ready = _wait(path, process)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        resident, peak = (int(status[name].split()[0]) * 1_024 / 1e6 for name in ("VmRSS", "VmHWM"))
    found = [(int(records), float(seconds)) for records, seconds in RECOVERED.findall(path.read_text(encoding="utf-8"))]
    return _Start(ready - began, sum(s for _, s in found), sum(r for r, _ in found), resident, peak)


def _wait(path: Path, process: subprocess.Popen[bytes]) -> float:
    """Return the time, in seconds since the epoch, at which the worker's log says it was ready."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            if found := READY.match(line):
                return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
        if process.poll() is not None:
            raise SystemExit(f"the worker ended with code {process.returncode}:\n" + "\n".join(lines[-30:]))
        time.sleep(0.05)
    raise SystemExit(f"the worker was not ready within {PATIENCE:.0f} s")
