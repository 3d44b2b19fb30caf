"""The time of a replay: a file has no append times, so it is made of the messages' own, which may be wrong.

Time never runs backwards, and a timestamp that is ahead of those that follow it is not believed: one clock that is a
day ahead would else move every decision after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_AHEAD: Final = 64
"""Messages after one that may show its time to be ahead."""
_AT_ONCE: Final = 1_024


def steady(timed: Iterable[tuple[int, T]], look_ahead: int = LOOK_AHEAD) -> Iterator[tuple[int, T]]:
    """The same things in the same order, each with the time of the replay, in milliseconds.

    That is the earliest of its own time and of the next ``look_ahead`` ones, of those that are not over yet.  Where
    timestamps never fall, that is each its own.
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
    """As ``steady`` says, for things whose times may fall; ``clock`` is the time of the one before."""
    waiting: deque[tuple[int, int, T]] = deque()
    earliest: deque[tuple[int, int]] = deque()
    """Times from the earliest on, each with its number; only what can still be the earliest of what waits."""

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
        # What is over already says nothing about what is ahead.
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
