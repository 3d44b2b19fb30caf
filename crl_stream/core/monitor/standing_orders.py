"""Pins and holds: how long they last, and what else about a task ends when time passes."""

from __future__ import annotations

from typing import Any, Final

from crl_stream.core.instant import from_text
from crl_stream.core.monitor.changes import Change, FleetHoldNoticed, HoldEnded, Unpinned
from crl_stream.core.monitor.row import StandingOrder, TaskRow

_HOUR: Final = 3_600_000


def order_of(row: TaskRow, command: Any, default_hours: float, variant_id: str | None) -> StandingOrder:
    """Build the pin or hold that ``command`` requests, starting now; by default, it lasts ``default_hours``."""
    hours = default_hours if command.hours is None else command.hours
    until = row.time + round(hours * _HOUR)
    return StandingOrder(command.actor, command.reason, row.time, until=until, variant_id=variant_id)


def stops_all(fleet: StandingOrder | None) -> bool:
    """Return whether a hold on the fleet stops everything automatic, rollbacks too."""
    return fleet is not None and fleet.stops == "all"


def words_of_fleet(fleet: StandingOrder, also: str = "") -> str:
    """Return who holds the fleet, such as ``the fleet is held by ada``; ``also`` is a word after the verb."""
    also = f" {also}" if also else ""
    if stops_all(fleet):
        return f"the fleet is{also} held by {fleet.actor}"
    return f"promotions are{also} stopped in the whole fleet by {fleet.actor}"


def is_over(order: StandingOrder, row: TaskRow) -> bool:
    """Return whether the pin or hold has ended: its time or its outcome count has passed, or both if it has both."""
    return (order.until is None or row.time >= order.until) and (order.until_n is None or row.n >= order.until_n)


def expired(row: TaskRow) -> list[Change]:
    """Return the changes that end each pin or hold that is over."""
    ends: list[Change] = []
    if row.pinned is not None and is_over(row.pinned, row):
        ends.append(Unpinned())
    if row.held is not None and is_over(row.held, row):
        ends.append(HoldEnded())
    return ends


def noticed(row: TaskRow, fleet: StandingOrder | None) -> list[Change]:
    """Return a change if the hold on the fleet has changed since the task was last published; otherwise nothing."""
    current = 0 if fleet is None else fleet.since
    return [] if row.shown_fleet == current else [FleetHoldNoticed(current)]


def next_end(row: TaskRow) -> int:
    """Return when the next pin, hold, incident or deferral ends without further outcomes, in milliseconds; 0: none.

    The next snapshot after that time informs the proposer.
    """
    ends = [
        order.until
        for order in (row.pinned, row.held)
        if order is not None and order.until is not None and (order.until_n is None or row.n >= order.until_n)
    ]
    if row.incident is not None:
        ends.append(row.incident.until)
    for review in row.reviews:
        if review.until is not None and review.outcome == "applied":
            end = from_text(review.until)
            if end > row.shown_time:
                ends.append(end)
    return min(ends) if ends else 0
