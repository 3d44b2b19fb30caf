"""Publishes a task's records of the compacted topics again from its row, for a topic that has lost its records.

The records are those that the engine could have published at the task's last record.  They are newer than everything
published before, and older than everything to come.  Nothing is judged, and the row does not change.
"""

from __future__ import annotations

from typing import Any

from crl_stream.core.monitor.row import TaskRow
from crl_stream.core.monitor.snapshot import active_variant, task_snapshot, variant_catalogue
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.policy import Policy


def restate(row: TaskRow, at: Context, policy: Policy) -> list[Any]:
    """The active variant and catalogue, if there are any, and the snapshot of ``row``; ``at`` is its last record."""
    turn = Turn(row, at, policy)
    stated: list[Any] = [] if row.active is None else [active_variant(turn)]
    if row.variants:
        stated.append(variant_catalogue(turn))
    return [*stated, task_snapshot(row, at, policy)]
