"""The rows of the monitor: how far each partition of the log is folded, under which policy; and the row of one task.

They are in the changelog of the monitor's table.  The contract does not list that topic, so it is read by its full
name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.row import row_position
from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.kafka.session import Access
from crl_stream.settings import Settings
from crl_stream.stages.partition import PartitionRow, decode_partition, partition_key
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import INVOCATIONS, Topics

_LOOK_BACK: Final = 64
"""How many of the last records of a partition are read.  Each write ends with the partition row, but a process that had
lost the partition may have written after it."""


class TaskState(NamedTuple):
    """What the monitor remembers about a task, and about the task's partition of the log."""

    partition: int
    row: bytes | None
    """The task's row; None if nothing is known of it."""
    partition_row: bytes | None
    behind: int
    """Number of offsets of the log that are not folded yet."""

    @property
    def decoded(self) -> PartitionRow:
        """The partition row, decoded."""
        return decode_partition(self.partition_row)


async def read_task_state(settings: Settings, access: Access, key: TaskKey) -> TaskState:
    """Read the newest row of a task and of its partition from the changelog, and how far the log is folded.

    Of several rows the one with the highest position counts: a process that had lost the partition may have written
    after its new owner.
    """
    name, partition = key.encode(), partition_of(key.encode(), settings.kafka.partitions)
    row = partition_row = None
    position, best = (-1, -1), (-1, -1)
    async with TopicReader(access, full_names=True) as reader:
        async for received in reader.each(_changelog(settings), partition):
            record = received.record
            if record.key == name:
                place = (-1, -1) if record.value is None else row_position(record.value)
                if place >= position or record.value is None:
                    row, position = record.value, place
            elif record.key == partition_key(partition) and record.value is not None:
                state = decode_partition(record.value)
                if (state.incarnation, state.next_offset) >= best:
                    partition_row, best = record.value, (state.incarnation, state.next_offset)
    folded = decode_partition(partition_row).next_offset
    end = await TopicReader(access).end(INVOCATIONS, partition)
    return TaskState(partition, row, partition_row, max(0, end - folded))


async def read_partition_rows(settings: Settings, access: Access) -> dict[int, PartitionRow]:
    """Read the newest partition row of each partition from the whole changelog."""
    return _newest(await TopicReader(access, full_names=True).read(_changelog(settings)))


async def read_last_partition_rows(settings: Settings, access: Access) -> dict[int, PartitionRow]:
    """Read the newest partition row of each partition from its last records only."""
    found: dict[int, PartitionRow] = {}
    async with TopicReader(access, full_names=True) as reader:
        for partition in range(settings.kafka.partitions):
            found |= _newest(await reader.read_last(_changelog(settings), partition, _LOOK_BACK))
    return found


def _changelog(settings: Settings) -> str:
    return Topics(settings.kafka.topic_prefix).changelog(settings.worker.app_id)


def _newest(received: Iterable[Received]) -> dict[int, PartitionRow]:
    found: dict[int, PartitionRow] = {}
    for record in (one.record for one in received):
        if record.key == partition_key(record.partition) and record.value is not None:
            row = decode_partition(record.value)
            known = found.get(record.partition)
            if known is None or (known.incarnation, known.next_offset) <= (row.incarnation, row.next_offset):
                found[record.partition] = row
    return found
