"""Standing orders of people: how long a pin or a hold stands, and what of a task ends by time alone."""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core.instant import from_text
from crl_stream.core.monitor.changes import Change, FleetHoldNoticed, HoldEnded, Unpinned
from crl_stream.core.monitor.row import StandingOrder, TaskRow

_HOUR: Final = 3_600_000


def order_of(row: TaskRow, command: Any, default_hours: float, variant_id: str | None) -> StandingOrder:
    """The pin or hold that ``command`` asks for, from now on; for ``default_hours`` where it names no time."""
    hours = default_hours if command.hours is None else command.hours
    until = row.time + round(hours * _HOUR)
    return StandingOrder(command.actor, command.reason, row.time, until=until, variant_id=variant_id)


def is_over(order: StandingOrder, row: TaskRow) -> bool:
    """Whether its last limit has passed: an instant, a number of outcomes, or of both the later one."""
    return (order.until is None or row.time >= order.until) and (order.until_n is None or row.n >= order.until_n)


def expired(row: TaskRow) -> list[Change]:
    """The ends of a pin and of a hold whose last limit has passed."""
    ends: list[Change] = []
    if row.pinned is not None and is_over(row.pinned, row):
        ends.append(Unpinned())
    if row.held is not None and is_over(row.held, row):
        ends.append(HoldEnded())
    return ends


def noticed(row: TaskRow, fleet: StandingOrder | None) -> list[Change]:
    """A hold of the fleet that the task was not yet published with, or that it was published with and is over."""
    current = 0 if fleet is None else fleet.since
    return [] if row.shown_fleet == current else [FleetHoldNoticed(current)]


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
