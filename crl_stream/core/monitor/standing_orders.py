"""Standing orders of people: how long a pin or a hold stands, and what of a task ends by time alone."""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core.instant import from_text
from crl_stream.core.monitor.row import StandingOrder, TaskRow
from crl_stream.core.monitor.turn import Turn

_HOUR: Final = 3_600_000


def order_of(turn: Turn, command: Any, default_hours: float, variant_id: str | None) -> StandingOrder:
    """The pin or hold that ``command`` asks for, from now on."""
    hours = default_hours if command.hours is None else command.hours
    now = turn.row.time
    turn.active_changed = True
    return StandingOrder(command.actor, command.reason, now, until=now + round(hours * _HOUR), variant_id=variant_id)


def is_over(order: StandingOrder, row: TaskRow) -> bool:
    """Whether its last limit has passed: an instant, a number of outcomes, or of both the later one."""
    return (order.until is None or row.time >= order.until) and (order.until_n is None or row.n >= order.until_n)


def end_hold(turn: Turn) -> None:
    """Nothing is held any more; whoever holds the task next is named at once to those who wait for a rollback."""
    turn.row.held, turn.row.held_n, turn.active_changed = None, -1, True


def next_end(row: TaskRow) -> int:
    """When time alone ends something of this row next, in milliseconds; 0 when nothing waits for that.

    A pin, a hold, and the deferral of a proposal, whose end the next snapshot tells the proposer.
    """
    ends = [
        order.until
        for order in (row.pinned, row.held)
        if order is not None and order.until is not None and (order.until_n is None or row.n >= order.until_n)
    ]
    for review in row.reviews:
        if review.until is not None and review.outcome == "applied":
            end = from_text(review.until)
            if end > row.shown_time:
                ends.append(end)
    return min(ends) if ends else 0
