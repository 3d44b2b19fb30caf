"""Publishes what a message has changed, and sets ``wake``, when time alone next affects the row."""

from __future__ import annotations

from typing import Final

from crl_stream.core.messages import Receipt
from crl_stream.core.monitor.facts import tag_condition
from crl_stream.core.monitor.filing import forget_closed
from crl_stream.core.monitor.pace import keep_pace
from crl_stream.core.monitor.row import SILENCE, TaskRow
from crl_stream.core.monitor.rules import Rules
from crl_stream.core.monitor.snapshot import active_variant, task_snapshot, variant_catalogue
from crl_stream.core.monitor.standing_orders import next_end
from crl_stream.core.monitor.tags import tags_of
from crl_stream.core.monitor.turn import Turn

EARLIEST: Final = 10
"""Number of a task's early outcomes; a snapshot is published after some of them."""
_EARLY = frozenset((1, 2, 5, EARLIEST))


def is_due(row: TaskRow, rules: Rules) -> bool:
    """Return whether a snapshot is due even without a fact: after some early outcomes, or enough outcomes and time."""
    n = row.n
    fresh = n - row.shown_n
    if fresh >= rules.snapshot_outcomes:
        return row.time - row.shown_time >= rules.snapshot_ms or n in _EARLY
    return fresh > 0 and n in _EARLY


def publish_state(turn: Turn, *, due: bool = False) -> None:
    """Publish what has changed, and set ``row.wake``; with ``due``, always publish a snapshot."""
    row, rules = turn.row, turn.rules
    if (turn.facts or turn.retagged) and row.active is not None:
        tags = tags_of(row.variants[row.active])
        if tags or row.told:
            turn.facts += [tag_condition(turn, tag, "left") for tag in row.told if tag not in tags]
            turn.facts += [tag_condition(turn, tag, "uses") for tag in tags if tag not in row.told]
            row.told = list(tags)
    if row.active is not None and (
        turn.active_changed
        or (turn.catalogue_changed and rules.exploration)  # its weights name the variants to explore
        or row.shown_exploration != rules.exploration
        or row.shown_mode != rules.mode
        or row.shown_on_change != rules.on_change
    ):
        row.shown_mode, row.shown_exploration, row.shown_on_change = rules.mode, rules.exploration, rules.on_change
        turn.facts.append(active_variant(turn))
    if turn.catalogue_changed:
        turn.facts.append(variant_catalogue(turn))
    # Most outcomes are not early and come too soon after the last snapshot; check for this without a function call.
    fresh = row.n - row.shown_n >= rules.snapshot_outcomes or row.n <= EARLIEST
    news = due
    for fact in turn.facts:
        if type(fact) is not Receipt:  # a receipt alone need not cause a snapshot
            news = True
            break
    if news or (fresh and is_due(row, rules)):
        keep_pace(row)
        row.shown_n, row.shown_time = row.n, row.time
        wake = 0
        if row.filings is not None:
            forget_closed(row)
        turn.facts.append(task_snapshot(row, turn.at, turn.policy))
    else:
        wake, silent = row.shown_time + rules.snapshot_ms, row.time + SILENCE
        if silent > wake:
            wake = silent
    if row.reviews or row.pinned is not None or row.held is not None or row.incident is not None:
        end = next_end(row)
        if end and (wake == 0 or end < wake):
            wake = end
    row.wake = wake
