"""The partition rows of the monitor: how far each partition of the log is folded, and under which policy.

They are in the changelog of the monitor's table.  The contract does not list that topic, so it is read by its full
name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crl_stream.kafka.reader import Received, TopicReader
from crl_stream.kafka.session import Access
from crl_stream.settings import Settings
from crl_stream.stages.partition import PartitionRow, decode_partition, partition_key
from crl_stream.wire.topics import Topics

_LOOK_BACK: Final = 64
"""How many of the last records of a partition are read.  Each write ends with the partition row, but a process that had
lost the partition may have written after it."""


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
