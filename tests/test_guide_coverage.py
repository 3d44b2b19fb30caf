"""Checks ``docs/guide-coverage.md`` against the guide: every line has a row, and every row names an existing test."""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from source_tree import ROOT

GUIDE = ROOT / "tests" / "guide" / "CRL_SAFETY_GUIDE.md"
GUIDE_SHA256 = "c3c027adcb93c36fedbb48b5743cc59bc086004f437f05402ba0864ccecdb615"
TABLE = ROOT / "docs" / "guide-coverage.md"
FUTURE = "future enhancement"
ELSEWHERE = "another page by the guide's author"
PENDING = "pending"
"""The mark of a row whose feature is still being built; it must be removed as soon as the feature exists."""


class Line(NamedTuple):
    """A line of the guide that has content."""

    number: int
    section: str
    text: str
    block: int
    """The line number of the opening fence before the line; 0 in prose."""


class Row(NamedTuple):
    """A row of the table."""

    number: int
    section: str
    quote: str
    where: str
    tests: str


def plain(text: str) -> str:
    return " ".join(text.split())


@cache
def guide() -> tuple[Line, ...]:
    found, section, block = [], "", 0
    for number, text in enumerate(GUIDE.read_text(encoding="utf-8").splitlines(), start=1):
        if text.startswith("```"):
            block = 0 if block else number
        elif block:
            if text.strip():
                found.append(Line(number, section, plain(text), block))
        elif text.startswith("#"):
            section = text.lstrip("# ")
        elif text.strip() and text != "---" and not text.startswith("|--"):
            found.append(Line(number, section, plain(text), 0))
    return tuple(found)


@cache
def headings() -> tuple[tuple[int, str], ...]:
    fenced, found = False, []
    for text in GUIDE.read_text(encoding="utf-8").splitlines():
        fenced ^= text.startswith("```")
        if not fenced and text.startswith("#"):
            found.append((len(text) - len(text.lstrip("#")), text.lstrip("# ")))
    return tuple(found)


@cache
def rows() -> tuple[Row, ...]:
    found = []
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines(), start=1):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[1].startswith("``"):
            found.append(
                Row(number, cells[0], plain(cells[1].strip("`").strip().replace("\\|", "|")), cells[2], cells[3])
            )
    return tuple(found)


def lines_of(row: Row) -> list[Line]:
    """Return the lines of the guide that a row is about."""
    here = [line for line in guide() if line.section == row.section]
    first, dots, last = row.quote.partition(" … ")
    if not dots:
        return [line for line in here if row.quote in line.text]
    for begin in here:
        if begin.block and begin.text.startswith(first):
            block = [line for line in here if line.block == begin.block and line.number >= begin.number]
            ends = [line.number for line in block if last in line.text]
            if ends:
                return [line for line in block if line.number <= max(ends)]
    return []


def test_the_guide_that_is_covered_is_the_guide_word_for_word() -> None:
    assert hashlib.sha256(GUIDE.read_bytes()).hexdigest() == GUIDE_SHA256


def test_every_row_quotes_what_the_guide_says_under_that_heading() -> None:
    assert [f"{row.number}: {row.quote}" for row in rows() if not lines_of(row)] == []


def test_every_line_of_the_guide_has_a_row() -> None:
    covered = {line.number for row in rows() for line in lines_of(row)}
    assert [f"{line.number}: {line.text}" for line in guide() if line.number not in covered] == []


def test_every_heading_of_the_guide_has_rows_or_parts_that_have() -> None:
    sections = {row.section for row in rows()}
    bare = []
    for at, (level, title) in enumerate(headings()):
        has_parts = at + 1 < len(headings()) and headings()[at + 1][0] > level
        if title not in sections and not has_parts:
            bare.append(title)
    assert bare == []


def test_most_of_every_sentence_and_each_of_its_numbers_is_quoted() -> None:
    """The rows about a line must quote at least half of it, not only a word or two."""
    short = []
    for line in guide():
        if line.block:
            continue
        marks = [False] * len(line.text)
        for row in rows():
            if row.section == line.section and (start := line.text.find(row.quote)) >= 0:
                marks[start : start + len(row.quote)] = [True] * len(row.quote)
        numbers = [match for match in re.finditer(r"\d+", line.text) if not all(marks[match.start() : match.end()])]
        if numbers or 2 * sum(marks) < len(line.text):
            short.append(f"{line.number}: {line.text}")
    assert short == []


def test_every_number_in_a_block_has_a_row_of_its_own() -> None:
    bare = []
    for line in guide():
        if not line.block or not re.search(r"(?<![\w-])\d", line.text):
            continue
        own = [row for row in rows() if row.section == line.section and row.quote in line.text]
        if not own:
            bare.append(f"{line.number}: {line.text}")
    assert bare == []


def test_every_row_has_a_test_unless_it_is_of_the_future() -> None:
    bare = [r.number for r in rows() if r.tests == "-" and r.where not in {FUTURE, ELSEWHERE}]
    assert bare == []
    assert {r.section for r in rows() if r.where == FUTURE} == {"Phase 4 (Planned)", "Phase 5 (Planned)"}
    assert {r.section for r in rows() if r.where == ELSEWHERE} == {"References"}


# -- the named tests -------------------------------------------------------------------------------
def named_tests() -> list[tuple[int, str, bool]]:
    """Return the line in the table, the test's id, and whether the test is marked as pending."""
    return [
        (row.number, match[2], bool(match[1]))
        for row in rows()
        for match in re.finditer(rf"({PENDING}: )?`([^`]+::[^`]+)`", row.tests)
    ]


@cache
def definitions(path: Path) -> dict[str, ast.AST]:
    """Return the definitions in a test module, by the part of a test id after the path."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{n.name}": n for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


def fault(test: str) -> str | None:
    """Return why an id does not name a test that runs, or None if it does."""
    name, _, inside = test.partition("::")
    path = ROOT / name
    if not path.is_file():
        return "there is no such file"
    node = definitions(path).get(inside)
    if node is None:
        return "there is no such test"
    last = inside.rpartition("::")[2]
    if not last.startswith("Test" if isinstance(node, ast.ClassDef) else "test_"):
        return "it is not collected"
    marks = [ast.unparse(mark) for mark in getattr(node, "decorator_list", [])]
    if any("skip" in mark or "xfail" in mark for mark in marks):
        return "it is skipped"
    return None


def test_every_test_that_is_named_is_there_and_is_not_skipped() -> None:
    assert [(n, test, why) for n, test, pending in named_tests() if not pending and (why := fault(test))] == []


def test_what_is_pending_is_not_there_yet() -> None:
    """Once a feature exists, the word ``pending`` must be removed, and its row is checked like any other."""
    assert [(n, test) for n, test, pending in named_tests() if pending and fault(test) is None] == []
    without = [r for r in rows() if r.tests.startswith(PENDING) and "::" not in r.tests]
    assert [(r.number, path) for r in without for path in paths_of(r) if (ROOT / path).exists()] == []


def paths_of(row: Row) -> list[str]:
    """Return the files and folders that a row names as the place of its feature."""
    return [p for p in re.findall(r"`([\w./-]+)`", row.where) if "/" in p and re.search(r"(\.\w+|/)$", p)]


def test_every_file_that_is_named_is_there() -> None:
    missing = [
        (row.number, path)
        for row in rows()
        if PENDING not in row.tests
        for path in paths_of(row)
        if not (ROOT / path).exists() and not (ROOT / "crl_stream" / path).exists()
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("tests/nowhere.py::test_x", "there is no such file"),
        ("tests/test_guide_coverage.py::test_nothing", "there is no such test"),
        ("tests/test_guide_coverage.py::fault", "it is not collected"),
        ("tests/test_guide_coverage.py::test_every_line_of_the_guide_has_a_row", None),
        ("tests/crl/test_safety.py::TestEndToEnd", None),
        ("tests/crl/test_safety.py::TestSafetyMonitor::test_nothing", "there is no such test"),
    ],
)
def test_an_id_that_names_no_test_is_found_out(test: str, why: str | None) -> None:
    assert fault(test) == why
