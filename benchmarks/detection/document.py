"""Stores a run in docs/: the tables in docs/detection.md, the plots, and the figures as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks.detection.report import markdown
from benchmarks.environment import ROOT, bench_python

PAGE = ROOT / "docs" / "detection.md"
FOLDER = ROOT / "docs" / "detection"
BEGIN, END = "<!-- tables: made by make bench-detection ARGS=--document -->", "<!-- end of the tables -->"


def document(page: Mapping[str, Any]) -> bool:
    """Update the page, the plots and the JSON from a run; return whether the plots could be drawn."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    path = FOLDER / f"{page['started'][:10]}.json"
    path.write_text(to_json(page), encoding="utf-8")
    # The tables come from the rounded figures, so they can be regenerated from the stored JSON.
    kept = json.loads(path.read_text(encoding="utf-8"))
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    print(f"wrote the tables to {PAGE}, and the figures to {path}", file=sys.stderr)
    python = bench_python()
    if python is None:
        print("cannot plot: .venv-bench does not exist; `make bench ARGS=builds` creates it", file=sys.stderr)
        return False
    return not subprocess.run([python, Path(__file__).with_name("plots.py"), path, FOLDER], check=False).returncode


def with_tables(text: str, page: Mapping[str, Any]) -> str:
    """Return the page with the tables of a run between its markers; raises ``SystemExit`` if there are no markers."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{PAGE} does not have the markers for the tables: {BEGIN} ... {END}")
    river = f", river {page['river']}" if page["river"] else ""
    head = f"Measured on {page['started'][:10]}: engine {page['engine']}{river}, {page['tasks']} tasks per world and "
    head += f"contestant, seed `{page['seed']}`, {page['machine']['cores']} cores, {page['machine']['python']}."
    return f"{before}{BEGIN}\n\n{fill(head, 120)}\n\n{markdown(page)}\n\n{END}{after}"


def to_json(page: Mapping[str, Any]) -> str:
    """Return a run with four digits per figure and a line per cell, so that it stays small and can be compared."""
    rest = {name: _rounded(found) for name, found in page.items() if name != "cells"}
    cells = ",\n  ".join(json.dumps(_rounded(cell)) for cell in page["cells"])
    return f'{json.dumps(rest, indent=1)[:-2]},\n "cells": [\n  {cells}\n ]\n}}\n'


def _rounded(found: Any) -> Any:
    if isinstance(found, float):
        return float(f"{found:.4g}")
    if isinstance(found, Mapping):
        return {name: _rounded(value) for name, value in found.items()}
    return found
