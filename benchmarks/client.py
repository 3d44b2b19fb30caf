"""Measures the client's cost for publishing a file, compared with bare producers, and its cost while Kafka is down."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.environment import ROOT
from benchmarks.outcomes import outcomes
from benchmarks.stack import installation, note
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import INVOCATIONS, Topics

TASKS: Final = 200
SENDERS: Final = {"ours": "Publisher", "aiokafka": "bare aiokafka", "confluent": "confluent-kafka"}
NOWHERE: Final = "127.0.0.1:1"
"""An address where nothing listens."""
GOAL: Final = (
    "at most 50 us of CPU per message and 2 x bare aiokafka; without Kafka, at most 50 ms to enter, 1 ms added to a "
    "call at p99, and 2 s to close"
)


def run(bootstrap_servers: str, *, messages: int, repeats: int) -> dict[str, Any]:
    """Run both comparisons; every run has its own process, and the contestants take turns in each round."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.jsonl"
        file.write_bytes(b"".join(encode(message) + b"\n" for _, message in outcomes(messages, TASKS)))
        sent: dict[str, list[dict[str, float]]] = {name: [] for name in SENDERS}
        with installation(bootstrap_servers) as stack:
            prefix = stack.settings.kafka.topic_prefix
            for number in range(repeats):
                note(f"client: round {number + 1} of {repeats}")
                for name, runs in sent.items():
                    where = [bootstrap_servers, Topics(prefix)(INVOCATIONS), prefix]
                    runs.append(_measured(folder, name, str(file), *where))
        agents = {
            name: [_measured(folder, "agent", client) for _ in range(repeats)]
            for name, client in (("with the client", "yes"), ("without", "no"))
        }
    return {
        f"{messages:,} messages of one file, {TASKS} tasks": _compared(sent),
        "an agent while Kafka is unreachable": {
            name: {what: _spread([run[what] for run in runs]) for what in runs[0]} for name, runs in agents.items()
        },
        "goal": GOAL,
    }


def _measured(folder: str, *words: str) -> dict[str, float]:
    """Return the figures of one run, and the lines that the run wrote to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.client_runs", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("CRL_")}
        | {"XDG_CACHE_HOME": folder, "CRL_BOOTSTRAP_SERVERS": NOWHERE},
    )
    found: dict[str, float] = json.loads(done.stdout)
    if words[0] == "agent":
        found["log lines"] = float(len(done.stderr.splitlines()))
    return found


def _compared(sent: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        title: {what: _spread([run[what] for run in sent[name]]) for what in sent[name][0]}
        for name, title in SENDERS.items()
    }
    for other in ("aiokafka", "confluent"):
        pairs = list(zip(sent["ours"], sent[other], strict=True))
        found[f"Publisher / {SENDERS[other]}"] = {
            what: _spread([ours[what] / theirs[what] for ours, theirs in pairs]) for what in sent[other][0]
        }
    return found


def _spread(figures: list[float]) -> dict[str, float]:
    return {"min": min(figures), "median": statistics.median(figures), "max": max(figures)}
