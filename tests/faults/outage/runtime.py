"""A runtime that continues through an outage: one invocation every 100 ms until SIGTERM, then a JSON report.

Its settings come from the environment, like those of any runtime.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time

from crl_stream.client import Client

PUBLISHED, FOLLOWED = ("runtime", "outcomes"), ("runtime", "followed")
"""The task whose outcomes the runtime publishes, and the one whose active variant it looks up."""
FLUSH_SECONDS = 60.0


class Lines(logging.Handler):
    """The program's log lines, each with its time."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[tuple[float, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((record.created, record.name, record.getMessage()))


def main() -> None:
    lines, stop = Lines(), threading.Event()
    logging.getLogger().addHandler(lines)
    logging.getLogger().setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ids: list[tuple[float, str]] = []
    states: list[tuple[float, dict[str, object]]] = []
    calls: list[float] = []
    with Client(exploration=0.0) as crl:
        crl.resolver.wait_until_ready(120.0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not stop.wait(0.1):
            began = time.perf_counter()
            with crl.invocation(*PUBLISHED, default="v1") as inv:
                pass
            calls.append(time.perf_counter() - began)
            ids.append((time.time(), inv.invocation_id))
            resolved, health = crl.resolver.resolve(*FOLLOWED), crl.health()
            state: dict[str, object] = {
                "connected": health.connected,
                "following": health.following,
                "waiting": health.queued > 2,
                "variant": resolved.variant_id if resolved else None,
                "source": resolved.source if resolved else None,
            }
            if not states or states[-1][1] != state:
                states.append((time.time(), state))
        crl.publisher.flush(FLUSH_SECONDS)
        health = crl.health()
    calls.sort()
    said = {
        "ids": ids,
        "states": states,
        "lines": lines.found,
        "health": health._asdict(),
        "longest_call_ms": 1_000.0 * calls[-1] if calls else 0.0,
        "p99_call_ms": 1_000.0 * calls[len(calls) * 99 // 100] if calls else 0.0,
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
