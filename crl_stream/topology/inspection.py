"""Rows as people and peers may see them; nobody outside the pure layers knows how a row is packed."""

from __future__ import annotations

from crl_stream.core.messages import TaskSnapshot
from crl_stream.core.monitor import Context
from crl_stream.core.row import decode_row
from crl_stream.core.snapshot import task_snapshot
from crl_stream.topology.partition import decode_partition


def snapshot(partition: int, partition_row: bytes | None, row: bytes) -> TaskSnapshot:
    """The public snapshot of a task, as of the last record that touched its row."""
    state = decode_partition(partition_row)
    task = decode_row(row)
    at = Context(partition, task.offset, task.time, state.incarnation, state.policy_hash)
    return task_snapshot(task, at, state.policies.for_task(task.key))


def row_position(row: bytes) -> tuple[int, int]:
    """(incarnation, highest applied offset) of a row; of two rows of a task the higher one is newer."""
    task = decode_row(row)
    return task.incarnation, task.offset
