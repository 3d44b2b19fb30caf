"""The time of a replay. A file has no append times, so the messages' own timestamps are used, which may be wrong.

Time never runs backwards. A timestamp ahead of those that follow is ignored; otherwise one clock that is a day ahead
would shift every later decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_AHEAD: Final = 64
"""Number of following messages that can show that a timestamp is ahead."""
_AT_ONCE: Final = 1_024


def steady(timed: Iterable[tuple[int, T]], look_ahead: int = LOOK_AHEAD) -> Iterator[tuple[int, T]]:
    """Yield the items in the same order, each with its replay time in milliseconds.

    The replay time is the earliest of the item's own time and the next ``look_ahead`` times, ignoring those that have
    already passed. Where timestamps never decrease, it is the item's own time.
    """
    clock: int | None = None
    things, held = iter(timed), list[tuple[int, T]]()
    while more := list(islice(things, _AT_ONCE)):
        held += more
        times = [time for time, _ in held]
        if (clock is not None and times[0] < clock) or times != sorted(times):
            yield from _steadied(chain(held, things), look_ahead, clock)
            return
        ready = len(held) - look_ahead
        if ready > 0:
            yield from held[:ready]
            clock = times[ready - 1]
            del held[:ready]
    yield from held


def _steadied(timed: Iterable[tuple[int, T]], look_ahead: int, clock: int | None) -> Iterator[tuple[int, T]]:
    """Do the work of ``steady`` for times that may decrease; ``clock`` is the previous replay time."""
    waiting: deque[tuple[int, int, T]] = deque()
    earliest: deque[tuple[int, int]] = deque()
    """Number and time of the waiting items that can still become the earliest, in ascending order of time."""

    def first_of_all() -> tuple[int, T]:
        number, time, thing = waiting.popleft()
        while earliest and earliest[0][0] < number:
            earliest.popleft()
        now = time if clock is None else clock
        if (clock is None or time > clock) and earliest:
            now = earliest[0][1]
        return now, thing

    for number, (time, one) in enumerate(timed):
        waiting.append((number, time, one))
        # A time that has already passed cannot show that a timestamp is ahead.
        if clock is None or time >= clock:
            while earliest and earliest[-1][1] >= time:
                earliest.pop()
            earliest.append((number, time))
        if len(waiting) > look_ahead:
            clock, thing = first_of_all()
            yield clock, thing
    while waiting:
        clock, thing = first_of_all()
        yield clock, thing
