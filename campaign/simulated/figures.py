"""Adds up the figures of many seeds, and formats the sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from campaign.simulated.outlet import Point


@dataclass
class Figures:
    """The figures of one seed, or the sums over many."""

    seeds: int = 0
    batches: int = 0
    crashes: Counter[Point] = field(default_factory=Counter)
    crashes_with_orders: int = 0
    """Crashes with a command, or a reference to one, in the batch (F26)."""
    engaged: int = 0
    """Number of crashes after which records were reread."""
    idle_crashes: int = 0
    """Number of crashes after which nothing was reread."""
    zombies: int = 0
    """Processes that stalled until another process had taken over their partition."""
    late_rows: int = 0
    """Number of late writes of rows, by processes that had stalled."""
    refused_writers: int = 0
    """Processes that found another writer in their changelog, and ended."""
    replayed: int = 0
    """Number of records that were reread."""
    skipped: int = 0
    """Number of reread records that were already folded."""
    compacted: int = 0
    """Changelog records that compaction removed."""
    outcomes: int = 0
    commands: int = 0
    ticks: int = 0
    """Ticks appended by owners, and by processes that had lost their partition."""
    outputs: int = 0
    rows: int = 0
    duplicates: int = 0
    """Number of outputs that were published more than once, with the same bytes."""
    looks: int = 0
    """Checks by owners for records that other processes wrote to their compacted topics."""
    mended: int = 0
    """Records of compacted topics that were rewritten because a stale write had covered them."""
    stale_last: int = 0
    """Number of keys of compacted topics whose last record is not the newest."""
    lost: int = 0
    doubled: int = 0
    """Number of outcomes counted twice, plus records that the fold did not produce."""
    wrong_rows: int = 0
    disordered: int = 0
    inconclusive: int = 0
    """Number of seeds in which no crash caused any record to be reread."""
    complaints: list[str] = field(default_factory=list)
    """Descriptions of everything that is wrong."""

    @property
    def is_exact(self) -> bool:
        """Whether all promises held."""
        wrong = self.lost or self.doubled or self.wrong_rows or self.disordered or self.stale_last
        return not (wrong or self.complaints)

    def add(self, other: Figures) -> None:
        """Add another seed's figures, but not its descriptions of errors."""
        for each in fields(self):
            if each.name != "complaints":
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as ``--json`` prints them."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "complaints"}
        return found | {"crashes": {point.value: self.crashes[point] for point in Point}}


def table(figures: Figures, seconds: float) -> str:
    """Format the figures as a readable table."""
    f = figures
    lines: list[tuple[str, Any]] = [
        ("seeds", f.seeds),
        ("batches", f.batches),
        ("outcomes sent, each counted once", f.outcomes),
        ("commands sent, each answered once", f.commands),
        ("crashes", sum(f.crashes.values())),
        *((f"  {point.value}", f.crashes[point]) for point in Point),
        ("  with a command in the batch", f.crashes_with_orders),
        ("  after which records were reread", f.engaged),
        ("  after which nothing was reread", f.idle_crashes),
        ("processes that stalled and resumed late", f.zombies),
        ("  late writes of rows", f.late_rows),
        ("processes that found another writer and ended", f.refused_writers),
        ("records reread", f.replayed),
        ("  skipped because they were already folded", f.skipped),
        ("changelog records compacted", f.compacted),
        ("ticks", f.ticks),
        ("rows compared", f.rows),
        ("distinct outputs compared", f.outputs),
        ("same-id duplicates", f.duplicates),
        ("checks of the compacted topics", f.looks),
        ("  records rewritten after a stale write", f.mended),
        ("lost", f.lost),
        ("doubled", f.doubled),
        ("wrong rows", f.wrong_rows),
        ("out of order", f.disordered),
        ("keys of compacted topics whose last record is old", f.stale_last),
        ("inconclusive seeds", f.inconclusive),
    ]
    width = max(len(name) for name, _ in lines)
    shown = [f"{name:<{width}}  {value:>12,}" for name, value in lines]
    shown.append(f"{'seeds/s':<{width}}  {f.seeds / seconds if seconds else 0.0:>12.1f}")
    return "\n".join(shown)
