"""Comma-separated values, safe to open in a spreadsheet.

A spreadsheet treats text that begins with ``=``, ``+``, ``-``, ``@``, tab or carriage return as a formula, and the text
in proposals comes from prompts and agents.  Such text gets a leading apostrophe, so that spreadsheets treat it as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from crl_stream.core.messages import Proposal
from crl_stream.proposals.rows import COLUMNS, Cell, row

BINARY: Final = False
_FORMULA: Final = ("=", "+", "-", "@")
_LINE: Final = ("\t", "\r", "\n")
_WIDE: Final = str.maketrans({"\uff1d": "=", "\uff0b": "+", "\uff0d": "-", "\uff20": "@"})
"""Full-width forms, which spreadsheets in some regions treat like the ASCII characters."""


def write(proposals: Sequence[Proposal], now: int) -> bytes:
    """Write RFC 4180 in UTF-8, with a header line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for proposal in proposals:
        writer.writerow([inert(cell) for cell in row(proposal, now)])
    return text.getvalue().encode()


def inert(cell: Cell) -> Cell:
    """Return a cell that no spreadsheet runs as a formula; numbers stay numbers."""
    if isinstance(cell, str):
        cell = cell.replace("\x00", "")
        # Spreadsheets may pass over any white space in front.
        if cell.translate(_WIDE).lstrip().startswith(_FORMULA) or cell.lstrip(" ").startswith(_LINE):
            return f"'{cell}"
    return cell
