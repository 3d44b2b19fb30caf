"""Compares what a fold decides with what was published when the log was written.

Under the policy that was in force, the fold must repeat every published decision at its position. If it does not, the
log is incomplete, another version of the engine wrote it, or something is wrong.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from crl_stream.trial.decisions import Decided, decision_of
from crl_stream.wire.topics import ALERTS, DECISIONS, ROLLBACKS

TOPIC_OF_KIND: Final = {
    "rollback": ROLLBACKS,
    "promotion": DECISIONS,
    "rollout": DECISIONS,
    "activation": DECISIONS,
    "decision": DECISIONS,
    "refusal": DECISIONS,
    "alert": ALERTS,
}
_Place = tuple[str, tuple[str, str, str, str], int, int]
"""What identifies a decision: task, key, partition, offset."""


class Extent(NamedTuple):
    """The part of a partition in which published decisions and those of a fold can be compared."""

    first: int
    """The first offset that is still in the log."""
    end: int
    """The first offset that the monitor had not folded yet, or the end of the log if that is lower."""
    time: str
    """When the first record was stored; decisions before it belong to records that are gone, or to an older log."""


class Recorded(NamedTuple):
    """The result of comparing a fold with the published decisions."""

    compared: int
    """Number of published decisions that were compared."""
    missing: list[tuple[str, Decided]]
    """Published decisions that the fold does not make, with their tasks."""
    extra: list[tuple[str, Decided]]
    """Decisions of the fold that were never published."""
    engines: list[str]
    """The versions of the engine that published the decisions."""

    @property
    def is_same(self) -> bool:
        """Whether the fold repeats exactly what was published."""
        return not self.missing and not self.extra


def compare_with_record(
    decided: Mapping[str, Sequence[Decided]],
    facts: Iterable[tuple[str, Any]],
    extents: Mapping[int, Extent],
    cut: Container[tuple[str, int]] = (),
) -> Recorded:
    """Compare the decisions of a fold, by task, with the published facts, given with their topics.

    ``cut`` holds each topic and partition whose oldest facts have been deleted: there, the decisions of the fold count
    only from the first remaining fact on.
    """
    published: dict[_Place, tuple[str, Decided]] = {}
    engines: set[str] = set()
    oldest: dict[tuple[str, int], int] = {}
    for topic, fact in facts:
        if (at := getattr(fact, "position", None)) is None or not _is_within(extents, at.partition, at.offset):
            continue
        if fact.timestamp < extents[at.partition].time:
            continue
        place = topic, at.partition
        oldest[place] = min(at.offset, oldest.get(place, at.offset))
        if (found := decision_of(fact)) is not None:
            published[_place(*found)] = found
            engines.add(fact.engine_version or "")
    made = {_place(task, one): (task, one) for task, some in decided.items() for one in some}
    missing = [published[place] for place in published.keys() - made.keys()]
    extra = [
        (task, one)
        for task, one in (made[place] for place in made.keys() - published.keys())
        if _is_within(extents, one.partition, one.offset) and not _may_be_deleted(one, oldest, cut)
    ]
    return Recorded(len(published), sorted(missing, key=_order), sorted(extra, key=_order), sorted(engines))


def _place(task: str, decided: Decided) -> _Place:
    return task, decided.key, decided.partition, decided.offset


def _order(found: tuple[str, Decided]) -> Any:
    task, one = found
    return task, one.partition, one.offset, one.key


def _may_be_deleted(one: Decided, oldest: Mapping[tuple[str, int], int], cut: Container[tuple[str, int]]) -> bool:
    place = TOPIC_OF_KIND[one.kind], one.partition
    return place in cut and one.offset < oldest.get(place, one.offset + 1)


def _is_within(extents: Mapping[int, Extent], partition: int, offset: int) -> bool:
    extent = extents.get(partition)
    return extent is not None and extent.first <= offset < extent.end
