"""The contestants of the race: how each is started, and how its snapshots are read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import compiled
from benchmarks.environment import bench_python, installed_version, why_missing
from benchmarks.oracle import Summary
from benchmarks.stack import note
from crl_stream.broker.jars import KAFKA_VERSION, fetch
from crl_stream.broker.java import OLDEST, find_java
from crl_stream.cli.processes import CRL
from crl_stream.errors import BrokerError
from crl_stream.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).with_name("contestants")
JAVA_HEAP_MB = 512


class Missing(Exception):
    """A contestant cannot run here; the message says why."""


class Entrant(NamedTuple):
    """One contestant."""

    name: str
    title: str
    command: Callable[[], list[str]]
    """Return the start of the contestant's command line, before the arguments that ``Course`` reads.

    Raises ``Missing`` if the contestant cannot run here.
    """
    summarize: Callable[[bytes], tuple[tuple[str, int], Summary]]
    """Return the key of a snapshot (the task and its number of outcomes), and its contents."""
    shares_topics: bool = False
    """Whether the contestant writes to the product's topics instead of an output topic of its own."""
    describe: Callable[[], str] = lambda: ""
    """Return the contestant's version and the settings that matter."""


def of_job(value: bytes) -> tuple[tuple[str, int], Summary]:
    """Read a snapshot of the equivalent job."""
    page = json.loads(value)
    rows = sorted(page["variants"].items())
    return (page["task"], page["n"]), tuple(
        (name, row["n"], row["window"], round(row["success_rate"] * row["window"])) for name, row in rows
    )


def of_ours(value: bytes) -> tuple[tuple[str, int], Summary]:
    """Read one of our snapshots."""
    page = json.loads(value)
    task, windows = f"{page['agent_name']}/{page['task_type']}", [(v, v["window"]) for v in page["variants"]]
    rows = ((v["variant_id"], v["n_visits"], len(w["outcomes"]), w["outcomes"].count("S")) for v, w in windows)
    return (task, page["n_outcomes"]), tuple(sorted(rows))


def _here(module: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-m", f"benchmarks.contestants.{module}"]


def _with(library: str, module: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        python = bench_python()
        if python is None or installed_version(library) is None:
            raise Missing(why_missing(library))
        return [str(python), "-m", f"benchmarks.contestants.{module}"]

    return command


@cache
def _classes() -> tempfile.TemporaryDirectory[str]:
    """The folder of the compiled job; it exists until this program ends."""
    return tempfile.TemporaryDirectory(prefix="crl-bench-java-")


@cache
def _java_classes() -> tuple[Path, str]:
    """Return the Java runtime and the class path of the job; compile the job once per run."""
    javac = shutil.which("javac", path=_java_path())
    if javac is None:
        raise Missing("there is no JDK: no javac in JAVA_HOME or on the PATH")
    cache_dir = load_settings(environment={}).client.cache_dir
    try:
        java = find_java()
        jars = fetch(cache_dir)
        pins, what = FOLDER / "kafka_streams" / "jars.txt", f"Kafka Streams {KAFKA_VERSION} (77 MB, once)"
        jars = [*jars, *fetch(cache_dir, lambda text, done, of: note(f"{text}: {done} of {of}"), path=pins, what=what)]
    except BrokerError as error:
        raise Missing(f"{error.message} {error.hint or ''}") from error
    classes = _classes().name
    class_path = os.pathsep.join(map(str, jars))
    source = FOLDER / "kafka_streams" / "EquivalentJob.java"
    done = subprocess.run(
        [javac, "--release", str(OLDEST), "-d", classes, "-cp", class_path, source],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Missing(f"javac refused {source.name}: {done.stderr[-400:]}")
    return java.path, os.pathsep.join([classes, class_path])


def _java_path() -> str:
    home = os.environ.get("JAVA_HOME")
    return os.pathsep.join([*([f"{home}/bin"] if home else []), os.environ.get("PATH", "")])


def _kafka_streams() -> list[str]:
    java, class_path = _java_classes()
    return [str(java), f"-Xmx{JAVA_HEAP_MB}m", "-cp", class_path, "EquivalentJob"]


def _compiled() -> list[str]:
    if reason := compiled.prepare():
        raise Missing(reason)
    return compiled.program("from crl_stream.cli import main; main()")


OURS, COMPILED = "ours", "compiled"
"""Both builds of the product, which run its own command."""
ENTRANTS: dict[str, Entrant] = {
    entrant.name: entrant
    for entrant in (
        Entrant(OURS, "crl-stream, the whole job", lambda: list(CRL), of_ours, shares_topics=True,
                describe=lambda: f"Faust {version('faust-streaming')} under our transport, `crl worker`, defaults"),
        Entrant(COMPILED, "crl-stream compiled, the whole job", _compiled, of_ours, shares_topics=True,
                describe=lambda: f"the same, its hot modules compiled by mypyc {version('mypy')}"),
        Entrant("bare", "the same job bare on aiokafka", _here("bare"), of_ours, shares_topics=True,
                describe=lambda: f"aiokafka {version('aiokafka')}, idempotent, acks=all"),
        Entrant("quix", "Quix Streams, windows and counts", _with("quixstreams", "quix"), of_job,
                describe=lambda: f"{installed_version('quixstreams')}, at least once, RocksDB, changelog, defaults"),
        Entrant("kafka_streams", "Kafka Streams, windows and counts", _kafka_streams, of_job,
                describe=lambda: f"{KAFKA_VERSION}, at least once, 1 thread, RocksDB with cache, changelog, "
                                 f"defaults, -Xmx{JAVA_HEAP_MB}m"),
        Entrant("bytewax", "Bytewax, windows and counts", _with("bytewax", "bytewax_job"), of_job,
                describe=lambda: f"{installed_version('bytewax')}, 1 worker, recovery store on disk"),
        Entrant("faust", "stock Faust, windows and counts", _here("stock_faust"), of_job,
                describe=lambda: f"{version('faust-streaming')}, at least once, memory table, changelog, defaults"),
    )
}  # fmt: skip


def summary_of(entrant: Entrant, value: bytes | None) -> tuple[tuple[str, int], Summary] | None:
    """Read a record from the output topic; return None if it is not a snapshot."""
    if value is None:
        return None
    try:
        return entrant.summarize(value)
    except (KeyError, ValueError, TypeError):
        return None


def environment() -> dict[str, Any]:
    """Return the environment of a contestant's process, with this checkout first on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
