"""What joining costs an agent: the README's table of lines is counted from the examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from source_tree import ROOT

ROW = re.compile(r"^\| (?P<who>[^|]+) \| (?P<lines>\d+)[^|]* \| \[[^]]+\]\((?P<example>examples/[^)]+)\)", re.MULTILINE)
MARK = re.compile(r"(#|//) joins\b")
TABLE = [
    (row["who"], int(row["lines"]), ROOT / row["example"]) for row in ROW.finditer((ROOT / "README.md").read_text())
]
GOALS = {"OpenFeature": 3, "LangGraph": 2, "OpenAI Agents": 2, "OpenTelemetry": 0}


def joining_lines(example: Path) -> list[str]:
    """Return the marked lines of an example's program, without imports and the text at its beginning."""
    files = [example] if example.is_file() else [each for each in sorted(example.iterdir()) if each.is_file()]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines() if MARK.search(line)]
    return [line for line in lines if "`" not in line and not line.startswith(("from ", "import "))]


@pytest.mark.parametrize(("who", "lines", "example"), TABLE, ids=[row[0] for row in TABLE])
def test_the_readme_states_the_lines_that_join_each_example(who: str, lines: int, example: Path) -> None:
    assert len(joining_lines(example)) == lines, who


def test_every_numbered_example_is_in_the_table() -> None:
    numbered = {path for path in (ROOT / "examples").iterdir() if path.name[0].isdigit()}
    assert {example for *_, example in TABLE} == numbered


@pytest.mark.parametrize(("who", "most"), GOALS.items())
def test_joining_costs_no_more_than_promised(who: str, most: int) -> None:
    assert next(lines for name, lines, _ in TABLE if name.startswith(who)) <= most
