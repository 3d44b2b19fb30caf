"""What this process has done since it started, for the views; figures of the fold are in the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from crl_stream.stages.fold import Counts


@dataclass(slots=True)
class Counters:
    """Records by what became of them, and writes."""

    applied: int = 0
    duplicates: int = 0
    forwarded: int = 0
    dead_letters: int = 0
    skipped: int = 0
    """Folded before: behind the partition row when the partition was assigned, or met again."""
    ticks: int = 0
    """Records that said no more than that time has passed."""
    too_late: int = 0
    """Scores for outcomes that no window holds any more."""
    batches: int = 0
    outputs: int = 0
    rows: int = 0
    references: int = 0
    """References to commands that the inlet appended."""
    mended: int = 0
    """Records of compacted topics that were written again, as a process that had lost the partition had covered them.
    """
    refilled: int = 0
    """Records of compacted topics that were written again from the rows, as the topic had lost them."""

    def add(self, counts: Counts) -> None:
        """Count a batch."""
        self.applied += counts.applied
        self.duplicates += counts.duplicates
        self.forwarded += counts.forwarded
        self.dead_letters += counts.dead_letters
        self.skipped += counts.skipped
        self.ticks += counts.ticks
        self.too_late += counts.too_late
        self.batches += 1

    def as_dict(self) -> dict[str, int]:
        """Name to figure."""
        return asdict(self)
