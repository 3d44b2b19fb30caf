"""Reports on a run: text for the terminal, a page in Markdown, plots."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT, bench_python
from benchmarks.goals import RATE, Goal, judge
from benchmarks.spread import Spread, is_right, ratio, spread
from benchmarks.stack import note

Page = Mapping[str, Any]
PAGE = ROOT / "docs" / "performance.md"
FIGURES = ROOT / "docs" / "performance"
BEGIN, END = "<!-- tables: made by python -m benchmarks report FILE --document -->", "<!-- end of the tables -->"
_FLAT = {
    "builds": "Compiled",
    "rows": "Memory",
    "recovery": "Recovery",
    "client": "Client",
    "console": "Console",
    "dashboard": "The dashboard",
    "files": "Files",
    "guide": "The guide",
}
_MARKS = {True: "met", False: "MISSED", None: "not measured"}


def main(words: list[str]) -> int:
    """Run ``report FILE [--markdown] [--plots FOLDER] [--document]``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("file", type=Path, help="the figures of a run")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw SVG files into FOLDER")
    parser.add_argument("--document", action="store_true", help="update docs/performance.md from FILE")
    options = parser.parse_args(words)
    if options.document:
        return 0 if document(options.file) else 1
    if options.plots and not draw(options.file, options.plots):
        return 1
    page = json.loads(options.file.read_text(encoding="utf-8"))
    print(markdown(page) if options.markdown else text(page))
    return 0


def draw(file: Path, folder: Path) -> bool:
    """Plot a run; return False if the plotting library is missing."""
    python = bench_python()
    if python is None:
        note("cannot plot: .venv-bench does not exist; create it with `make bench`")
        return False
    return not subprocess.run([python, Path(__file__).with_name("plots.py"), file, folder], check=False).returncode


def document(file: Path) -> bool:
    """Store a run in docs/performance/ under its date, plot it, and put its tables into docs/performance.md."""
    kept = file.read_text(encoding="utf-8")
    # The error message of a failed contestant may contain paths on this machine.
    for place in (str(ROOT), sys.prefix, str(Path.home())):
        kept = kept.replace(place, "")
    page = json.loads(kept)
    FIGURES.mkdir(parents=True, exist_ok=True)
    for old in FIGURES.glob("*.json"):
        old.unlink()
    path = FIGURES / f"{page['started'][:10]}.json"
    path.write_text(kept, encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), page), encoding="utf-8")
    note(f"wrote the tables to {PAGE}, and the run and its plots to {FIGURES}")
    return draw(path, FIGURES)


def with_tables(text_: str, page: Page) -> str:
    """Return the page with the tables of a run inserted."""
    before, found, rest = text_.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{PAGE} does not have the markers for the tables: {BEGIN} ... {END}")
    rounds = f"{page['repeats']} round{'s' * (page['repeats'] != 1)} of each comparison"
    head = f"Measured on {page['started'][:10]}, {rounds}."
    return f"{before}{BEGIN}\n\n{head}\n\n{markdown(page)}\n\n{END}{after}"


def markdown(page: Page) -> str:
    """Return all tables, each under a heading."""
    parts = []
    for title, remark, rows in tables(page):
        head, *body = rows
        lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
        lines += [f"| {' | '.join(row)} |" for row in body]
        parts.append("\n".join([f"## {title}", "", *([remark, ""] if remark else []), *lines]))
    return "\n\n".join(parts)


def text(page: Page) -> str:
    """Return the tables of a run, aligned for a terminal."""
    parts = []
    for title, remark, rows in tables(page):
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        parts.append("\n".join([title, *([remark] if remark else []), *lines]))
    return "\n\n".join(parts)


def tables(page: Page) -> Iterator[tuple[str, str, list[Sequence[str]]]]:
    """Return title, remark and rows of each table; the first row is the header."""
    found = page["sections"]
    for name in ("race1", "race5", "race20", "race5-tenth"):
        if name in found:
            yield _race(found[name])
    if "latency" in found:
        yield _latency(found["latency"])
    for name, stages in found.get("stages", {}).items():
        yield _stages(name, stages)
    if "scaling" in found:
        yield _scaling(found["scaling"])
    if "fold" in found:
        yield "Microseconds", "", [("what", "median", "least", "most"), *_fold(found["fold"])]
    for name, title in _FLAT.items():
        if name in found:
            yield title, "", [("what", "figure"), *_flat(found[name], ())]
    yield "Goals", "", [("goal", "wanted", "found", ""), *(_goal(goal) for goal in judge(found))]
    yield "Machine", "", [("what", "which"), *page["machine"].items()]


def _goal(goal: Goal) -> tuple[str, str, str, str]:
    return goal.name, goal.wanted, goal.found, _MARKS[goal.met]


def _race(race: Page) -> tuple[str, str, list[Sequence[str]]]:
    cadence = (
        "at most one snapshot per task per second" if race["snapshot_seconds"] else "a snapshot for every tenth event"
    )
    remark = (
        f"{race['events']:,} events of {race['tasks']:,} tasks in {race['partitions']} partitions, {cadence}. "
        "Warm figures leave out the first 30 % of the events. "
        "Ratios are ours / theirs in the same round: median (minimum to maximum)."
    )
    heads = (
        "contestant",
        "events/s, warm",
        "from cold",
        "per CPU-second",
        "ours / theirs",
        "per CPU-second",
        "peak MB",
    )
    rows: list[Sequence[str]] = [heads]
    ours = race["results"].get("ours", [])
    for name, results in race["results"].items():
        title = race["contestants"][name]["title"]
        if not any(map(is_right, results)):
            rows.append((title, _trouble(results), *[""] * (len(heads) - 2)))
            continue
        rates = [spread(results, f) for f in (RATE, "events_per_second", "warm_events_per_cpu_second")]
        ratios = [ratio(ours, results, f) for f in (RATE, "warm_events_per_cpu_second")]
        memory = spread(results, "peak_megabytes")
        rows.append((title, *map(_count, rates), *map(_factor, ratios), f"{memory.median:,.0f}" if memory else ""))
    per_row = spread(ours, "events_per_row")
    measured = f"{per_row.median:.1f}" if per_row else str(race["length"])
    return f"Throughput, {measured} events per touched row, one worker each", remark, rows


def _trouble(results: Sequence[Page]) -> str:
    for result in results:
        for kind in ("missing", "failed", "wrong"):
            if kind in result:
                return f"{kind}: {' '.join(str(result[kind]).split())[:160]}"
    return "no figure"


def _count(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:,.0f} ({found.least:,.0f} to {found.most:,.0f})"


def _factor(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:.2f} ({found.least:.2f} to {found.most:.2f})"


def _latency(latency: Page) -> tuple[str, str, list[Sequence[str]]]:
    remark = "Times are in milliseconds. Repeated measurements show the median (minimum to maximum)."
    rows: list[Sequence[str]] = [("path", "partitions", "events/s", "p50", "p99", "p99.9", "probes", "lost")]
    for partitions, rates in latency.get("ours", {}).items():
        for rate, cells in rates.items():
            rows += [_path(path, partitions, rate, cells) for path in cells[0]["paths"]]
    for name, cell in latency.get("others", {}).items():
        if "missing" in cell:
            rows.append((f"{name}: {cell['missing'][:80]}", *[""] * 7))
            continue
        rows += [_path(f"{name}: {path}", "4 partitions", f"{cell['rate']}/s", [cell]) for path in cell["paths"]]
    return "Latency", remark, rows


def _path(path: str, partitions: str, rate: str, cells: Sequence[Page]) -> Sequence[str]:
    found = [cell["paths"][path.rpartition(": ")[2]] for cell in cells]
    shown = [_milliseconds(Spread.of(each[share] for each in found)) for share in ("p50", "p99", "p99.9")]
    probes, lost = sum(cell["probes"] for cell in cells), sum(cell["lost"] for cell in cells)
    return (
        path,
        partitions.split(maxsplit=1)[0],
        f"{int(rate.removesuffix('/s')):,}",
        *shown,
        f"{probes:,}",
        str(lost),
    )


def _milliseconds(found: Spread | None) -> str:
    if found is None:
        return ""
    several = f" ({found.least:.1f} to {found.most:.1f})" if found.rounds > 1 else ""
    return f"{found.median:.1f}{several}"


def _stages(name: str, stages: Page) -> tuple[str, str, list[Sequence[str]]]:
    length = name.partition(" ")[0]
    title = f"Where our worker's time goes, {length} event{'s' * (length != '1')} per row and batch"
    if "missing" in stages:
        return title, "", [("stage", "share"), (f"missing: {stages['missing'][:160]}", "")]
    rate, busy = stages["events_per_second"], stages["busy"]
    remark = f"Sampled from one worker catching up at {rate:,.0f} events/s, with {busy:.0%} of a core busy."
    rows = [(stage, f"{share:.1%}", f"{share * busy / rate * 1e6:.2f}") for stage, share in stages["shares"].items()]
    return title, remark, [("stage", "share", "us of CPU per event"), *rows]


def _scaling(scaling: Page) -> tuple[str, str, list[Sequence[str]]]:
    heads = ("setting", "events/s, warm", "per CPU-second", "events per row and batch", "peak MB")
    rows: list[Sequence[str]] = [heads]
    for name, results in scaling.items():
        if not any(map(is_right, results)):
            rows.append((name, _trouble(results), "", "", ""))
            continue
        rates = [_count(spread(results, figure)) for figure in (RATE, "warm_events_per_cpu_second")]
        per_row, memory = spread(results, "events_per_row"), spread(results, "peak_megabytes")
        rows.append(
            (name, *rates, f"{per_row.median:.1f}" if per_row else "", f"{memory.median:,.0f}" if memory else "")
        )
    return "Scaling", "Peak memory is the total of all workers.", rows


def _fold(fold: Page) -> Iterable[Sequence[str]]:
    for name, figures in (*fold["microseconds"].items(), *_growth(fold)):
        yield name, *(f"{figures[kind]:.2f}" for kind in ("median", "min", "max"))


def _growth(fold: Page) -> Iterable[tuple[str, Any]]:
    growth = fold.get("microseconds of a fold step by variants of the task", {})
    return ((f"fold step, task with {name}", figures) for name, figures in growth.items())


def _flat(figures: Page, above: tuple[str, ...]) -> Iterator[Sequence[str]]:
    for name, inner in figures.items():
        path = (*above, name)
        if isinstance(inner, dict) and inner.keys() == {"min", "median", "max"}:
            yield ": ".join(path), f"{inner['median']:.2f} ({inner['min']:.2f} to {inner['max']:.2f})"
        elif isinstance(inner, dict):
            yield from _flat(inner, path)
        else:
            yield ": ".join(path), _shown(inner)


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.2f}" if value < 1_000 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
