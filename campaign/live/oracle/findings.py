"""The oracle's findings: figures of what was checked, and a count and description of every error."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict


class Findings(Struct, kw_only=True):
    """The findings of one round."""

    records: int = 0
    """Number of records in the log."""
    rows: int = 0
    outputs: int = 0
    """Number of distinct outputs."""
    outcomes: int = 0
    """Number of distinct outcomes, counted without the engine."""
    commands: int = 0
    poison: int = 0
    forwarded: int = 0
    same_id_duplicates: int = 0
    """Number of repeated outputs, with the same bytes."""
    late_rows: int = 0
    """Number of rows whose last changelog record is outdated, written by a process that had lost the partition."""
    stale_last: int = 0
    """Number of keys of compacted topics whose last record is not the newest; readers keep the newest."""
    forgotten: int = 0
    """Number of repeated outcomes correctly counted again, because more than ``duplicate_ids`` others came first."""
    gaps: int = 0
    """Number of gaps in the log that ``data_gap`` alerts have reported."""
    seconds: float = 0.0
    lost: int = 0
    doubled: int = 0
    wrong_rows: int = 0
    disordered: int = 0
    foreign: int = 0
    """Number of records on the topics that the fold did not produce."""
    went_back: int = 0
    """Number of times that a committed offset went back."""
    complaints: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        """Whether every promise held."""
        counted = self.lost, self.doubled, self.wrong_rows, self.disordered, self.foreign, self.went_back
        return not any(counted) and not self.complaints

    def complain(self, kind: str, number: int, text: str) -> None:
        """Add ``number`` errors to the field named ``kind``, and describe them."""
        setattr(self, kind, getattr(self, kind) + number)
        if len(self.complaints) < 40:
            self.complaints.append(f"{kind} {number}: {text}")

    def as_dict(self) -> dict[str, Any]:
        """Return the findings in a form that can be written as JSON."""
        return asdict(self)
