"""``python -m campaign.controls``: runs the campaign's faults against the controls, and prints a table."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from campaign.controls.recount import Recount
from campaign.controls.rig import Control, Rig
from campaign.live.brokers import Broker

HERE: Final = Path(__file__).parent
WORKERS: Final = 2


def _faust_key(key: bytes) -> str | None:
    found = json.loads(key)
    return found if isinstance(found, str) else None


def _quix_key(key: bytes) -> str | None:
    name, separator, item = key.partition(b"|")
    return name.decode() if separator and item == b'"n"' else None


CONTROLS: Final = (
    Control(
        "faust",
        "stock Faust, at least once",
        HERE / "stock_faust.py",
        False,
        "{name}-counts-changelog",
        _faust_key,
        True,
    ),
    Control(
        "quix",
        "Quix Streams, exactly once",
        HERE / "quix.py",
        True,
        "changelog__{name}--{name}-events--default",
        _quix_key,
        False,
    ),
)


@dataclass
class Line:
    """The figures of one control under one type of fault: a line of the table."""

    control: str
    fault: str
    times: int = 0
    rounds: int = 0
    recount: Recount = field(default_factory=Recount)
    ended: int = 0
    """Number of workers that ended on their own and were restarted."""
    stuck: int = 0
    """Number of times that progress stopped until all workers were killed and restarted."""
    recovery: list[float] = field(default_factory=list)
    """Seconds from each fault until 300 further outputs had arrived."""
    complaint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as ``--json`` prints them."""
        return asdict(self)


Fault = Callable[[Rig, Broker], Awaitable[None]]


async def _kill(rig: Rig, _: Broker) -> None:
    victim = rig.rng.choice(rig.workers)
    rig.expect_end(victim)
    victim.kill()
    victim.wait()


async def _stop(rig: Rig, _: Broker) -> None:
    victim = rig.rng.choice(rig.workers)
    rig.expect_end(victim)
    victim.terminate()
    try:
        await asyncio.to_thread(victim.wait, 30)
    except subprocess.TimeoutExpired:
        victim.kill()
        victim.wait()


async def _bounce(rig: Rig, broker: Broker) -> None:
    await (broker.kill if rig.rng.random() < 0.5 else broker.stop)()
    await asyncio.sleep(5.0)
    await broker.start()


async def _rebalance(rig: Rig, broker: Broker) -> None:
    if len(rig.workers) < 4 and rig.rng.random() < 0.5:
        rig.start_worker()
    elif len(rig.workers) > 1:
        await _stop(rig, broker)


FAULTS: Final[dict[str, tuple[str, Fault, int, int]]] = {
    "F1": ("kill -9", _kill, 200, 20),
    "F2": ("graceful stop", _stop, 50, 10),
    "F4": ("broker bounce", _bounce, 20, 5),
    "F5": ("rebalance", _rebalance, 30, 10),
}
"""The faults by id: title, function, number of faults in the whole campaign, and number in one round."""


async def run_round(
    control: Control, fault: str, times: int, python: str, broker: Broker, line: Line, seed: int
) -> None:
    """Play one round of one control: new topics, ``times`` faults, a recount."""
    rng = random.Random(seed)
    name = f"{control.name}{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="crl-control-") as folder:
        async with Rig(control, python, broker.bootstrap_servers, name, Path(folder), rng) as rig:
            try:
                rig.attend(WORKERS)
                await rig.start_load()
                await rig.progress(WORKERS)
                for _ in range(times):
                    await asyncio.sleep(rng.uniform(0.2, 2.0))
                    await FAULTS[fault][1](rig, broker)
                    wanted = 1 if fault == "F5" else WORKERS
                    line.recovery.append(round(await rig.progress(wanted), 2))
                    line.times += 1
                    note(f"{control.title}, {FAULTS[fault][0]}: {line.times}")
                line.recount.add(await rig.finish(WORKERS))
                line.rounds += 1
            except TimeoutError as error:
                line.complaint = str(error)
            line.ended += len(rig.ended)
            line.stuck += rig.stuck


async def run(arguments: argparse.Namespace) -> list[Line]:
    """Run every chosen control and fault on one broker."""
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="crl-controls-") as folder:
        async with Broker(Path(folder) / "kafka") as broker:
            for control in CONTROLS:
                for fault, (title, _, total, per_round) in FAULTS.items():
                    if arguments.only and not {control.name, fault} & set(arguments.only):
                        continue
                    line = Line(control.title, f"{fault} {title}")
                    lines.append(line)
                    left = max(1, round(total * arguments.share))
                    for number in range(0, left, per_round):
                        times = min(per_round, left - number)
                        seed = arguments.seed + number
                        await run_round(control, fault, times, arguments.python, broker, line, seed)
                    note(f"{line.control}, {line.fault}: {line.recount}")
    return lines


def table(lines: list[Line]) -> str:
    """Format the figures as a readable table."""
    heads = (
        "control",
        "fault",
        "times",
        "events",
        "lost",
        "doubled",
        "silent",
        "repeated",
        "lag",
        "ended",
        "stuck",
        "p50",
        "p95",
    )
    rows: list[tuple[str, ...]] = [heads]
    for line in lines:
        r, ordered = line.recount, sorted(line.recovery) or [0.0]
        middle, high = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        figures = (line.times, r.events, r.lost, r.doubled, r.silent, r.repeated, r.lag, line.ended, line.stuck)
        rows.append((line.control, line.fault, *map(str, figures), f"{middle:.1f} s", f"{high:.1f} s"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    shown = [
        "  ".join(
            f"{cell:<{w}}" if n < 2 else f"{cell:>{w}}" for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(shown + [f"{line.control}, {line.fault}: {line.complaint}" for line in lines if line.complaint])


def note(text: str) -> None:
    """Print progress to stderr, away from the figures."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the controls and faults that the command line selects."""
    parser = argparse.ArgumentParser(prog="python -m campaign.controls", description=__doc__)
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter of an environment with requirements/bench.txt"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the whole campaign's faults to induce, e.g. 0.1"
    )
    parser.add_argument("--only", nargs="*", default=[], help="controls (faust, quix) or faults (F1, F2, F4, F5)")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--json", action="store_true", help="figures for programs")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    lines = asyncio.run(run(arguments))
    print(json.dumps([line.as_dict() for line in lines], indent=1) if arguments.json else table(lines))
    note(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
