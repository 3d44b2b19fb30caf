"""The commands ``live``, ``live-mutants``, ``soak`` and ``report``: run on a real broker, and report the results."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from campaign.live.brokers import Broker
from campaign.live.fault import Fault, find_faults
from campaign.live.journal import Journal, read_journal
from campaign.live.mutants import MUTANTS, Judged, Mutant, try_scenario
from campaign.live.report import sum_up, table, verdict
from campaign.live.rounds import Round, plan_rounds, play
from campaign.live.soak import soak, text
from campaign.quietly import quietly

BROKEN: Final = 3
"""Exit code if a promise was broken, or too few faults were noticed."""
EVERY: Final = 5.0
"""Seconds between two progress lines of a round."""


def add_sections(sections: Any) -> None:
    """Add the commands to the parser of ``python -m campaign``."""
    live = sections.add_parser("live", help="inject faults into real workers on a real broker, under load")
    live.add_argument("--seed", type=int, default=1, metavar="S", help="default: %(default)s")
    live.add_argument("--only", metavar="F1,F5", help="only these faults")
    live.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="X",
        help="share of the faults of each type to induce; 0.1 is a tenth",
    )
    live.add_argument(
        "--resume", type=Path, metavar="FILE", help="continue a results file; rounds that it contains are not repeated"
    )
    live.add_argument("--results", type=Path, metavar="FILE", help="results file; default: campaign-DATE.jsonl")
    live.add_argument("--folder", type=Path, help="folder for the logs of failed rounds; default: a new one")
    live.add_argument("--list", action="store_true", help="list the faults without inducing any")
    live.add_argument("--json", action="store_true", help="print JSON")
    live.set_defaults(run=_live)
    mutants = sections.add_parser("live-mutants", help="remove one guard at a time from real workers")
    mutants.add_argument("--only", metavar="GUARD,GUARD", help="only these guards")
    mutants.add_argument("--folder", type=Path, help="folder for logs; default: a new one")
    mutants.add_argument("--list", action="store_true", help="list the guards and their scenarios without playing any")
    mutants.add_argument("--json", action="store_true", help="print JSON")
    mutants.set_defaults(run=_mutants)
    long = sections.add_parser("soak", help="run half an hour of kills and rebalances around an untouched worker")
    long.add_argument("--minutes", type=float, default=30.0, metavar="M", help="default: %(default)g")
    long.add_argument("--seed", type=int, default=1, metavar="S", help="default: %(default)s")
    long.add_argument("--folder", type=Path, help="folder for logs; default: a new one")
    long.add_argument("--json", action="store_true", help="print JSON")
    long.set_defaults(run=_soak)
    report = sections.add_parser("report", help="print the table of a results file")
    report.add_argument("files", type=Path, nargs="+", metavar="FILE", help="parts of one campaign")
    report.add_argument("--markdown", action="store_true", help="print a Markdown table for docs/")
    report.add_argument("--json", action="store_true", help="print JSON")
    report.set_defaults(run=lambda options: _report(options.files, options))


def _live(options: argparse.Namespace) -> int:
    faults = find_faults()
    if options.only:
        wanted = [word.strip().upper() for word in options.only.split(",")]
        if unknown := [word for word in wanted if word not in faults]:
            _note(f"there is no fault {unknown[0]}; choose from {', '.join(faults)}")
            return 2
        faults = {name: faults[name] for name in faults if name in wanted}
    if options.list:
        _list(list(faults.values()), as_json=options.json)
        return 0
    file = options.resume or options.results or Path(f"campaign-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl")
    if file.exists() and not options.resume:
        _note(f"{file} already exists; continue it with --resume {file}")
        return 2
    folder = options.folder or Path(tempfile.mkdtemp(prefix="crl-campaign-"))
    journal = Journal(file)
    planned = list(plan_rounds(list(faults.values()), options.seed, options.scale))
    left = [each for each in planned if each.key not in journal.keys]
    _note(f"{len(left)} rounds of {len(planned)}; results in {file}, logs in {folder}")
    try:
        with _without_news():
            asyncio.run(_play_all(left, journal, folder))
    except KeyboardInterrupt:
        _note(f"stopped; continue with --resume {file}")
    return _report([file], options)


async def _play_all(rounds: list[Round], journal: Journal, folder: Path) -> None:
    shared: Broker | None = None
    try:
        for number, planned in enumerate(rounds, 1):
            if planned.fault.own_broker:
                if shared is not None:
                    await shared.__aexit__()
                    shared = None
                async with Broker(folder / f"broker-{number}") as broker:
                    played = await play(planned, broker, folder, _Progress())
            else:
                if shared is None:
                    shared = await Broker(folder / f"broker-{number}").__aenter__()
                played = await play(planned, shared, folder, _Progress())
            journal.append(played)
            how = "exact" if played.is_exact else f"NOT EXACT: {played.error or played.findings['complaints'][0]}"  # type: ignore[index]
            noticed = sum(one["engaged"] for one in played.engagements)
            _note(
                f"[{number}/{len(rounds)}] {played.fault} round {played.number}: {noticed} of {planned.times} noticed, "
                f"{played.acknowledged:,} records, {played.seconds:.0f} s, {how}"
            )
    finally:
        if shared is not None:
            await shared.__aexit__()


class _Progress:
    """Prints at most one line every few seconds."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, text: str) -> None:
        if (now := time.monotonic()) - self._said >= EVERY:
            self._said = now
            _note(text)


def _mutants(options: argparse.Namespace) -> int:
    wanted = options.only.split(",") if options.only else [mutant.guard for mutant in MUTANTS]
    chosen = [mutant for mutant in MUTANTS if mutant.guard in wanted]
    if options.list or len(chosen) < len(wanted):
        for mutant in MUTANTS:
            print(f"{mutant.guard:<22} {mutant.scenario.__name__:<28} {mutant.what}")
        return 0 if options.list else 2
    folder = options.folder or Path(tempfile.mkdtemp(prefix="crl-campaign-"))
    judged: list[Judged] = []
    try:
        with _without_news():
            asyncio.run(_try_all(chosen, folder, judged))
    except KeyboardInterrupt:
        _note("stopped")
    if options.json:
        print(json.dumps([one._asdict() | {"caught": one.caught} for one in judged], indent=2))
    else:
        for one in judged:
            seen = "caught" if one.caught else "not seen" if one.right else "NOT CAUGHT"
            print(f"{one.guard:<22} {seen:<11} {one.says[:110]}")
    return 0 if len(judged) == len(chosen) and all(one.right for one in judged) else BROKEN


async def _try_all(chosen: list[Mutant], folder: Path, judged: list[Judged]) -> None:
    controls: dict[str, str | None] = {}
    async with Broker(folder / "broker") as broker:
        for mutant in chosen:
            name = mutant.scenario.__name__
            if name not in controls:
                _note(f"{name}, with all guards ...")
                controls[name] = await try_scenario(broker, folder / name, mutant, spoilt=False)
            _note(f"{name}, without {mutant.guard} ...")
            complaint = await try_scenario(broker, folder / f"{name}-{mutant.guard}", mutant, spoilt=True)
            judged.append(Judged(mutant.guard, name, controls[name], complaint, mutant.unseen))
            _note(f"{mutant.guard}: {judged[-1].says}")


def _soak(options: argparse.Namespace) -> int:
    folder = options.folder or Path(tempfile.mkdtemp(prefix="crl-soak-"))
    _note(f"{options.minutes:g} minutes; logs in {folder}")
    with _without_news():
        found = asyncio.run(soak(options.minutes, folder, options.seed, _note))
    print(text(found, as_json=options.json))
    return 0 if found["is_flat"] and not found["findings"]["complaints"] else BROKEN


def _report(files: list[Path], options: argparse.Namespace) -> int:
    if missing := [file for file in files if not file.exists()]:
        _note(f"there is no {missing[0]}")
        return 2
    lines = sum_up([played for file in files for played in read_journal(file)], find_faults())
    wrong = verdict(lines)
    if options.json:
        print(json.dumps({"faults": [line.as_dict() for line in lines], "wrong": wrong}, indent=2))
    else:
        print(table(lines, markdown=getattr(options, "markdown", False)))
        for text in wrong:
            print(f"WRONG: {text}")
        if not wrong and lines:
            print("nothing was lost, doubled or wrong")
    return BROKEN if wrong or not lines else 0


def _list(faults: list[Fault], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"id": f.id, "title": f.title, "times": f.times, "per_round": f.per_round} for f in faults]))
        return
    for fault in faults:
        print(f"{fault.id:<4} {fault.times:>4} times, {fault.per_round:>3} per round  {fault.title}")


def _without_news() -> Any:
    # aiokafka logs errors about a broker into which faults are injected on purpose.
    return quietly("aiokafka", logging.CRITICAL)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
