"""Counters of what this process has done since it started, for the views; the figures of the fold are in the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from crl_stream.stages.fold import Counts


@dataclass(slots=True)
class Counters:
    """Counts of writes, and of records by how they were processed."""

    applied: int = 0
    duplicates: int = 0
    forwarded: int = 0
    dead_letters: int = 0
    skipped: int = 0
    """Records that were already folded: those skipped at an assignment, or read twice."""
    ticks: int = 0
    """Ticks, which only record that time has passed."""
    too_late: int = 0
    """Scores for outcomes that are no longer in any window."""
    batches: int = 0
    outputs: int = 0
    rows: int = 0
    references: int = 0
    """References to commands that the inlet appended."""
    mended: int = 0
    """Records of compacted topics that were rewritten because a stale write had replaced them."""
    refilled: int = 0
    """Records of compacted topics that were rewritten from the rows because the topic had lost them."""
    ignored: int = 0
    """Parts of a bridge's records that are not about invocations or scores, such as spans of model calls."""

    def add(self, counts: Counts) -> None:
        """Add the counts of a batch."""
        self.applied += counts.applied
        self.duplicates += counts.duplicates
        self.forwarded += counts.forwarded
        self.dead_letters += counts.dead_letters
        self.skipped += counts.skipped
        self.ticks += counts.ticks
        self.too_late += counts.too_late
        self.batches += 1

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)
