"""Republishes a task's records on the compacted topics from its row, for a topic that has lost its records.

The records are those that the engine could have published at the task's last record: newer than everything published
before, and older than everything still to come.  Nothing is judged, and the row does not change.
"""

from __future__ import annotations

from typing import Any

from crl_stream.core.monitor.row import TaskRow
from crl_stream.core.monitor.snapshot import active_variant, task_snapshot, variant_catalogue
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.policy import Policy


def restate(row: TaskRow, at: Context, policy: Policy) -> list[Any]:
    """Return the active variant and catalogue of ``row``, if any, and its snapshot; ``at`` is the row's last record."""
    turn = Turn(row, at, policy)
    stated: list[Any] = [] if row.active is None else [active_variant(turn)]
    if row.variants:
        stated.append(variant_catalogue(turn))
    return [*stated, task_snapshot(row, at, policy)]
