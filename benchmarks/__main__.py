"""``python -m benchmarks [fold|rows|guide|throughput|latency|console|recovery]... [--json] [--rows N]``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks import console, fold, guide, latency, recovery, rows, throughput
from benchmarks.stack import broker, note

PURE = {"fold": fold.run, "rows": rows.run, "guide": guide.run}
ON_KAFKA = {"throughput": throughput.run, "latency": latency.run, "console": console.run, "recovery": recovery.run}


def main() -> int:
    """Run what was asked for, or everything, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join([*PURE, *ON_KAFKA])}; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rows", type=int, default=recovery.ROWS, help="of recovery; default: %(default)s")
    options = parser.parse_args()
    wanted = options.sections or [*PURE, *ON_KAFKA]
    if unknown := set(wanted) - PURE.keys() - ON_KAFKA.keys():
        parser.error(f"there is no section {min(unknown)}; one of {', '.join([*PURE, *ON_KAFKA])}")
    figures: dict[str, Any] = {}
    for name, run in PURE.items():
        if name in wanted:
            note(f"{name} ...")
            figures[name] = run()
    if kafka := [name for name in ON_KAFKA if name in wanted]:
        with broker() as bootstrap_servers:
            for name in kafka:
                more = {"rows": options.rows} if name == "recovery" else {}
                figures[name] = ON_KAFKA[name](bootstrap_servers, **more)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        _show(figures, 0)
    return 0


def _show(value: dict[str, Any], depth: int) -> None:
    for name, inner in value.items():
        if not isinstance(inner, dict):
            shown = (
                f"{inner:,.2f}"
                if isinstance(inner, float) and inner < 1_000
                else f"{inner:,.0f}"
                if isinstance(inner, float)
                else str(inner)
            )
            print(f"{'  ' * depth}{name}: {shown}")
        elif inner.keys() == {"min", "median", "max"}:
            print(f"{'  ' * depth}{name}: {inner['median']:.2f} ({inner['min']:.2f} to {inner['max']:.2f})")
        else:
            print(f"{'  ' * depth}{name}")
            _show(inner, depth + 1)


if __name__ == "__main__":
    sys.exit(main())
