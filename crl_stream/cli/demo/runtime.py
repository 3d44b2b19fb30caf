"""One agent runtime of the demo: a process that asks the Resolver for a variant, works, and publishes the outcome.

Only the agent's work is simulated. The quality of an answer depends only on the variant, until the demo sends a
line on stdin that makes a variant worse, as an update by a model's provider might. Each invocation is reported as a
line of JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from typing import Any, Final

from crl_stream.client import Client
from crl_stream.settings import load_settings

SECONDS: Final = 0.25
"""Duration of one simulated invocation, in seconds."""
OTHERWISE: Final = 0.5
"""Answer quality of variants that ``--quality`` does not list."""


class Agent:
    """Simulates the work of an agent."""

    def __init__(self, qualities: dict[str, float]) -> None:
        self.qualities = qualities
        self.broken: set[str] = set()

    def work(self, variant_id: str) -> tuple[str, float]:
        """Return (status, quality) of one answer."""
        time.sleep(SECONDS)
        if variant_id in self.broken:
            return "failure", 0.1
        return "success", self.qualities.get(variant_id, OTHERWISE)


def main() -> int:
    """Run until stdin ends or a line on it says stop."""
    parser = argparse.ArgumentParser(prog="python -m crl_stream.cli.demo.runtime", description=__doc__)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--name", required=True, help="runtime_id")
    parser.add_argument("--number", type=int, required=True, help="number of this runtime in the fleet, from 0")
    parser.add_argument("--default", required=True, help="the variant to use until the active variant is known")
    parser.add_argument("--quality", action="append", default=[], metavar="VARIANT=QUALITY", help="of its answers")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    settings = load_settings(flags=dict(entry.split("=", 1) for entry in options.settings))
    qualities = dict(entry.rsplit("=", 1) for entry in options.quality)
    agent, stop = Agent({name: float(value) for name, value in qualities.items()}), threading.Event()
    listener = threading.Thread(target=_listen, args=(agent, stop), daemon=True)
    listener.start()
    with Client(settings, runtime_id=options.name) as crl:
        crl.resolver._rng = random.Random(options.number)  # noqa: SLF001 - makes the demo's exploration the same each time
        # Real runtimes do not work in lockstep.
        stop.wait(SECONDS * options.number / 3)
        while not stop.is_set():
            started = time.time()
            with crl.invocation(options.agent, options.task, default=options.default) as inv:
                inv.status, inv.quality = agent.work(inv.variant_id)  # type: ignore[assignment]
            _report(
                runtime=options.name,
                started=started,
                invocation_id=inv.invocation_id,
                variant_id=inv.variant_id,
                epoch=inv.epoch,
                source=inv.source,
                status=inv.status,
            )
    _report(runtime=options.name, stats=crl.publisher.stats._asdict())
    return 0


def _listen(agent: Agent, stop: threading.Event) -> None:
    for line in sys.stdin:
        word, _, variant_id = line.strip().partition(" ")
        if word == "break":
            agent.broken.add(variant_id)
        elif word == "repair":
            agent.broken.discard(variant_id)
        else:
            break
    stop.set()


def _report(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
