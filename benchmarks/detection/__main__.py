"""``python -m benchmarks.detection``: measures what decisions gain and lose in worlds with known truth."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from benchmarks.detection.contestants import (
    POLICIES,
    USUAL_RIVALS,
    Contestant,
    borrow_river,
    contestant_of,
    needing_river,
    parameters,
)
from benchmarks.detection.cost import cost
from benchmarks.detection.document import document
from benchmarks.detection.figures import KINDS, figures, summary
from benchmarks.detection.loop import Loop, Result
from benchmarks.detection.report import markdown, text
from benchmarks.detection.worlds import WORLDS, World, recorded
from benchmarks.environment import installed_version, prepare, why_missing
from benchmarks.machine import describe
from crl_stream.core.version import ENGINE_VERSION
from crl_stream.errors import CrlError, UsageError

RESULTS = Path(__file__).parents[1] / "results"
FIXED = "2026"
"""The seed of a run without ``--fresh``; none of the engine's constants was tuned with it."""
COST = "cost"
"""The name of the section that measures only the cost and plays no world."""
SECTIONS = (*KINDS, COST)
_recorded: list[World] = []


def play(cell: tuple[str, str, str, int]) -> list[Result]:
    """Play ``count`` tasks of a world with a contestant; a process of the pool calls it.

    All contestants of a world get the same random draws, so they differ only in their decisions.
    """
    name, who, seed, count = cell
    world = next(world for world in (*WORLDS, *_recorded) if world.name == name)
    make = contestant_of(who).make
    return [Loop(world, make(), f"{seed} {name} {number}").run() for number in range(count)]


def main(words: list[str] | None = None) -> int:
    """Play the worlds and print the figures; return 2 if the options are not valid, 130 if a person stopped it."""
    parser = _parser()
    options = parser.parse_args(words)
    try:
        page = _read(options.show) if options.show else _measure(options)
    except CrlError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        _note("stopped; nothing was kept")
        return 130
    if not options.show:
        path = RESULTS / f"detection-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(page, indent=1), encoding="utf-8")
        _note(f"seed {page['seed']}, {page['tasks']} tasks per cell; the figures are in {path}")
    print(json.dumps(page, indent=1) if options.json else markdown(page) if options.markdown else text(page))
    return 0 if not options.document or document(page) else 1


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    try:
        _load(options.outcomes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "each line needs task_type, variant_id and status"
        raise UsageError(f"{options.outcomes} is not a JSONL file of outcomes: {error!r}", hint=hint) from None
    sections = options.sections or SECTIONS
    if unknown := set(sections) - set(SECTIONS):
        raise UsageError(f"there is no section {min(unknown)}", hint=f"choose from {', '.join(SECTIONS)}")
    if options.tasks < 1:
        raise UsageError(f"{options.tasks} tasks cannot be played", hint="--tasks must be at least 1")
    worlds = [world for world in (*WORLDS, *_recorded) if world.kind in sections]
    names = list(dict.fromkeys([*options.policies, *options.rivals]))
    missing = _missing(names)
    contestants = [contestant_of(name) for name in names if name not in missing]
    page = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {name: found for name, found in describe().items() if name in {"cpu", "cores", "python"}},
        "engine": ENGINE_VERSION,
        "river": installed_version("river"),
        "seed": secrets.token_hex(4) if options.fresh else options.seed,
        "tasks": options.tasks,
        "contestants": parameters(names, missing),
        "missing": missing,
    }
    if COST in sections and contestants:
        _note("cost: all contestants take turns")
        page["cost"] = cost(contestants)
    cells = list(_play(worlds, contestants, page["seed"], options))
    return page | {"summary": summary(cells), "cells": cells}


def _read(path: Path) -> dict[str, Any]:
    try:
        page: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        markdown(page)
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"runs are kept in {RESULTS}"
        raise UsageError(f"{path} does not contain the figures of a run: {error!r}", hint=hint) from None
    return page


def _missing(names: Sequence[str]) -> dict[str, str]:
    """Return the contestants that cannot run, with the reasons; first install river if a contestant needs it."""
    needing = needing_river(names)
    if not needing or (not prepare() and borrow_river()):
        return {}
    return dict.fromkeys(needing, why_missing("river"))


def _play(
    worlds: Sequence[World], contestants: Sequence[Contestant], seed: str, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Play every world with every contestant, and report the progress."""
    cells = [(world, who) for world in worlds for who in contestants]
    work = [world.outcomes for world, _ in cells]
    done, started, said = 0, time.monotonic(), time.monotonic()
    with Pool(options.processes, initializer=_begin, initargs=(options.outcomes,)) as pool:
        played = pool.imap(play, [(world.name, who.name, seed, options.tasks) for world, who in cells])
        for (world, who), outcomes, results in zip(cells, work, played, strict=True):
            yield {"world": world.name, "kind": world.kind, "contestant": who.name, "figures": figures(world, results)}
            done += outcomes
            if (now := time.monotonic()) - said >= 5:
                said = now
                left = (now - started) * (sum(work) - done) / done
                _note(f"  {done / sum(work):.0%}: {world.name}; about {left / 60:.1f} min left")


def _begin(outcomes: Path | None) -> None:
    """Set up a worker process of the pool to ignore Ctrl-C, which only the parent handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    borrow_river()
    _load(outcomes)


def _load(path: Path | None) -> None:
    if path is not None:
        _recorded[:] = recorded(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection",
        description=__doc__,
        epilog="A policy is a profile with settings: production,rollback.confidence=1.2.  A rival has settings too: "
        "adwin,delta=0.1, sequential,expected=5000, evidence,degradation.false_alarm_budget=50000.",
    )
    option = parser.add_argument
    option("sections", nargs="*", metavar="SECTION", help=f"default: all of {', '.join(SECTIONS)}")
    option("--policies", nargs="*", default=POLICIES, metavar="POLICY", help=f"default: {' '.join(POLICIES)}")
    rivals = f"--rivals alone plays none; default: {' '.join(USUAL_RIVALS)}"
    option("--rivals", nargs="*", default=USUAL_RIVALS, metavar="RIVAL", help=rivals)
    option("--tasks", type=int, default=100, metavar="N", help="tasks per world and contestant; default: 100")
    option("--seed", default=FIXED, help=f"default: {FIXED}")
    option("--fresh", action="store_true", help="use a new random seed, which is printed")
    option("--outcomes", type=Path, metavar="FILE", help="also play worlds drawn from a JSONL of outcomes")
    option("--processes", type=int, default=os.cpu_count(), metavar="N", help="default: one per core")
    option("--show", type=Path, metavar="FILE", help="measure nothing; show the figures of an earlier run")
    option("--markdown", action="store_true", help="print the tables as Markdown")
    option("--json", action="store_true", help="print JSON instead of tables")
    option("--document", action="store_true", help="then update docs/detection.md, its plots and its JSON")
    return parser


def _note(text_: str) -> None:
    print(text_, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
