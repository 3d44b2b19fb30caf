"""Tables in the width of a terminal: texts are wrapped at words; a state, an id or a number is never cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

GAP: Final = 2
"""Blanks between two columns."""
LEAST_TEXT: Final = 24
"""A column of sentences that would get fewer cells is easier to read below its row."""


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The table in lines of at most ``width`` cells, unless one word alone is wider.

    As it is where it fits, else with its texts wrapped, else each row as a block of its own.
    """
    widths = [max(cell_len(column), *(cell_len(row[at]) for row in rows)) for at, column in enumerate(columns)]
    if sum(widths) + GAP * (len(widths) - 1) <= width:
        return _aligned([columns, *rows], widths)
    narrowed = _narrowed(columns, rows, widths, width)
    if narrowed is not None:
        return _wrapped([columns, *rows], narrowed)
    return _stacked(columns, rows, width)


def _aligned(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    gap = " " * GAP
    return [gap.join(_padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))


def _narrowed(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], width: int
) -> list[int] | None:
    """Widths with which the widest columns of texts are wrapped; None where a row cannot be shown so."""
    found = list(widths)
    least = [
        size if all(" " not in row[at] for row in rows) else max(_longest_word(columns[at], rows, at), LEAST_TEXT)
        for at, size in enumerate(widths)
    ]
    over = sum(found) + GAP * (len(found) - 1) - width
    while over > 0:
        at = max(range(len(found)), key=lambda column: found[column] - least[column])
        spare = found[at] - least[at]
        if spare <= 0:
            return None
        # As much as makes it as narrow as the next one, so that two columns of texts share the loss.
        taken = min(spare, over, max(1, spare // 2))
        found[at] -= taken
        over -= taken
    return found


def _longest_word(column: str, rows: Sequence[Sequence[str]], at: int) -> int:
    words = [word for row in rows for word in row[at].split()]
    return max(cell_len(column), *map(cell_len, words)) if words else cell_len(column)


def _wrapped(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        cells = [wrap(cell, size) if cell_len(cell) > size else [cell] for cell, size in zip(row, widths, strict=True)]
        height = max(map(len, cells))
        block = [[cell[number] if number < len(cell) else "" for cell in cells] for number in range(height)]
        lines += _aligned(block, widths)
    return lines


def _stacked(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The first cell of a row as its title, the others below it, each behind the name of its column."""
    lines: list[str] = []
    for row in rows:
        lines.append(row[0])
        line = ""
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if not cell:
                continue
            pair = f"{column}: {cell}"
            if line and cell_len(line) + GAP + cell_len(pair) <= width:
                line += " " * GAP + pair
                continue
            if line:
                lines.append(line)
            *full, line = wrap(pair, width, indent="    ")
            lines += full
        if line:
            lines.append(line)
    return lines


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken between words only; ``indent`` grows from the second on."""
    lines: list[str] = []
    line, start = indent, indent
    for word in text.split():
        if line != start and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = start = indent + "  " if indent else ""
        line += word if line == start else f" {word}"
    return [*lines, line]


def folded(text: str, width: int) -> str:
    """``text`` with its lines that are wider than ``width`` broken between words; what follows is indented."""
    return "\n".join(line if cell_len(line) <= width else _folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip(" ")))
    lines = [""]
    for part in re.split(r"( +)", line[len(indent) :]):
        # Blanks between two words stay as they are, unless the line is broken there.
        if not part.isspace() and cell_len(lines[-1] + part) > width - len(indent) and lines[-1].strip():
            lines[-1] = lines[-1].rstrip()
            lines.append(f"  {part}")
        else:
            lines[-1] += part
    return "\n".join(indent + each for each in lines)
