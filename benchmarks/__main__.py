"""``python -m benchmarks [SECTION...]`` measures; ``python -m benchmarks report FILE`` reports on a run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.environment import ROOT, prepare
from benchmarks.machine import describe
from benchmarks.sections import Plan, sections
from benchmarks.stack import broker, note
from crl_stream.cli.processes import leaving_in_order

RESULTS = ROOT / "benchmarks" / "results"


def main(words: list[str] | None = None) -> int:
    """Measure or report; return 1 if a section failed."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["report"]:
        return report.main(words[1:])
    options = _parser().parse_args(words)
    repeats = options.repeats or (1 if options.quick else 3)
    plan = Plan(quick=options.quick, repeats=repeats, rows=options.rows, tasks=options.tasks)
    known = sections(plan)
    wanted = options.sections or [name for name, section in known.items() if section.usual]
    if unknown := set(wanted) - known.keys():
        _parser().error(f"there is no section {min(unknown)}; choose from {', '.join(known)}")
    path = options.resume or RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
    page = json.loads(path.read_text(encoding="utf-8")) if options.resume else {}
    page |= {"machine": describe(), "quick": plan.quick, "repeats": plan.repeats}
    page.setdefault("started", datetime.now(UTC).isoformat(timespec="seconds"))
    page.setdefault("sections", {})
    left = [name for name in wanted if name not in page["sections"]]
    failed = _measure(left, plan, page, path) if left else []
    if options.json:
        print(json.dumps(page, indent=2))
    else:
        print(report.text(page))
    note(f"the figures are in {path}; python -m benchmarks report {path} --markdown prints them as tables")
    if failed:
        note(f"failed: {', '.join(failed)}; continue with --resume {path}")
    elif options.document:
        report.document(path)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(sections(Plan())))
    parser.add_argument("--quick", action="store_true", help="about three minutes: fewer settings, events and rounds")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of each comparison; default: 3, quick: 1")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="rows in the recovery section; default: 1,000,000, quick: 50,000"
    )
    parser.add_argument(
        "--tasks", type=int, metavar="N", help="tasks in the dashboard section; default: 1,000, quick: 100"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="measure only the sections that are missing from the results FILE"
    )
    parser.add_argument("--document", action="store_true", help="then update docs/performance.md from the figures")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _measure(names: list[str], plan: Plan, page: dict[str, Any], path: Path) -> list[str]:
    """Measure the sections in turn, and save each result at once."""
    known = sections(plan)
    if any(known[name].beside_others for name in names):
        prepare()
    failed = []
    whole = sum(known[name].seconds for name in names)
    started, done = time.perf_counter(), 0.0
    path.parent.mkdir(parents=True, exist_ok=True)
    with leaving_in_order(), broker() as bootstrap_servers:
        for name in names:
            note(f"{name}: {known[name].what} ({_left(whole - done)} left in all)")
            try:
                page["sections"][name] = known[name].run(bootstrap_servers)
            except KeyboardInterrupt:
                note(f"stopped; continue with --resume {path}")
                raise SystemExit(130) from None
            except Exception as error:
                note(f"{name} FAILED: {error!r}")
                failed.append(name)
            done += known[name].seconds
            page["seconds"] = page.get("seconds", 0.0) + time.perf_counter() - started
            started = time.perf_counter()
            path.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
    return failed


def _left(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
