"""Two folds of one log side by side, task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from crl_stream.core.drills import is_drill
from crl_stream.core.policy import PolicySet
from crl_stream.core.policy_difference import Difference, policy_differences
from crl_stream.trial.decisions import KINDS
from crl_stream.trial.estimate import Estimate, Stretch, spans_of, stretches_of, total
from crl_stream.trial.matching import Change, ChangeKind, Placed, match
from crl_stream.trial.record import Recorded
from crl_stream.trial.run import Run
from crl_stream.trial.traffic import Traffic, TrafficOfTasks

CHANGES: Final[tuple[ChangeKind, ...]] = ("added", "removed", "earlier", "later")


class Source(NamedTuple):
    """The records of one partition that were folded."""

    partition: int
    first: int
    """Offset of the first record that exists."""
    end: int
    """The offset after the last record."""
    sha256: str
    """Hash of the records: offset, time, key and value of each."""


class Input(NamedTuple):
    """The input of both folds; equal inputs give equal reports."""

    kind: str
    """``file`` or ``topics``."""
    name: str
    sha256: str
    """Hash of all records that were folded."""
    records: int
    first_time: str
    last_time: str
    partitions: list[Source]
    """Empty for a file."""

    @property
    def is_cut(self) -> bool:
        """Whether older records are gone, so that the folds begin without the state of that time."""
        return any(source.first > 0 for source in self.partitions)


class Side(NamedTuple):
    """One of the two policies that are compared."""

    label: str
    """Where the policy comes from: a file, a profile, the log."""
    judged_by: Mapping[str, PolicySet]
    """The policies by digest; there is only one unless the log changes its policy."""
    last: PolicySet
    """The policy in force at the end of the log."""


class TaskComparison(NamedTuple):
    """One task in both folds."""

    task: str
    traffic: Traffic
    against: list[Placed]
    policy: list[Placed]
    same: int
    changes: list[Change]
    stretches: list[Stretch]
    active: tuple[list[tuple[int, str]], list[tuple[int, str]]]
    """The active variants of both folds, each with the number of the first outcome it is used for."""

    @property
    def differs(self) -> bool:
        """Whether the folds decide differently about the task."""
        return bool(self.changes)

    @property
    def moves(self) -> bool:
        """Whether the folds differ in a change of the active variant, not only in alerts and other reports."""
        return bool(self.stretches) or any(change.moves for change in self.changes)


class Comparison(NamedTuple):
    """Everything that a report states."""

    against: Side
    policy: Side
    settings: list[Difference]
    """The settings that differ; if the log sets several policies, its last one is compared."""
    source: Input
    tasks: list[TaskComparison]
    """The comparison of each task, sorted by name."""
    recorded: Recorded | None
    """The comparison with the published decisions; None if these are unknown, as for a file."""

    @property
    def is_same(self) -> bool:
        """Whether both folds decide the same."""
        return not any(task.differs for task in self.tasks)

    @property
    def same(self) -> int:
        """Number of decisions that are the same in both folds."""
        return sum(task.same for task in self.tasks)

    @property
    def estimate(self) -> Estimate:
        """Bad invocations saved or lost, over all tasks."""
        return total(task.stretches for task in self.tasks)

    def differing(self) -> list[TaskComparison]:
        """Return the tasks about which the folds differ.

        Tasks whose active variant differs come first, beginning with those with the most invocations saved or lost.
        """
        found = [task for task in self.tasks if task.changes or task.stretches]
        return sorted(found, key=lambda task: (not task.moves, -abs(total([task.stretches]).saved), task.task))

    def counts(self) -> dict[str, dict[ChangeKind, int]]:
        """Return how many decisions of each kind are added, removed, earlier and later."""
        found = Counter((change.decided.kind, change.change) for task in self.tasks for change in task.changes)
        return {
            kind: {change: found[kind, change] for change in CHANGES}
            for kind in KINDS
            if any(found[kind, change] for change in CHANGES)
        }


def compare(
    against: tuple[str, Run], policy: tuple[str, Run], traffic: TrafficOfTasks, source: Input, recorded: Recorded | None
) -> Comparison:
    """Compare two folds of the same records, without drills; each fold is given with the label of its policy."""
    one, other = (Side(label, run.judged_by, run.last) for label, run in (against, policy))
    found = traffic.keys() | against[1].decided.keys() | policy[1].decided.keys()
    names = sorted(name for name in found if not is_drill(name.split("/")[0]))
    tasks = [_compare_task(name, traffic.get(name) or Traffic(), against[1], policy[1]) for name in names]
    return Comparison(one, other, policy_differences(one.last, other.last), source, tasks, recorded)


def _compare_task(name: str, traffic: Traffic, against: Run, policy: Run) -> TaskComparison:
    one, other = (list(_placed(traffic, run, name)) for run in (against, policy))
    matched = match(one, other)
    active = against.active.get(name, []), policy.active.get(name, [])
    stretches = stretches_of(traffic, *active)
    spans = spans_of(traffic, active[0]), spans_of(traffic, active[1])
    return TaskComparison(name, traffic, one, other, matched.same, matched.changes, stretches, spans)


def _placed(traffic: Traffic, run: Run, name: str) -> Iterable[Placed]:
    return ((traffic.number_at(one.offset), one) for one in run.decided.get(name, []))
