"""Pairs the decisions of two folds of one task: which are the same, earlier, later, added or removed.

Decisions are paired only if the same was decided (``Decided.key``), nearest pairs first. The distance is counted in
outcomes of the task. Exchanging the two folds exchanges added and removed, earlier and later, and changes nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Literal, NamedTuple

from crl_stream.trial.decisions import KINDS, MOVES, Decided

ChangeKind = Literal["added", "removed", "earlier", "later"]
Placed = tuple[int, Decided]
"""A decision with the number of the outcome that it came with."""


class Change(NamedTuple):
    """One decision that differs between the two folds."""

    change: ChangeKind
    """What the tried policy changes, compared with the policy of ``--against``."""
    outcomes: int
    """By how many outcomes of the task the decision is earlier or later; 0 if it is added or removed."""
    against: Placed | None
    policy: Placed | None

    @property
    def decided(self) -> Decided:
        """What was decided."""
        found = self.policy or self.against
        assert found is not None
        return found[1]

    @property
    def moves(self) -> bool:
        """Whether the decision changes the active variant."""
        return self.decided.kind in MOVES

    @property
    def number(self) -> int:
        """The number of the first outcome at which the two folds differ because of this decision."""
        return min(placed[0] for placed in (self.against, self.policy) if placed is not None)


class Matched(NamedTuple):
    """The decisions of two folds of one task."""

    same: int
    """How many decisions both folds make with the same outcome."""
    changes: list[Change]
    """The decisions that differ: first those that change the active variant, then by outcome."""


def match(against: Sequence[Placed], policy: Sequence[Placed]) -> Matched:
    """Pair the decisions of the two folds of one task."""
    sides: dict[tuple[str, ...], tuple[list[Placed], list[Placed]]] = defaultdict(lambda: ([], []))
    for placed in against:
        sides[placed[1].key][0].append(placed)
    for placed in policy:
        sides[placed[1].key][1].append(placed)
    same, changes = 0, list[Change]()
    for left, right in sides.values():
        for one, other in _nearest(left, right):
            if one is not None and other is not None:
                distance = other[0] - one[0]
                if distance == 0:
                    same += 1
                else:
                    changes.append(Change("later" if distance > 0 else "earlier", abs(distance), one, other))
            else:
                changes.append(Change("removed" if other is None else "added", 0, one, other))
    order = list(KINDS)
    changes.sort(key=lambda one: (not one.moves, one.number, order.index(one.decided.kind), one.decided.key))
    return Matched(same, changes)


def _nearest(left: Sequence[Placed], right: Sequence[Placed]) -> list[tuple[Placed | None, Placed | None]]:
    """Pair two lists of decisions, nearest first; what is left over is paired with None.

    When both lists are sorted by outcome, the nearest remaining pair is always adjacent, so only neighbours are
    compared.
    """
    # Sort equal numbers in the same way for both sides; otherwise, exchanging the folds would change the pairs.
    sides = ((False, left), (True, right))
    row = sorted(((at[0], at[1].offset, side, at) for side, some in sides for at in some), key=lambda at: at[:3])
    before, after = list(range(-1, len(row) - 1)), list(range(1, len(row) + 1))
    free = [True] * len(row)

    def distance(one: int, other: int) -> tuple[int, int, int, int]:
        return row[other][0] - row[one][0], row[one][0], one, other

    nearest = [distance(at, at + 1) for at in range(len(row) - 1) if row[at][2] != row[at + 1][2]]
    heapify(nearest)
    pairs: list[tuple[Placed | None, Placed | None]] = []
    while nearest:
        *_, one, other = heappop(nearest)
        if not free[one] or not free[other]:
            continue
        free[one] = free[other] = False
        first, second = row[one][3], row[other][3]
        pairs.append((second, first) if row[one][2] else (first, second))
        low, high = before[one], after[other]
        if low >= 0:
            after[low] = high
        if high < len(row):
            before[high] = low
            if low >= 0 and row[low][2] != row[high][2]:
                heappush(nearest, distance(low, high))
    pairs += [((None, at[3]) if at[2] else (at[3], None)) for at, is_free in zip(row, free, strict=True) if is_free]
    return pairs
