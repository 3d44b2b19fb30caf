"""Fits tables to the width of a terminal. Text is wrapped between words; a state, id or number is never cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

GAP: Final = 2
"""Number of spaces between two columns."""
LEAST_TEXT: Final = 24
"""Minimum width of a column of sentences; if a terminal is too narrow for it, each row becomes a block."""


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the table in lines of at most ``width`` cells, unless a single word is wider.

    A table that fits is unchanged. Otherwise its texts are wrapped; if that is not enough, each row becomes a block.
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
    """Return column widths that wrap the widest text columns; None if that is not possible."""
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
        # Shrink the widest column only to the width of the next one, so that text columns share the loss.
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
    """Return each row as a block: the first cell is the title; below it, each other cell follows its column name."""
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
    """Wrap ``text`` between words into lines of at most ``width`` cells, all indented if ``indent`` is given."""
    lines: list[str] = []
    line, start = indent, indent
    for word in text.split():
        if line != start and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = start = indent + "  " if indent else ""
        line += word if line == start else f" {word}"
    return [*lines, line]


def folded(text: str, width: int) -> str:
    """Break lines wider than ``width`` between words, and indent the continuation."""
    return "\n".join(line if cell_len(line) <= width else _folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip(" ")))
    lines = [""]
    for part in re.split(r"( +)", line[len(indent) :]):
        # Spaces between two words are kept unless the line breaks there.
        if not part.isspace() and cell_len(lines[-1] + part) > width - len(indent) and lines[-1].strip():
            lines[-1] = lines[-1].rstrip()
            lines.append(f"  {part}")
        else:
            lines[-1] += part
    return "\n".join(indent + each for each in lines)
