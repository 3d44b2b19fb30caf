"""``python -m benchmarks.detection``: what the engine's decisions gain and lose in worlds with a known truth."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.detection.figures import KINDS, figures, summary
from benchmarks.detection.loop import Loop, Result
from benchmarks.detection.report import table
from benchmarks.detection.worlds import WORLDS, World, recorded
from crl_stream.core.policy import Policy
from crl_stream.settings import load_settings

RESULTS = Path(__file__).parents[1] / "results"
FIXED = "2026"
"""The seed of a run without ``--fresh``; no number of the engine was chosen by it."""
_recorded: list[World] = []


def policy_of(text: str) -> Policy:
    """Return a policy: a profile, then settings, like ``production,rollback.confidence=0.5``; or ``never``.

    Raises ``ConfigError`` for a profile or a setting that does not exist.
    """
    name, *given = text.split(",")
    flags = {"profile": "guide" if name == "never" else name, "limits.snapshot_outcomes": "1000000"}
    if name == "never":
        flags["operations.mode"] = "observe"
    flags |= dict(setting.split("=", 1) for setting in given)
    return load_settings(environment={}, flags=flags).policies.default


def play(cell: tuple[str, str, str, int]) -> list[Result]:
    """Play ``count`` tasks of a world under a policy; a process of the pool calls it."""
    name, policy, seed, count = cell
    world = next(world for world in (*WORLDS, *_recorded) if world.name == name)
    rules = policy_of(policy)
    return [Loop(world, rules, f"{seed} {name} {number}").run() for number in range(count)]


def _load(path: Path | None) -> None:
    if path is not None:
        _recorded[:] = recorded(path)


def main(words: list[str] | None = None) -> int:
    """Play the worlds and print the figures."""
    options = _parser().parse_args(words)
    _load(options.outcomes)
    worlds = [world for world in (*WORLDS, *_recorded) if not options.kinds or world.kind in options.kinds]
    seed = secrets.token_hex(4) if options.fresh else options.seed
    cells = [(world.name, policy, seed, options.tasks) for world in worlds for policy in options.policies]
    for policy in options.policies:
        policy_of(policy)  # an unknown setting is reported before anything is played
    found: list[dict[str, Any]] = []
    by_name = {world.name: world for world in worlds}
    with ProcessPoolExecutor(options.processes, initializer=_load, initargs=(options.outcomes,)) as pool:
        for number, (cell, results) in enumerate(zip(cells, pool.map(play, cells), strict=True), start=1):
            name, policy, *_ = cell
            world = by_name[name]
            found.append({"world": name, "kind": world.kind, "policy": policy, "figures": figures(world, results)})
            _note(f"  {number} of {len(cells)}: {name}, {policy}")
    page = {"seed": seed, "tasks": options.tasks, "summary": summary(found), "cells": found}
    path = RESULTS / f"detection-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page, indent=1), encoding="utf-8")
    print(json.dumps(page, indent=1) if options.json else table(page, markdown=options.markdown))
    _note(f"seed {seed}, {options.tasks} tasks per cell; the figures are in {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--policies", nargs="+", default=["never", "guide", "production"], metavar="POLICY")
    parser.add_argument("--tasks", type=int, default=200, metavar="N", help="tasks per world and policy; default: 200")
    parser.add_argument("--seed", default=FIXED, help=f"default: {FIXED}")
    parser.add_argument("--fresh", action="store_true", help="use a new random seed, which is printed")
    parser.add_argument("--outcomes", type=Path, metavar="FILE", help="also play worlds drawn from a JSONL of outcomes")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
