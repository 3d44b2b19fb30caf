"""What the compacted topics say of a task, said once more from its row: for a topic that has lost its records.

It is what the engine would publish if it were asked at the last record of the task: newer than all that was published
before, and older than all that comes.  Nothing is judged, and the row stays as it is.
"""

from __future__ import annotations

from typing import Any

from crl_stream.core.monitor.row import TaskRow
from crl_stream.core.monitor.snapshot import active_variant, task_snapshot, variant_catalogue
from crl_stream.core.monitor.turn import Context, Turn
from crl_stream.core.policy import Policy


def restate(row: TaskRow, at: Context, policy: Policy) -> list[Any]:
    """Active variant and catalogue, where there are any, and the snapshot of ``row``; ``at`` is its last record."""
    turn = Turn(row, at, policy)
    stated: list[Any] = [] if row.active is None else [active_variant(turn)]
    if row.variants:
        stated.append(variant_catalogue(turn))
    return [*stated, task_snapshot(row, at, policy)]
