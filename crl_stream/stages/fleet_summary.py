"""Summarises a fleet in a few counts: what each row adds to them, and which rows to show by name.

Lists of tasks grow with the fleet, but its health must be found in bounded time.  So a small mark is kept for each row,
and a row is reread only after it has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from crl_stream.core.monitor.adoption import followers_of
from crl_stream.core.monitor.row import TaskRow, decode_row
from crl_stream.core.monitor.rules import rules_of
from crl_stream.core.monitor.verdict import judge
from crl_stream.core.overview.notes import ENOUGH
from crl_stream.core.policy import PolicySet

TROUBLE: Final = ("degraded", "without_success")
"""Names of the counts of tasks that have a problem."""
ORDERS: Final = ("held", "pinned", "quarantined")
"""Names of the counts for holds, pins and quarantines, which people set or must decide about."""
NAMES: Final = (
    *TROUBLE,
    *ORDERS,
    "no_target",
    "without_outcome",
    "HEALTHY",
    "INCONCLUSIVE",
    "DEGRADED",
    "unjudged",
    "common_cause",
)
"""Names of all counts, in the order of a mark's bits."""
MODES: Final = ("observe", "shadow")
ON_CARD: Final = ("right", "wrong", "open", "avoidable", "caused")
"""The figures of a scorecard; their sums over a fleet are named ``shadow_right`` and so on."""
NO_CARD: Final = (0, 0, 0, 0, 0)
ON_ADOPTION: Final = ("expected", "moved", "within_two", "stuck")
"""The figures about the runtimes that were expected to follow the latest change; their sums are ``runtimes_...``."""
NO_ADOPTION: Final = (0, 0, 0, 0)
_BITS: Final = {name: 1 << number for number, name in enumerate((*NAMES, *MODES))}
_TROUBLE: Final = sum(_BITS[name] for name in TROUBLE)
_ATTENTION: Final = sum(_BITS[name] for name in (*TROUBLE, *ORDERS, "common_cause"))


class Mark(NamedTuple):
    """What one row adds to the fleet's counts."""

    bits: int
    outcomes: int
    variants: int
    card: tuple[int, int, int, int, int] = NO_CARD
    """The figures of the task's scorecard, in the order of ``ON_CARD``; all 0 unless the task is in shadow mode."""
    adoption: tuple[int, int, int, int] = NO_ADOPTION
    """How many runtimes followed the task's latest change, in the order of ``ON_ADOPTION``."""

    @property
    def rank(self) -> int:
        """0 for a row in trouble, 1 for any other row that is shown by name, 2 for the rest."""
        return 0 if self.bits & _TROUBLE else 1 if self.bits & _ATTENTION else 2


def mark_of(row: bytes, policies: PolicySet) -> Mark:
    """Return the mark of a row under ``policies``; raise ``MsgspecError`` if the bytes are not a row."""
    task = decode_row(row)
    policy = policies.for_task(task.key)
    active = None if task.active is None else task.variants.get(task.active)
    names = []
    if active is None:
        names.append("unjudged")
    else:
        verdict = judge(active, rules_of(policy)).kind
        names.append(verdict)
        if active.degraded or verdict == "DEGRADED":
            names.append("degraded")
        if active.judged.n >= ENOUGH and not active.judged.successes:
            names.append("without_success")
    if task.n == 0:
        names.append("without_outcome")
    names += [name for name in ("held", "pinned") if getattr(task, name) is not None]
    if any(variant.quarantined for variant in task.variants.values()):
        names.append("quarantined")
    if task.no_target_n >= 0:
        names.append("no_target")
    if task.incident is not None:
        names.append("common_cause")
    if policy.operations.mode in MODES:
        names.append(policy.operations.mode)
    figures = NO_CARD
    card = task.card
    if card is not None and policy.operations.mode == "shadow" and card.judging == rules_of(policy).judging:
        figures = (card.right, card.wrong, card.open, card.avoidable, card.caused)
    return Mark(sum(_BITS[name] for name in names), task.n, len(task.variants), figures, adoption_of(task))


def adoption_of(task: TaskRow) -> tuple[int, int, int, int]:
    """Return how many runtimes followed the task's latest change, in the order of ``ON_ADOPTION``."""
    found = followers_of(task)
    return found.expected, found.moved, found.within_two, len(found.stuck)


class Sums:
    """The sums over all marks, updated as marks are added and removed."""

    def __init__(self) -> None:
        self.tasks = self.outcomes = self.variants = 0
        self._bits: Counter[int] = Counter()
        self._card, self._adoption = [0] * len(ON_CARD), [0] * len(ON_ADOPTION)

    def add(self, mark: Mark, times: int = 1) -> None:
        """Count a mark; with ``times=-1``, stop counting it."""
        self.tasks += times
        self.outcomes += times * mark.outcomes
        self.variants += times * mark.variants
        self._bits[mark.bits] += times
        if mark.card != NO_CARD:
            self._card = [sum_ + times * one for sum_, one in zip(self._card, mark.card, strict=True)]
        if mark.adoption != NO_ADOPTION:
            self._adoption = [sum_ + times * one for sum_, one in zip(self._adoption, mark.adoption, strict=True)]

    def as_dict(self) -> dict[str, int]:
        """Return the sums by name; ``trouble`` and ``attention`` count each task once."""
        found = {"tasks": self.tasks, "outcomes": self.outcomes, "variants": self.variants}
        found |= {name: self._sum(bit) for name, bit in _BITS.items()}
        found |= {f"shadow_{name}": number for name, number in zip(ON_CARD, self._card, strict=True)}
        found |= {f"runtimes_{name}": number for name, number in zip(ON_ADOPTION, self._adoption, strict=True)}
        return found | {"trouble": self._sum(_TROUBLE), "attention": self._sum(_ATTENTION)}

    def _sum(self, bits: int) -> int:
        return sum(number for mark, number in self._bits.items() if mark & bits)


def merged(pages: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the combined sums of several workers."""
    found: Counter[str] = Counter()
    for page in pages:
        found.update({name: number for name, number in page.items() if isinstance(number, int)})
    return dict(found)


def fleet_sums(
    tasks: Iterable[Mapping[str, Any]] | None,
    part: str,
    figures: Iterable[str],
    summary: Mapping[str, int],
    prefix: str,
) -> dict[str, int]:
    """Return the sum of each of the ``figures`` in one ``part`` of all tasks; a task without the part adds nothing.

    ``tasks`` are all tasks as in ``/api/tasks``, or None if not all are listed. The sums then come from ``summary``,
    where their names begin with ``prefix``.
    """
    if tasks is None:
        return {name: summary.get(f"{prefix}{name}", 0) for name in figures}
    parts = [found for task in tasks if (found := task.get(part))]
    return {name: sum(found[name] for found in parts) for name in figures}
