"""A spreadsheet, written with openpyxl (``crl-stream[export]``); texts are never turned into formulas."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Sequence
from typing import Any, Final

from crl_stream.core.messages import Proposal
from crl_stream.errors import ConfigError
from crl_stream.proposals.rows import COLUMNS, row

BINARY: Final = True
INSTALL: Final = "pip install crl-stream[export]"
MAX_CELL: Final = 32_767
"""Maximum number of characters in a cell."""
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that the file format does not allow."""
_WIDE_COLUMNS: Final = {"reasoning": 60, "recommended_modifications": 50, "change": 40, "status_reason": 40}


def write(proposals: Sequence[Proposal], now: int) -> bytes:
    """Write one sheet with a frozen header line; raises ``ConfigError`` without openpyxl."""
    try:
        library: Any = importlib.import_module("openpyxl")
    except ImportError as error:
        raise ConfigError("A spreadsheet needs openpyxl, which is not installed.", hint=INSTALL) from error
    book = library.Workbook()
    sheet = book.active
    sheet.title = "Proposals"
    sheet.append(list(COLUMNS))
    sheet.freeze_panes = "B2"
    for number, name in enumerate(COLUMNS, start=1):
        letter = sheet.cell(row=1, column=number).column_letter
        sheet.column_dimensions[letter].width = _WIDE_COLUMNS.get(name, 22)
    for line, proposal in enumerate(proposals, start=2):
        for number, value in enumerate(row(proposal, now), start=1):
            cell = sheet.cell(row=line, column=number)
            if isinstance(value, str):
                # Set the type to text; otherwise a value that begins with = would become a formula.
                cell.value = _FORBIDDEN.sub(" ", value)[:MAX_CELL]
                cell.data_type = "s"
                cell.quotePrefix = True
            else:
                cell.value = value
    sheet.auto_filter.ref = sheet.dimensions
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
