"""A naive model of the proposals that come from outside: it keeps everything that happened, and looks it up each time.

It shares no code with the engine.  Its numbers are those of ADR 67.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OPEN, DAY_MS = 4, 86_400_000


@dataclass
class Filing:
    """What was filed, when, and what became of it."""

    name: str
    content: dict[str, Any]
    n: int
    at: int
    ended: str = ""


@dataclass
class FilingModel:
    """One task: which variants exist since when, and every filing that was accepted."""

    days: int
    existing: set[str] = field(default_factory=lambda: {"default"})
    """Variants that were registered or have live outcomes."""
    seen: set[str] = field(default_factory=lambda: {"default"})
    """Variants that the task knows at all."""
    filings: list[Filing] = field(default_factory=list)

    def is_open(self, filing: Filing, now: int) -> bool:
        late = now > filing.at + self.days * DAY_MS
        return not filing.ended and not late and filing.name not in self.existing

    def open(self, now: int) -> list[Filing]:
        for filing in self.filings:
            if not filing.ended and not self.is_open(filing, now):
                filing.ended = "lapsed"  # for good, even if its variant is forgotten later
        return [filing for filing in self.filings if self.is_open(filing, now)]

    def propose(self, name: str, parent: str | None, content: dict[str, Any], n: int, now: int) -> bool:
        """Return whether the candidate is accepted, and remember it if it is."""
        waiting = self.open(now)
        content = content | {"parent": parent}
        rejected = [f.n for f in self.filings if f.ended == "rejected" and (f.name, f.content) == (name, content)]
        accepted = (
            (parent is None or parent in self.seen)
            and name not in self.existing
            and all(filing.name != name for filing in waiting)
            and len(waiting) < OPEN
            and all(n > 0 and n >= 2 * past for past in rejected)
        )
        if accepted:
            self.filings.append(Filing(name, content, n, now))
        return accepted
