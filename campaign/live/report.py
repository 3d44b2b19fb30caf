"""The table of a campaign: faults induced and noticed by type, losses, duplicates, and how soon work resumed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from campaign.live.fault import ORDERS_RACING, Fault
from campaign.live.rounds import Played

MOST_INCONCLUSIVE: Final = 0.05
"""Share of faults that the system may fail to notice."""
BREACHES: Final = ("lost", "doubled", "wrong_rows", "disordered", "foreign", "went_back")
COLUMNS: Final[dict[str, str]] = {
    "id": "id",
    "title": "fault",
    "rounds": "rounds",
    "times": "times",
    "engaged": "noticed",
    "inconclusive": "inconcl.",
    "records": "records",
    "lost": "lost",
    "doubled": "doubled",
    "wrong_rows": "wrong",
    "disordered": "order",
    "foreign": "foreign",
    "same_id_duplicates": "same id",
    "p50": "p50 s",
    "p95": "p95 s",
    "notes": "notes",
}


@dataclass
class Line:
    """The table's line for one type of fault."""

    id: str
    title: str
    rounds: int = 0
    times: int = 0
    engaged: int = 0
    records: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_rows: int = 0
    disordered: int = 0
    foreign: int = 0
    went_back: int = 0
    same_id_duplicates: int = 0
    late_rows: int = 0
    stale_last: int = 0
    recoveries: list[float] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: list[str] = field(default_factory=list)
    """Descriptions of rounds that did not finish, and of the errors that the oracle found."""

    @property
    def inconclusive(self) -> int:
        """Faults that the system did not notice."""
        return self.times - self.engaged

    @property
    def notes(self) -> str:
        """The first failures, and the faults' figures: the maximum of times, sizes and rates, the sum of all others."""
        words = [f"{name} {_figure(name, value)}" for name, value in self.figures.items()]
        words += [f"{name.replace('_', ' ')} {n}" for name in ("late_rows", "stale_last") if (n := getattr(self, name))]
        return "; ".join([*self.failures[:2], *words])

    def recovery(self, share: float) -> float | None:
        """Return a quantile of the recovery times in seconds; ``share`` is 0.5 for the median."""
        ordered = sorted(self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def as_dict(self) -> dict[str, Any]:
        """Return the line as ``--json`` prints it."""
        more = {"inconclusive": self.inconclusive, "p50": self.recovery(0.5), "p95": self.recovery(0.95)}
        return {name: value for name, value in asdict(self).items() if name != "recoveries"} | more


def sum_up(rounds: Iterable[Played], faults: Mapping[str, Fault]) -> list[Line]:
    """Return a line for each type of fault, and one for faults with a command, score or policy in flight (F26)."""
    lines: dict[str, Line] = {}
    races = Line(ORDERS_RACING, "a command, score or policy in flight at a crash (of the rows above)")
    for played in rounds:
        title = faults[played.fault].title if played.fault in faults else "unknown fault"
        line = lines.setdefault(played.fault, Line(played.fault, title))
        line.rounds += 1
        if played.error is not None:
            line.failures.append(f"round {played.number}: {played.error}")
        for one in played.engagements:
            raced = any(one["in_flight"].values())
            for each in (line, races) if raced else (line,):
                each.times += 1
                each.engaged += one["engaged"]
                if one["recovery_seconds"] is not None:
                    each.recoveries.append(one["recovery_seconds"])
            for name, value in one["in_flight"].items() if raced else ():
                races.figures[name] += value
            for name, value in one["figures"].items():
                largest = is_extreme(name)
                line.figures[name] = max(line.figures[name], value) if largest else line.figures[name] + value
        findings = played.findings or {}
        for name in ("records", *BREACHES, "same_id_duplicates", "late_rows", "stale_last"):
            setattr(line, name, getattr(line, name) + findings.get(name, 0))
        line.failures += [f"round {played.number}: {text}" for text in findings.get("complaints", ())]
    order = sorted(lines.values(), key=lambda line: int(line.id[1:]))
    return [*order, races] if races.times else order


def verdict(lines: Sequence[Line]) -> list[str]:
    """Return descriptions of what is wrong; empty if every promise held and enough faults were noticed."""
    wrong = [
        f"{line.id}: {len(line.failures)} failures, the first: {line.failures[0]}" for line in lines if line.failures
    ]
    counted = [line for line in lines if line.id != ORDERS_RACING]
    times, missed = sum(line.times for line in counted), sum(line.inconclusive for line in counted)
    if missed > MOST_INCONCLUSIVE * times:
        wrong.append(f"{missed} of {times} faults were not noticed, more than {MOST_INCONCLUSIVE:.0%}")
    return wrong


def table(lines: Sequence[Line], *, markdown: bool = False) -> str:
    """Format the lines as a readable table."""
    shown = [list(COLUMNS.values()), *([_shown(line, name) for name in COLUMNS] for line in lines)]
    if markdown:
        rule = ["---" if name in {"id", "title", "notes"} else "---:" for name in COLUMNS]
        return "\n".join("| " + " | ".join(row) + " |" for row in [shown[0], rule, *shown[1:]])
    widths = [max(len(row[at]) for row in shown) for at in range(len(COLUMNS))]
    left = [name in {"id", "title", "notes"} for name in COLUMNS]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in shown
    )


def is_extreme(name: str) -> bool:
    """Return whether figures of this name are combined by their maximum, because their sum would be meaningless."""
    return name.startswith(("seconds", "largest", "most")) or name.endswith((" s", "/s"))


def _figure(name: str, value: float) -> str:
    return f"at most {value:,.1f}" if is_extreme(name) else f"{value:,.0f}"


def _shown(line: Line, name: str) -> str:
    if name in {"p50", "p95"}:
        seconds = line.recovery(int(name[1:]) / 100)
        return "" if seconds is None else f"{seconds:.1f}"
    value = getattr(line, name)
    return f"{value:,}" if isinstance(value, int) else str(value)
