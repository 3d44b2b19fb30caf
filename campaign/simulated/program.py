"""The commands ``simulate [--seeds N] [--first N] [--json]`` and ``mutants [--seeds N] [--first N] [--json]``."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from campaign.quietly import quietly
from campaign.simulated.figures import Figures, table
from campaign.simulated.mutants import ENOUGH, MUTANTS, first_caught
from campaign.simulated.simulation import run_seed

EVERY: float = 5.0
"""Seconds between two progress lines."""


def add_sections(sections: Any) -> None:
    """Add the commands to the parser of ``python -m campaign``."""
    simulate = sections.add_parser("simulate", help="simulate crashes, stalls, rereads and reordering in memory")
    simulate.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many; default: %(default)s")
    simulate.set_defaults(run=lambda options: _simulate(options.first, options.seeds, as_json=options.json))
    mutants = sections.add_parser("mutants", help="remove one guard at a time, in memory")
    mutants.add_argument("--seeds", type=int, default=ENOUGH, metavar="N", help="at most; default: %(default)s")
    mutants.set_defaults(run=lambda options: _take_away(options.first, options.seeds, as_json=options.json))
    for section in (simulate, mutants):
        section.add_argument("--first", type=int, default=0, metavar="N", help="the first seed; default: 0")
        section.add_argument("--json", action="store_true", help="print JSON")


def _simulate(first: int, seeds: int, *, as_json: bool) -> int:
    started = said = time.perf_counter()
    total, failure, seed = Figures(), None, first
    try:
        for seed in range(first, first + seeds):
            figures = _play(seed)
            total.add(figures)
            if not figures.is_exact and failure is None:
                failure = {"seed": seed, "complaints": figures.complaints[:10]}
                _note(f"seed {seed}: {figures.complaints[0]}")
            if (now := time.perf_counter()) - said >= EVERY:
                said = now
                _note(f"seed {seed}: {total.seeds:,} of {seeds:,}, {total.seeds / (now - started):.1f} seeds/s")
    except KeyboardInterrupt:
        _note(f"stopped; continue with --first {first + total.seeds} --seeds {seeds - total.seeds}")
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps(total.as_dict() | {"seconds": seconds, "first_failure": failure}, indent=2))
    else:
        print(table(total, seconds))
        _say_failure(failure)
    return 0 if failure is None and total.seeds == seeds else 1


def _without_warnings() -> Any:
    # Do not log late writes: the simulation causes them on purpose.
    return quietly("crl_stream", logging.ERROR)


def _play(seed: int) -> Figures:
    try:
        with _without_warnings():
            return run_seed(seed).examine()
    except Exception as error:
        return Figures(seeds=1, complaints=[f"{type(error).__name__}: {error}"])


def _say_failure(failure: dict[str, Any] | None) -> None:
    if failure is None:
        print("every seed was exact")
        return
    print(f"first failing seed: {failure['seed']}")
    for complaint in failure["complaints"]:
        print(f"  {complaint}")
    print(f"to repeat it: python -m campaign simulate --first {failure['seed']} --seeds 1")


def _take_away(first: int, seeds: int, *, as_json: bool) -> int:
    caught: dict[str, Any] = {}
    for guard in MUTANTS:
        _note(f"without the {guard} ...")
        with _without_warnings():
            found = first_caught(guard, first=first, seeds=seeds)
        caught[guard] = None if found is None else {"seed": found[0], "complaint": found[1]}
    if as_json:
        print(json.dumps(caught, indent=2))
    else:
        for guard, one in caught.items():
            said = "NOT CAUGHT" if one is None else f"seed {one['seed']:>4}  {one['complaint'][:90]}"
            print(f"{guard:<46} {said}")
    return 0 if all(caught.values()) else 1


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
