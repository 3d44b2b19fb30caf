"""What a drill has found, as JSON and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import to_text

Found = Literal["passed", "blocked", "failed", "busy"]
ORDER: Final[tuple[Found, ...]] = ("failed", "blocked", "busy", "passed")
"""The possible results of a drill, worst first."""


class Step(NamedTuple):
    """One step of a drill that has happened."""

    name: str
    text: str
    seconds: float
    """Seconds since the exercise began."""
    latency_ms: int | None = None
    """Milliseconds since the broker stored the deciding outcome; None for earlier steps."""


@dataclass(kw_only=True)
class Report:
    """The report of the exercise on one partition."""

    partition: int
    task: TaskKey
    began: int
    """When the exercise began, in milliseconds since the epoch."""
    result: Found = "failed"
    steps: list[Step] = field(default_factory=list)
    missing: str | None = None
    """The first step that did not happen; None if none is missing."""
    detail: str = ""
    hint: str = ""
    recorded: bool = False
    """Whether the monitor has recorded the result, so that `crl status` shows it."""

    def latency(self, name: str) -> int | None:
        """Return the latency of a step; None if the step did not happen."""
        return next((step.latency_ms for step in self.steps if step.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "partition": self.partition,
            "task": str(self.task),
            "result": self.result,
            "timestamp": to_text(self.began),
            "steps": [step._asdict() for step in self.steps],
            "missing": self.missing,
            "detail": self.detail,
            "hint": self.hint,
            "recorded": self.recorded,
        }


def worst(reports: Sequence[Report]) -> Found:
    """Return the result of the whole drill: the worst of its partitions."""
    return next(result for result in ORDER if any(report.result == result for report in reports))


def heading(report: Report, partitions: int) -> str:
    """Return the first line that a drill prints; ``report`` is its only report, or any of its reports."""
    what = f"{partitions} partitions" if partitions > 1 else f"partition {report.partition}, {report.task}"
    return f"{what}; in brackets: time since the deciding outcome"


def step_line(report: Report, step: Step, *, several: bool) -> str:
    """Return the line of a step, such as ``  1.05 s  rolled back to drill-steady (14 ms)``.

    With ``several`` partitions, the line also names its partition.
    """
    who = f"partition {report.partition}: " if several else ""
    late = "" if step.latency_ms is None else f" ({step.latency_ms:,} ms)"
    return f"{step.seconds:6.2f} s  {who}{step.text}{late}"


def closing_line(reports: Sequence[Report]) -> str:
    """Return the last line of a drill that has passed; its times count from the deciding outcome."""
    who = f"partition {reports[0].partition} protects" if len(reports) == 1 else f"{len(reports)} partitions protect"
    rolled, moved = (
        max((late for report in reports if (late := report.latency(name)) is not None), default=0)
        for name in ("rollback", "runtime")
    )
    slowest = "slowest " if len(reports) > 1 else ""
    return f"drill passed: {who}; {slowest}rollback {rolled:,} ms, runtime {moved:,} ms"
