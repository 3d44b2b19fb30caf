"""A runtime and the publishing of a file during an outage, and what happened to their outcomes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from builders import an_invocation
from client.silent_kafka import an_active_variant

from crl_stream.core.identity import TaskKey
from crl_stream.errors import CrlError
from crl_stream.kafka.reader import TopicReader
from crl_stream.settings.model import Kafka
from crl_stream.wire.codec import encode
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS, Topics
from faults.outage.runtime import FOLLOWED

PROGRAM = Path(__file__).with_name("runtime.py")
LIBRARY_LINE = re.compile(r" (INFO|WARNING|ERROR) (aiokafka|faust|mode|kafka|asyncio)\b")
PATIENCE = 150.0


class Lived(NamedTuple):
    """What a runtime reports about an outage from ``began`` to ``back``."""

    said: str
    meanwhile: str
    connected: str
    followed: str
    accepted: str
    call: str


class Runtime:
    """A runtime in a separate process."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._errors = (folder / "runtime.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.page: dict[str, Any] = {}

    async def ready(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.to_thread(self.process.stdout.readline) == b"ready\n"

    async def finish(self) -> dict[str, Any]:
        """Stop the runtime and return its report."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.to_thread(self.process.communicate)
        self.page = json.loads(out)
        return self.page

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._errors.close()

    def lived(
        self, began: float, back: float, stated: float, variant: str, there: Counter[str], *, since: float
    ) -> Lived:
        """Summarise the report; ``there`` counts the ids on the topic, and ``variant`` became active at ``stated``.

        Only outcomes accepted after ``since`` are checked: a broker that loses its data loses earlier ones as well.
        """
        page = self.page
        lines = [text for at, name, text in page["lines"] if began <= at and name.startswith("crl_stream")]
        others = [text for at, name, text in page["lines"] if began <= at and not name.startswith("crl_stream")]
        kinds = dict.fromkeys(map(kind_of, lines))
        said = f"{len(lines)} lines: {' / '.join(kinds)}" if lines else "nothing"
        said += f"; {len(others)} library log lines" if others else ""
        during = [state for at, state in page["states"] if began <= at <= back]
        sources = dict.fromkeys(state["source"] for state in during)
        heard = "connected = false" if any(not state["connected"] for state in during) else "connected = true"
        followed = first(page["states"], lambda state: state["variant"] == variant, stated)
        connected = last(page["states"], lambda state: state["connected"] and not state["waiting"])
        accepted = [one for at, one in page["ids"] if at > since]
        health = page["health"]
        once = sum(there[one] == 1 for one in accepted)
        told = f"{len(accepted)} / {sum(one in there for one in accepted)} / {once}"
        told += f", dropped {health['dropped']}, rejected {health['rejected']}"
        return Lived(
            said,
            f"{heard}, source {', '.join(map(str, sources)) or 'live'}",
            seconds(connected, back),
            f"{seconds(followed, stated)} (written {stated - back:.1f} s after the outage)",
            told,
            f"{page['p99_call_ms']:.1f} / {page['longest_call_ms']:.1f} ms",
        )


def kind_of(line: str) -> str:
    """Strip from a line the parts that change from one occurrence to the next."""
    line = re.sub(r" \(\d+ (more )?times[^)]*\)", "", line)
    line = re.sub(r"\d+(\.\d+){3}:\d+", "ADDRESS", line)
    line = re.sub(r"(?<![\w:/])/[\w./-]*\w", "FOLDER", line)
    line = re.sub(r"\bt[0-9a-f]{10}\.", "", line)
    return re.sub(r"(?<![\d.])\d+(\.\d+)? s\b", "N s", line)


def first(states: Iterable[tuple[float, dict[str, Any]]], true: Any, since: float) -> float | None:
    """Return the first time, at or after ``since``, at which a state held."""
    found = None
    for at, state in states:
        if at <= since:
            found = since if true(state) else None
        elif found is None and true(state):
            return float(at)
    return found


def last(states: Iterable[tuple[float, dict[str, Any]]], true: Any) -> float | None:
    """Return the time since which a state has held, or None if it does not hold at the end."""
    since = None
    for at, state in states:
        if not true(state):
            since = None
        elif since is None:
            since = at
    return since


def seconds(at: float | None, since: float) -> str:
    return "never" if at is None else f"{max(0.0, at - since):.1f} s"


async def state_active_variant(kafka: Kafka, epoch: int) -> str:
    """Write an active variant, as the monitor would after a rollback, and return its id."""
    variant = f"variant-{epoch}"
    message = an_active_variant(agent_name=FOLLOWED[0], task_type=FOLLOWED[1], epoch=epoch, variant_id=variant)
    await write(kafka, ACTIVE_VARIANTS, [(TaskKey(*FOLLOWED).encode(), encode(message))])
    return variant


async def write(kafka: Kafka, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Append records and wait for each acknowledgement; keeps trying while a returning broker is not ready."""
    until = time.monotonic() + PATIENCE
    while True:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", enable_idempotence=True)
        try:
            await producer.start()
            break
        except KafkaError:
            await producer.stop()
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)
    try:
        for key, value in records:
            place = partition_of(key, kafka.partitions)
            await producer.send_and_wait(Topics(kafka.topic_prefix)(topic), value, key=key, partition=place)
    finally:
        await producer.stop()


async def ids_on_the_log(kafka: Kafka) -> Counter[str]:
    """Count how often each invocation_id is in the log."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            found = await TopicReader(kafka).read(INVOCATIONS)
            return Counter(one.message.invocation_id for one in found if hasattr(one.message, "invocation_id"))
        except CrlError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)


def outcome_file(folder: Path, count: int) -> tuple[Path, list[str]]:
    """Write a file of outcomes for ``crl publish -f``; returns its path and their ids."""
    messages = [an_invocation(agent_name="file", task_type="published") for _ in range(count)]
    path = folder / "outcomes.jsonl"
    path.write_bytes(b"".join(encode(message) + b"\n" for message in messages))
    return path, [message.invocation_id for message in messages]


def lines_of_libraries(logs: Iterable[Path]) -> int:
    """Count the lines of aiokafka, Faust, mode and asyncio in these logs."""
    return sum(len(LIBRARY_LINE.findall(log.read_text(errors="replace"))) for log in logs)
